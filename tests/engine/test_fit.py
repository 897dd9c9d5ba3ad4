"""The engine: frozen model, exact caching, repeatability, resuming, refusals."""

import json
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from places import SUPPORT
from shapes import SHAPES, SPACE, ShapeSample
from tiny import tiny_folder, tiny_segmenter

import promptseg
from promptseg.engine.defaults import default_prompts
from promptseg.engine.runs import read_header
from promptseg.engine.settings import PRESETS
from promptseg.engine.trainer import build_optimizer, draw_batches
from promptseg.errors import PromptsegError
from promptseg.features.encode import encode_samples, image_tensor
from promptseg.features.features_cache import FeaturesCache
from promptseg.files import locked
from promptseg.methods.registry import DEFAULT_METHOD, EFFORTS, METHODS
from promptseg.models.seem.segmenter import SeemSegmenter
from promptseg.progress import Progress
from promptseg.record import FitSettings
from promptseg.tasks.registry import TASKS
from promptseg.tasks.semantic import SemanticTask

CACHE = FeaturesCache(torch.device("cpu"), "memory")
FEW = {"steps": 6, "batch_size": 2}


@pytest.fixture(scope="module")
def model() -> SeemSegmenter:
    return tiny_segmenter()


def same(first: promptseg.Prompts, second: promptseg.Prompts) -> bool:
    assert first.kinds.keys() == second.kinds.keys()
    return all(torch.equal(tensor, second.kinds[name]) for name, tensor in first.kinds.items())


@pytest.mark.parametrize("method", sorted(METHODS))
def test_frozen_means_frozen(method: str) -> None:
    model = tiny_segmenter()
    before = {name: tensor.clone() for name, tensor in model.parameter_tensors().items()}
    promptseg.fit(model, SHAPES, method=method, progress=False, **FEW)
    for name, tensor in model.parameter_tensors().items():
        assert torch.equal(tensor, before[name]), name
        assert tensor.grad is None and not tensor.requires_grad, name


def test_training_lowers_the_loss_and_raises_miou(model: SeemSegmenter) -> None:
    zero_shot = promptseg.fit(model, SHAPES, method="zero-shot", progress=False)
    run = promptseg.fit(model, SHAPES, "ssprompt", steps=120, batch_size=3, progress=False)
    assert zero_shot.losses == []
    assert sum(run.losses[-10:]) < 0.98 * sum(run.losses[:10])
    scores = [promptseg.evaluate(model, r.prompts, SHAPES).miou for r in (zero_shot, run)]
    assert scores[1] > scores[0] + 0.05


