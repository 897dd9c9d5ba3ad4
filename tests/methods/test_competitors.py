"""CoOp, LOCN and VSPL: where they start, what they train; and the gradients of every method."""

from dataclasses import replace

import pytest
import torch
from rivals import APART
from shapes import SHAPES, SPACE
from tiny import tiny_segmenter

import promptseg
from promptseg.engine.defaults import default_prompts
from promptseg.engine.settings import resolve
from promptseg.errors import PromptsegError
from promptseg.features.encode import image_tensor
from promptseg.methods.module import PromptModule
from promptseg.methods.registry import METHODS
from promptseg.models.seem.segmenter import SeemSegmenter
from promptseg.prompts import Prompts
from promptseg.tasks.semantic import SemanticTask

LEARNED = sorted(set(METHODS) - {"zero-shot", *APART})


@pytest.fixture(scope="module")
def model() -> SeemSegmenter:
    return tiny_segmenter()


def at_start(model: SeemSegmenter, method: str, seed: int = 0, **settings: object) -> tuple[Prompts, PromptModule]:
    """The default prompts that a method starts from, and its module."""
    fit_settings, own, _ = resolve("tuned", METHODS[method], settings)
    defaults = default_prompts(model, SPACE, fit_settings.spatial, fit_settings.templates)
    return defaults, METHODS[method].build(model, defaults, own, seed)


def built(model: SeemSegmenter, method: str, seed: int = 0, **settings: object) -> PromptModule:
    return at_start(model, method, seed, **settings)[1]


def prompts_of(model: SeemSegmenter, method: str, seed: int = 0, **settings: object) -> Prompts:
    defaults, module = at_start(model, method, seed, **settings)
    return defaults.updated(module()).detached()


@pytest.mark.parametrize("method", LEARNED)
def test_the_gradient_of_every_method_agrees_with_finite_differences(method: str) -> None:
    model = tiny_segmenter()
    sample = SHAPES[0]
    features = model.encode_image([image_tensor(model, sample.image(), 48)])
    model.network.double()
    features = features.to("cpu", torch.float64)
    target = [SemanticTask().target(sample, (48, 80), flip=False)]
    defaults, module = at_start(model, method)
    defaults, module = replace(defaults, kinds={n: t.double() for n, t in defaults.kinds.items()}), module.double()
    parameters = dict(module.named_parameters())

    def loss() -> torch.Tensor:
        return SemanticTask().loss(model.decode(features, defaults.updated(module())), target)

    gradients = dict(zip(parameters, torch.autograd.grad(loss(), list(parameters.values())), strict=True))
    generator = torch.Generator().manual_seed(0)
    for name, parameter in parameters.items():
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        direction /= direction.norm()
        start, values = parameter.detach().clone(), []
        for sign in (1, -1):
            parameter.data.copy_(start + sign * 1e-6 * direction)
            values.append(loss().item())
        parameter.data.copy_(start)
        analytic = (gradients[name] * direction).sum().item()
        assert analytic != 0, name
        assert (values[0] - values[1]) / 2e-6 == pytest.approx(analytic, rel=1e-4, abs=1e-9), name


@pytest.mark.parametrize("method", LEARNED)
def test_a_few_steps_change_what_is_learned_and_nothing_else(model: SeemSegmenter, method: str) -> None:
    zero = prompts_of(model, method, **({"start": "copy"} if "prompt" in method else {}))
    prompts = promptseg.fit(model, SHAPES, method=method, steps=3, batch_size=2, progress=False).prompts
    learned = {"ssprompt": {"spatial", "semantic"}, "spaprompt": {"spatial"}, "vspl": {"position"}}
    learned["query-linear"] = {"semantic", "background"}
    changed = {kind for kind in prompts.kinds if not torch.allclose(prompts.kinds[kind], zero.kinds[kind], atol=1e-6)}
    assert changed == learned.get(method, {"semantic"})
    # Spatial prompts that are the model's own are not kept: it has them itself.
    assert prompts.kinds.keys() == zero.kinds.keys() - ({"spatial"} - changed)
    assert promptseg.evaluate(model, prompts, SHAPES).miou > 0


