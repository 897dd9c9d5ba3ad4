"""Methods that change weights of a view of the model: the frozen model stays, the view is what the algebra says."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rivals import CHANGE_WEIGHTS
from shapes import SHAPES, SPACE
from tiny import CONFIG, tiny_segmenter
from torch import Tensor

import promptseg
from promptseg.engine.defaults import default_prompts
from promptseg.engine.settings import resolve
from promptseg.errors import PromptsegError
from promptseg.features.encode import image_tensor
from promptseg.features.features_cache import FeaturesCache
from promptseg.methods.module import PromptModule
from promptseg.methods.registry import METHODS
from promptseg.models.adapted import adapted
from promptseg.models.base import Prediction
from promptseg.models.seem.backbones import EfficientNetConfig
from promptseg.models.seem.segmenter import SeemSegmenter
from promptseg.prompts import Prompts
from promptseg.tasks.semantic import SemanticTask

FEW = {"steps": 3, "batch_size": 2, "progress": False}
LITE = EfficientNetConfig(stem=8, widths=(4, 6, 8, 8, 10, 10, 12), repeats=(1,) * 7, expansions=(1, 2, 2, 2, 2, 2, 2))
PHOTO = SHAPES[0].image()
MODELS = {"focal": CONFIG, "batch norms": replace(CONFIG, backbone=LITE)}


@pytest.fixture(scope="module")
def model() -> SeemSegmenter:
    return tiny_segmenter()


def built(model: SeemSegmenter, method: str, **settings: object) -> tuple[Prompts, PromptModule]:
    chosen = resolve("tuned", METHODS[method], settings)
    defaults = default_prompts(model, SPACE)
    return defaults, METHODS[method].build(model, defaults, chosen.method, 0)


def prompts_of(model: SeemSegmenter, method: str, moved: float = 0.0, **settings: object) -> Prompts:
    """The prompts of a module whose parameters were moved at random, each by about as much."""
    defaults, module = built(model, method, **settings)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += moved * torch.randn(parameter.shape, generator=generator)
        return replace(defaults.updated(module()), weights=module.weights()).detached()


def answer(model: SeemSegmenter, prompts: Prompts) -> Prediction:
    with torch.no_grad():
        used = adapted(model, prompts)
        return used.decoder.decode(used.encoder.encode_image([image_tensor(model, PHOTO)]), used.prompts)


def same(first: Prediction, second: Prediction) -> bool:
    return torch.equal(first.class_logits, second.class_logits) and torch.equal(first.mask_logits, second.mask_logits)


def alike(first: Prediction, second: Prediction) -> bool:
    pairs = ((first.class_logits, second.class_logits), (first.mask_logits, second.mask_logits))
    return all(torch.allclose(a, b, rtol=1e-3, atol=1e-3) for a, b in pairs)


@pytest.mark.parametrize("config", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("method", CHANGE_WEIGHTS)
def test_the_start_is_zero_shot_to_the_last_bit(config, method: str) -> None:
    model = tiny_segmenter(config=config)
    assert same(answer(model, prompts_of(model, method)), answer(model, default_prompts(model, SPACE)))
    assert not same(answer(model, prompts_of(model, method, 0.1)), answer(model, default_prompts(model, SPACE)))


@pytest.mark.parametrize("config", MODELS.values(), ids=MODELS)
def test_scale_and_shift_apply_to_what_every_norm_gives(config) -> None:
    model = tiny_segmenter(config=config)
    defaults, module = built(model, "ssf")
    generator = torch.Generator().manual_seed(2)
    own = dict(model.network.named_parameters())
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    wanted = {name: value.clone() for name, value in own.items()}
    for (path, scale), shift in zip(norm_scales(model, module), module.shifts, strict=True):
        wanted[f"{path}.weight"] *= 1 + scale
        wanted[f"{path}.bias"] *= 1 + scale
        wanted[f"{path}.bias"] += shift
    assert module.num_parameters() == 2 * sum(scale.numel() for scale in module.scales)
    found = answer(model, replace(defaults, weights=module.weights()))
    assert alike(found, called_with(model, wanted, defaults))


def norm_scales(model: SeemSegmenter, module) -> Iterator[tuple[str, Tensor]]:
    """The norms of the image side in the order of the network: whatever calls itself one."""
    kinds = ("LayerNorm", "GroupNorm", "FrozenNorm")
    paths = [p for p, m in model.network.named_modules() if type(m).__name__ in kinds and "lang_encoder" not in p]
    return zip(paths, module.scales, strict=True)


def called_with(model: SeemSegmenter, weights: dict[str, Tensor], prompts: Prompts) -> Prediction:
    """The answer of a plain copy of the model that holds other weights."""
    copy = tiny_segmenter(config=model.config)
    copy.network.load_state_dict(weights, strict=False)
    return answer(copy, replace(prompts, weights={}))


def test_lora_adds_the_product_of_its_factors(model: SeemSegmenter) -> None:
    prompts = prompts_of(model, "lora", 0.1, rank=3)
    wanted = {name: value.clone() for name, value in model.network.named_parameters()}
    pairs = [name.removesuffix(".lora_A") for name in prompts.weights if name.endswith(".lora_A")]
    for name in pairs:
        a, b = prompts.weights[f"{name}.lora_A"], prompts.weights[f"{name}.lora_B"]
        assert a.shape[0] == b.shape[1] == min(3, *wanted[name].flatten(1).shape)
        wanted[name] += (b.float() @ a.float()).view(wanted[name].shape)
    assert {"backbone.layers.0.blocks.0.mlp.fc1.weight", "sem_seg_head.pixel_decoder.mask_features.weight"} <= set(
        pairs
    )
    assert alike(answer(model, prompts), called_with(model, wanted, prompts))


def test_fine_tuning_everything_leaves_no_weight_of_the_image_side_out(model: SeemSegmenter) -> None:
    changed = prompts_of(model, "finetune-all", 0.1).weights
    own = {name for name in model.parameter_tensors() if name.startswith(("backbone.", "sem_seg_head."))}
    prompt_encoders = ("lang_encoder", "query_feat", "sptial", "spatial", "indicator")
    assert all(any(part in name for part in prompt_encoders) for name in own - set(changed))
    decoder = prompts_of(model, "finetune-decoder").weights
    assert set(decoder) == {name for name in changed if ".predictor." in name}
    assert set(prompts_of(model, "bitfit").weights) == {name for name in changed if name.endswith("bias")}


@pytest.mark.parametrize("config", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("method", CHANGE_WEIGHTS)
def test_gradients_through_the_encoder_agree_with_finite_differences(config, method: str) -> None:
    model = tiny_segmenter(config=config)
    target = [SemanticTask().target(SHAPES[0], (64, 96), flip=False)]
    pixels = torch.from_numpy(PHOTO).permute(2, 0, 1).double()
    batch = torch.nn.functional.interpolate((pixels[None] - 120) / 58, (64, 96), mode="bilinear")
    model.network.double()
    defaults, module = built(model, method)
    defaults, module = replace(defaults, kinds={n: t.double() for n, t in defaults.kinds.items()}), module.double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():  # B = 0 gives A no gradient
            parameter += 0.03 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)

    def loss() -> Tensor:
        prompts = replace(defaults.updated(module()), weights=module.weights())
        used = adapted(model, prompts)
        return SemanticTask().loss(used.decoder.decode(used.encoder.network.encode(batch), used.prompts), target)

    parameters = list(module.parameters())
    gradients = torch.autograd.grad(loss(), parameters)
    directions = [torch.randn(p.shape, generator=generator, dtype=torch.float64) for p in parameters]
    length = sum(direction.square().sum() for direction in directions) ** 0.5
    directions = [direction / length for direction in directions]
    values = []
    for step in (1e-6, -2e-6):
        for parameter, direction in zip(parameters, directions, strict=True):
            parameter.data += step * direction
        values.append(loss().item())
    analytic = sum((g * d).sum().item() for g, d in zip(gradients, directions, strict=True))
    assert analytic != 0
    assert (values[0] - values[1]) / 2e-6 == pytest.approx(analytic, rel=1e-3)
    assert sum(bool(g.any()) for g in gradients) > 0.9 * len(gradients)


@pytest.mark.parametrize("method", CHANGE_WEIGHTS)
def test_it_learns_and_what_is_saved_answers_alike(model: SeemSegmenter, method: str, tmp_path: Path) -> None:
    before = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
    run = promptseg.fit(model, SHAPES[:3], method=method, steps=12, batch_size=3, progress=False, out=tmp_path)
    assert run.losses[-1] < run.losses[0] - 0.01
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.network.state_dict().items())
    loaded = Prompts.load(tmp_path / "prompts")
    assert loaded.weights.keys() == run.prompts.weights.keys() and loaded.weights
    assert same(answer(model, loaded), answer(model, run.prompts))
    assert promptseg.evaluate(model, loaded, SHAPES) == promptseg.evaluate(model, run.prompts, SHAPES)
    trained = sum(tensor.numel() for tensor in loaded.weights.values())
    trained += sum(
        t.numel() for k, t in loaded.kinds.items() if not torch.equal(t, default_prompts(model, SPACE).kinds[k])
    )
    assert run.parameters == trained
    labels = promptseg.predict(model, loaded, PHOTO)
    assert np.array_equal(labels, SemanticTask().answer(answer(model, loaded), 0, PHOTO.shape[:2], SPACE))


def test_a_run_that_was_stopped_ends_as_one_that_was_not(model: SeemSegmenter, tmp_path: Path, monkeypatch) -> None:
    whole = promptseg.fit(model, SHAPES[:3], method="ssf", seed=4, **FEW | {"steps": 4}).prompts
    from promptseg.engine.trainer import Trainer

    step, done = Trainer.step, []

    def stopped(*given):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(step(*given))
        return done[-1]

    monkeypatch.setattr(Trainer, "step", stopped)
    with pytest.raises(KeyboardInterrupt):
        promptseg.fit(model, SHAPES[:3], method="ssf", seed=4, out=tmp_path, **FEW | {"steps": 4})
    monkeypatch.undo()
    again = promptseg.fit(
        model, SHAPES[:3], method="ssf", seed=4, out=tmp_path, resume=True, **FEW | {"steps": 4}
    ).prompts
    assert all(torch.equal(tensor, again.weights[name]) for name, tensor in whole.weights.items())


def test_features_of_an_adapted_encoder_are_not_those_of_the_frozen_one(model: SeemSegmenter) -> None:
    cache = FeaturesCache(model.device, "memory")
    plain, changed = default_prompts(model, SPACE), prompts_of(model, "ssf", 0.2)
    scores = [promptseg.evaluate(model, prompts, SHAPES, cache=cache) for prompts in (plain, changed, plain, changed)]
    assert scores[0] == scores[2] and scores[1] == scores[3] == promptseg.evaluate(model, changed, SHAPES)
    pixels = image_tensor(model, PHOTO)
    keys = {cache.key(adapted(model, p).encoder, pixels) for p in (plain, changed, prompts_of(model, "ssf", 0.1))}
    assert len(keys) == 3
    assert adapted(model, prompts_of(model, "finetune-decoder", 0.1)).encoder is model


@pytest.mark.parametrize("config", MODELS.values(), ids=MODELS)
def test_computing_the_encoder_again_changes_no_gradient(config) -> None:
    model = tiny_segmenter(config=config)
    runs = [promptseg.fit(model, SHAPES[:2], method="ssf", recompute=again, **FEW) for again in (False, True)]
    assert runs[0].losses == runs[1].losses
    for name, tensor in runs[0].prompts.weights.items():
        assert torch.equal(tensor, runs[1].prompts.weights[name]), name


def test_what_has_other_weights_at_every_step_is_not_compiled(model: SeemSegmenter) -> None:
    with pytest.raises(PromptsegError, match="compile is true, but lora has other weights at every step"):
        promptseg.fit(model, SHAPES[:2], method="lora", compile=True, **FEW)


def test_the_plain_model_does_not_decode_what_changes_it(model: SeemSegmenter) -> None:
    prompts, features = prompts_of(model, "ssf"), model.encode_image([image_tensor(model, PHOTO)])
    with pytest.raises(PromptsegError, match=r"tiny-0: these prompts change \d+ of its weights: decode with adapted"):
        model.decode(features, prompts)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"nowhere.weight": torch.zeros(2)}, "tiny-0 has no weight 'nowhere.weight' to change"),
        ({"backbone.norm0.bias": torch.zeros(3)}, r"backbone.norm0.bias has shape \(3,\), tiny-0 expects \(8,\)"),
        ({"backbone.norm0.weight.lora_A": torch.zeros(1, 1)}, "lora_A stands alone"),
        (
            {f"backbone.layers.0.blocks.0.mlp.fc1.weight{n}": torch.zeros(2, 2) for n in (".lora_A", ".lora_B")},
            r"lora_A has shape \(2, 2\), tiny-0 expects \(2, 8\)",
        ),
    ],
)
def test_changes_that_do_not_fit_are_one_line(model: SeemSegmenter, weights: dict, message: str) -> None:
    with pytest.raises(PromptsegError, match=message):
        promptseg.predict(model, replace(default_prompts(model, SPACE), weights=weights), PHOTO)


@pytest.mark.parametrize("method", CHANGE_WEIGHTS)
def test_a_model_without_weights_to_change_is_refused(model: SeemSegmenter, method: str) -> None:
    class Plain:
        id = "plain"

    with pytest.raises(PromptsegError, match="plain offers no weights to change"):
        METHODS[method].build(Plain(), default_prompts(model, SPACE), METHODS[method].settings(), 0)


def test_scale_and_shift_of_the_embedded_model_are_a_small_file(tmp_path: Path) -> None:
    model = promptseg.load_model("seem-lite", "cpu")
    _, ssf = built(model, "ssf")
    folder = prompts_of(model, "ssf", 0.1).save(tmp_path)
    size = sum(file.stat().st_size for file in folder.iterdir())
    assert 2 * ssf.num_parameters() < size < 200_000