def test_training_takes_subnormal_numbers_for_zero_and_leaves_others_theirs(
    model: SeemSegmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_flush_denormal(False)  # commands that ran in this process have set it
    tiny, loss, seen = torch.full((8,), 1e-39), SemanticTask.loss, []

    def watched(self: SemanticTask, *given: Any) -> torch.Tensor:
        value = loss(self, *given)
        value.register_hook(lambda slope: seen.append((tiny * 0.5).count_nonzero().item()))
        seen.append((tiny * 0.5).count_nonzero().item())
        return value

    monkeypatch.setattr(SemanticTask, "loss", watched)
    promptseg.fit(model, SHAPES, "ssprompt", progress=False, **FEW)
    assert seen and set(seen) == {0}
    assert (tiny * 0.5).count_nonzero() == 8


def test_zero_shot_is_the_default_prompts_but_for_those_the_model_has(model: SeemSegmenter) -> None:
    run = promptseg.fit(model, SHAPES, method="zero-shot", progress=False)
    defaults = default_prompts(model, SPACE)
    assert same(run.prompts, defaults.without("mask"))
    answers = [promptseg.predict(model, prompts, SHAPES[0].image()) for prompts in (run.prompts, defaults)]
    assert np.array_equal(*answers)


def test_spatial_prompts_other_than_the_models_first_are_kept(model: SeemSegmenter) -> None:
    run = promptseg.fit(model, SHAPES, method="zero-shot", spatial="grid", progress=False)
    assert same(run.prompts, default_prompts(model, SPACE, "grid"))


def test_the_prompt_gradient_agrees_with_finite_differences() -> None:
    model = tiny_segmenter()
    sample = SHAPES[0]
    features = model.encode_image([image_tensor(model, sample.image(), 48)])
    features = features.to("cpu", torch.float64)
    prompts = default_prompts(model, SPACE)
    model.network.double()
    prompts = prompts.updated({name: tensor.double() for name, tensor in prompts.kinds.items()})
    target = [SemanticTask().target(sample, (48, 80), flip=False)]

    def loss(spatial: torch.Tensor, semantic: torch.Tensor) -> torch.Tensor:
        prediction = model.decode(features, prompts.updated({"spatial": spatial, "semantic": semantic}))
        return SemanticTask().loss(prediction, target)

    leaves = [prompts.kinds["spatial"].clone().requires_grad_(), prompts.kinds["semantic"].clone().requires_grad_()]
    gradients = torch.autograd.grad(loss(*leaves), leaves)
    generator = torch.Generator().manual_seed(0)
    for index, gradient in enumerate(gradients):
        direction = torch.randn(gradient.shape, generator=generator, dtype=torch.float64)
        direction /= direction.norm()
        values = []
        for sign in (1, -1):
            moved = [leaf.detach().clone() for leaf in leaves]
            moved[index] += sign * 1e-6 * direction
            values.append(loss(*moved).item())
        numeric = (values[0] - values[1]) / 2e-6
        assert numeric == pytest.approx((gradient * direction).sum().item(), rel=1e-4, abs=1e-9)


def test_cached_features_are_those_of_the_image_as_it_is_and_mirrored(model: SeemSegmenter) -> None:
    views = encode_samples(model, SHAPES[:1], SemanticTask(), cache=CACHE, progress=Progress(False), flip=True)[0]
    pixels = image_tensor(model, SHAPES[0].image())
    for view, image in zip(views, (pixels, pixels.flip(-1)), strict=True):
        for name, tensor in model.encode_image([image]).tensors().items():
            assert torch.equal(view.load().tensors()[name], tensor)
    assert torch.equal(views[1].target, views[0].target.flip(-1))


def test_same_seed_same_prompts_other_seed_other_prompts(model: SeemSegmenter) -> None:
    runs = [promptseg.fit(model, SHAPES, "ssprompt", seed=seed, progress=False, **FEW) for seed in (0, 0, 1)]
    assert same(runs[0].prompts, runs[1].prompts)
    assert not same(runs[0].prompts, runs[2].prompts)
    assert runs[0].losses == runs[1].losses


def test_photos_of_different_sizes_train_together(model: SeemSegmenter) -> None:
    mixed = [SHAPES[0], ShapeSample(1, height=80, width=48), ShapeSample(2, height=64, width=150)]
    run = promptseg.fit(model, mixed, "ssprompt", steps=4, batch_size=3, progress=False)
    assert len(run.losses) == 4


def test_ctrl_c_leaves_a_run_that_resumes_to_the_same_prompts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_segmenter()
    whole = promptseg.fit(model, SHAPES, "ssprompt", out=tmp_path / "whole", progress=False, **FEW)
    decode, calls = model.decode_all, []

    def interrupted(*args: object) -> object:
        calls.append(1)
        if len(calls) == 4:
            signal.raise_signal(signal.SIGINT)
        return decode(*args)

    monkeypatch.setattr(model, "decode_all", interrupted)
    with pytest.raises(KeyboardInterrupt):
        promptseg.fit(model, SHAPES, "ssprompt", out=tmp_path / "cut", progress=False, **FEW)
    monkeypatch.undo()
    assert not (tmp_path / "cut" / "prompts").exists()
    with pytest.raises(PromptsegError, match="holds an unfinished run; resume it"):
        promptseg.fit(model, SHAPES, "ssprompt", out=tmp_path / "cut", progress=False, **FEW)
    with pytest.raises(PromptsegError, match="belongs to a run with other seed"):
        promptseg.fit(model, SHAPES, "ssprompt", seed=5, out=tmp_path / "cut", resume=True, progress=False, **FEW)
    with pytest.raises(PromptsegError, match="belongs to a run with other model"):
        promptseg.fit(tiny_segmenter(1), SHAPES, "ssprompt", out=tmp_path / "cut", resume=True, progress=False, **FEW)
    resumed = promptseg.fit(model, SHAPES, "ssprompt", out=tmp_path / "cut", resume=True, progress=False, **FEW)
    assert same(whole.prompts, resumed.prompts)
    assert resumed.losses == whole.losses
    assert sorted(p.name for p in (tmp_path / "cut").iterdir()) == ["prompts", "run.json"]


def test_a_second_ctrl_c_leaves_at_once_and_no_half_step_is_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_segmenter()
    whole = promptseg.fit(model, SHAPES, "ssprompt", progress=False, **FEW)
    update, calls = torch.optim.AdamW.step, []

    def interrupted(*args: object) -> object:
        """The first signal comes in the second step, two in the midst of the fourth."""
        calls.append(1)
        found = update(*args)
        for _ in range({2: 1, 4: 2}.get(len(calls), 0)):
            signal.raise_signal(signal.SIGINT)
        return found

    monkeypatch.setattr(torch.optim.AdamW, "step", interrupted)
    for steps in (2, 2):
        with pytest.raises(KeyboardInterrupt):
            promptseg.fit(model, SHAPES, "ssprompt", out=tmp_path, resume=True, progress=False, **FEW)
        assert len(read_header(tmp_path / "checkpoint.safetensors")["losses"]) == steps
    resumed = promptseg.fit(model, SHAPES, "ssprompt", out=tmp_path, resume=True, progress=False, **FEW)
    assert same(whole.prompts, resumed.prompts)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_folder_that_another_process_fits_in_is_refused(model: SeemSegmenter, tmp_path: Path) -> None:
    with (
        locked(tmp_path / ".lock", "it"),
        pytest.raises(PromptsegError, match="in use by another process: wait for it, or choose another folder"),
    ):
        promptseg.fit(model, SHAPES, method="semprompt", out=tmp_path, progress=False, **FEW)
    promptseg.fit(model, SHAPES, "ssprompt", out=tmp_path, progress=False, **FEW)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["prompts", "run.json"]


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
import promptseg
from shapes import SHAPES
model = promptseg.load_model({model!r})
decode, calls = model.decode_all, []
def dying(*args):
    calls.append(1)
    if len(calls) == 30:
        os.kill(os.getpid(), signal.SIGKILL)
    return decode(*args)
model.decode_all = dying
promptseg.fit(model, SHAPES, "ssprompt", steps=40, batch_size=1, out={out!r}, progress=False)
"""


def test_a_killed_run_resumes_to_the_same_prompts(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "model")
    script = KILLED.format(tests=str(SUPPORT), model=str(folder), out=str(tmp_path / "run"))
    done = subprocess.run([sys.executable, "-c", script], timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "run" / "run.json").exists()
    model = promptseg.load_model(str(folder), device="cpu")
    few = {"steps": 40, "batch_size": 1, "progress": False}
    resumed = promptseg.fit(model, SHAPES, "ssprompt", out=tmp_path / "run", resume=True, **few)
    assert same(resumed.prompts, promptseg.fit(model, SHAPES, "ssprompt", **few).prompts)


def test_a_finished_run_is_kept_and_read_back(tmp_path: Path, model: SeemSegmenter) -> None:
    first = promptseg.fit(model, SHAPES, "ssprompt", out=tmp_path, progress=False, **FEW)
    with pytest.raises(PromptsegError, match="holds a finished run"):
        promptseg.fit(model, SHAPES, "ssprompt", out=tmp_path, progress=False, **FEW)
    (tmp_path / "checkpoint.safetensors").write_bytes(b"left by a process that was killed at its last moment")
    again = promptseg.fit(model, SHAPES, "ssprompt", out=tmp_path, resume=True, progress=False, **FEW)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["prompts", "run.json"]
    assert same(first.prompts, again.prompts)
    assert same(first.prompts, promptseg.Prompts.load(tmp_path / "prompts"))
    used_otherwise = SeemSegmenter(model.network, model.tokenizer, f"{model.id}?maps=decoder", maps="decoder")
    with pytest.raises(PromptsegError, match="belongs to a run with other model"):
        promptseg.fit(used_otherwise, SHAPES, "ssprompt", out=tmp_path, resume=True, progress=False, **FEW)
    content = json.loads((tmp_path / "run.json").read_text())
    assert content["record"]["settings"]["steps"] == 6
    assert content["record"]["draw"]["ids"] == [sample.id for sample in SHAPES]


def test_a_checkpoint_is_written_without_running_the_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, calls = tiny_segmenter(), []
    encode = model.encode_embedded
    monkeypatch.setattr(model, "encode_embedded", lambda texts: calls.append(1) or encode(texts))
    promptseg.fit(model, SHAPES, method="coop", steps=45, batch_size=1, out=tmp_path, progress=False)
    assert len(calls) == 45 + 1  # each step once, and the finished prompts; two checkpoints lie between


def test_of_more_photos_than_steps_look_at_the_others_are_not_read(model: SeemSegmenter) -> None:
    @dataclass(frozen=True)
    class Watched(ShapeSample):
        def image(self) -> np.ndarray:
            read.append(self.number)
            return super().image()

    shots, read = [Watched(number) for number in range(40)], []
    run = promptseg.fit(model, shots, "ssprompt", progress=False, **FEW)
    looked_at = {index for batch in islice(draw_batches(40, 2, True, 0), 6) for index, _ in batch}
    assert set(read) == looked_at and len(looked_at) == 12 and len(run.losses) == 6


def test_contents_and_positions_are_learned_at_once(model: SeemSegmenter) -> None:
    own = default_prompts(model, SPACE, "both").kinds
    learned = promptseg.fit(model, SHAPES, method="spaprompt", spatial="both", progress=False, **FEW).prompts
    changed = {kind for kind, tensor in learned.kinds.items() if not torch.equal(tensor, own[kind])}
    assert changed == {"spatial", "position"}
    assert {name for name in learned.parts if name.endswith(".weight")} == {"spatial.weight", "position.weight"}
    assert promptseg.evaluate(model, learned, SHAPES).miou > 0


def test_prompts_do_without_the_text_encoder(model: SeemSegmenter) -> None:
    run = promptseg.fit(model, SHAPES, "ssprompt", progress=False, **FEW)
    expected = promptseg.predict(model, run.prompts, SHAPES[0].image())
    mute = tiny_segmenter()
    mute.network.text.lang_encoder.register_forward_pre_hook(lambda *_: pytest.fail("a text was encoded"))
    assert (promptseg.predict(mute, run.prompts, SHAPES[0].image()) == expected).all()
    assert expected.shape == (48, 80)


def test_what_is_learned_where_no_method_is_named_is_what_the_command_line_does(model: SeemSegmenter) -> None:
    record = promptseg.fit(model, SHAPES, progress=False, pixels=300).record
    assert record.method == DEFAULT_METHOD == EFFORTS["seconds"]


def test_draws_cover_every_epoch_and_restart_anywhere() -> None:
    draws = draw_batches(count=5, batch_size=2, flip=True, seed=3)
    batches = [next(draws) for _ in range(20)]
    flat = [item for batch in batches for item in batch]
    for epoch in range(8):
        assert sorted(index for index, _ in flat[5 * epoch : 5 * epoch + 5]) == [0, 1, 2, 3, 4]
    assert {view for _, view in flat} == {0, 1}
    later = draw_batches(count=5, batch_size=2, flip=True, seed=3, start=7)
    assert [next(later) for _ in range(13)] == batches[7:]
    plain = draw_batches(count=5, batch_size=2, flip=False, seed=3)
    assert {view for _ in range(10) for _, view in next(plain)} == {0}


def test_the_paper_preset_is_the_papers() -> None:
    expected = FitSettings(
        steps=1000,
        batch_size=2,
        optimizer="sgd",
        rate=1e-3,
        weight_decay=1e-4,
        auxiliary=0.0,
        power=0.9,
        templates="raw",
    )
    assert PRESETS["paper"] == expected
    losses = {name: kind.presets["paper"].loss for name, kind in TASKS.items()}
    assert losses == {"semantic": "cross-entropy", "instance": "matched", "panoptic": "matched"}
    assert all(set(kind.presets) == set(PRESETS) for kind in TASKS.values())


@pytest.mark.parametrize("schedule", ["poly", "cosine"])
def test_rates_are_those_of_the_librarys_schedulers(schedule: str) -> None:
    settings = replace(PRESETS["tuned"], steps=12, rate=0.3, schedule=schedule, warm_up=0)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    scheduler: torch.optim.lr_scheduler.LRScheduler = torch.optim.lr_scheduler.PolynomialLR(optimizer, 12, 0.9)
    if schedule == "cosine":
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 12)
    warm = replace(settings, warm_up=3)
    for step in range(12):
        expected = optimizer.param_groups[0]["lr"]
        assert settings.rate_at(step) == pytest.approx(expected)
        assert warm.rate_at(step) == pytest.approx(expected if step >= 3 else 1e-5)
        optimizer.step()
        scheduler.step()


def test_momentum_adds_up_what_went_before(model: SeemSegmenter) -> None:
    module = METHODS["coop"].build(model, default_prompts(model, SPACE), METHODS["coop"].settings(), 0)
    start = module.parts()["context"].detach().clone()
    settings = replace(PRESETS["paper"], rate=1.0, weight_decay=0.0, momentum=0.5)
    optimizer = build_optimizer(module, settings)
    for _ in range(3):
        module.context.grad = torch.ones_like(start)
        optimizer.step()
    # CoOp learns at a tenth of the rate; the steps are 1, 1.5 and 1.75 of it.
    torch.testing.assert_close(start - module.parts()["context"], torch.full_like(start, 0.425))


def test_the_last_of_all_heads_is_the_answer(model: SeemSegmenter) -> None:
    features = model.encode_image([image_tensor(model, SHAPES[0].image(), 64)])
    prompts = default_prompts(model, SPACE)
    heads = model.decode_all(features, prompts)
    answer = model.decode(features, prompts)
    assert len(heads) == model.config.decoder_layers + 1
    assert torch.allclose(heads[-1].mask_logits, answer.mask_logits, atol=1e-5)
    assert torch.allclose(heads[-1].class_logits, answer.class_logits, atol=1e-5)
    assert not torch.allclose(heads[0].mask_logits, answer.mask_logits, atol=1e-2)