@pytest.mark.parametrize(("method", "settings"), [("coop", {}), ("coop", {"class_specific": True}), ("locn", {})])
def test_zero_steps_are_zero_shot_with_the_photo_template(model: SeemSegmenter, method: str, settings: dict) -> None:
    prompts = prompts_of(model, method, **settings)
    plain = default_prompts(model, SPACE, templates="photo")
    for name, tensor in plain.kinds.items():
        assert torch.allclose(prompts.kinds[name], tensor, atol=1e-6), name
    scores = [promptseg.evaluate(model, p, SHAPES).miou for p in (prompts, plain)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-4)


def test_coop_counts_the_words_of_its_context(model: SeemSegmenter) -> None:
    width = model.config.text.width
    assert built(model, "coop").num_parameters() == 4 * width
    assert built(model, "coop", class_specific=True).num_parameters() == len(SPACE) * 4 * width
    assert built(model, "coop", context="car").num_parameters() == width


def test_coop_starts_random_where_told(model: SeemSegmenter) -> None:
    first, again, other = (built(model, "coop", seed, context_tokens=7)()["semantic"] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


def test_a_context_that_the_encoder_cannot_read_is_one_line(model: SeemSegmenter) -> None:
    with pytest.raises(PromptsegError, match=r"a text has \d+ pieces with its markers, tiny-0 reads 24: use fewer"):
        built(model, "coop", context_tokens=40)()
    squeezed = tiny_segmenter()
    squeezed.config = replace(squeezed.config, text=replace(squeezed.config.text, context=6))
    with pytest.raises(PromptsegError, match="reads 'ground' and 'car' alike: give the classes names of other words"):
        built(squeezed, "locn")


def test_locn_learns_a_vector_for_each_piece_of_each_name_and_keeps_classes_apart(model: SeemSegmenter) -> None:
    module = built(model, "locn")
    pieces = [len(model.tokenizer.pieces(name)) for name in SPACE.names] if model.tokenizer else []
    assert module.num_parameters() == sum(pieces) * model.config.text.width
    before = module()["semantic"].detach()
    with torch.no_grad():
        module.get_parameter("names")[: pieces[0], 0] += 1
    moved = (module()["semantic"].detach() - before).abs().amax(dim=1) > 1e-6
    assert moved.tolist() == [True, False, False]


def test_vspl_starts_at_the_grid_and_stays_inside_the_image(model: SeemSegmenter) -> None:
    module = built(model, "vspl")
    torch.testing.assert_close(module(), model.default_spatial_prompts("grid"), rtol=0, atol=1e-5)
    assert torch.allclose(module.parts()["points"][1], torch.tensor([0.375, 0.125]))
    with torch.no_grad():
        module.get_parameter("free_points").copy_(torch.linspace(-60, 60, module.num_parameters()).view(-1, 2))
    points = module.parts()["points"]
    assert points.min() >= 0 and points.max() <= 1


@pytest.mark.parametrize(
    ("method", "settings", "message"),
    [
        ("vspl", {"spatial": "queries"}, "spatial is 'queries': this method learns from 'grid'; leave spatial out"),
        ("coop", {"templates": "raw"}, "templates is 'raw': this method learns from 'photo'; leave templates out"),
        ("coop", {"context_tokens": 0}, "context_tokens is 0: give a whole number of at least 1"),
        ("coop", {"context": " "}, "context is ' ': give the words that the context starts as"),
        ("coop", {"class_specific": "yes"}, "class_specific is 'yes': give true or false"),
        ("locn", {"context": "x"}, "unknown setting 'context'"),
    ],
)
def test_what_a_method_cannot_take_is_one_line(
    model: SeemSegmenter, method: str, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(PromptsegError) as error:
        built(model, method, **settings)
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


@pytest.mark.parametrize(("method", "message"), [("coop", "no way in at its word"), ("vspl", "does not encode points")])
def test_a_model_without_the_capability_is_refused(model: SeemSegmenter, method: str, message: str) -> None:
    class Plain:
        id = "plain"

    settings = resolve("tuned", METHODS[method], {}).method
    with pytest.raises(PromptsegError, match=message):
        METHODS[method].build(Plain(), default_prompts(model, SPACE), settings, 0)


@pytest.mark.parametrize(("method", "name"), [("coop", "context"), ("locn", "name"), ("vspl", "point")])
def test_a_relative_rate_that_is_no_number_is_one_line(model: SeemSegmenter, method: str, name: str) -> None:
    for value in (-1.0, "fast", True):
        with pytest.raises(PromptsegError, match=rf"{name}_rate is {value!r}: give a number of at least 0"):
            promptseg.fit(model, SHAPES, method=method, progress=False, **{f"{name}_rate": value})
