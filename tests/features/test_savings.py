"""Every saving of the trainer against the plain way: encode at every step, full decoder, full maps in the loss."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from plain_way import plain_fit, plain_step_loss
from rivals import APART
from shapes import SPACE, ShapeSample
from tiny import tiny_segmenter

import promptseg
from promptseg.engine.defaults import default_prompts
from promptseg.engine.settings import Resolved, resolve
from promptseg.engine.trainer import AUXILIARY_STRIDE
from promptseg.features import cached_decoder
from promptseg.features.cached_decoder import KEPT_FRACTION, AdaptedDecoder, CachedDecoder, LossStrides
from promptseg.features.encode import encode_samples, image_tensor
from promptseg.features.features_cache import FeaturesCache
from promptseg.methods.module import PromptModule
from promptseg.methods.registry import METHODS
from promptseg.models.base import ImageFeatures, Size
from promptseg.models.evidence import Evidence
from promptseg.models.seem.segmenter import SeemSegmenter
from promptseg.progress import Progress
from promptseg.prompts import Prompts
from promptseg.tasks.evidence_loss import sampled_evidence
from promptseg.tasks.semantic import SemanticTask

SHAPES = [ShapeSample(number, 64, 96) for number in range(4)]
CLOSE = 1e-4
"""Largest difference allowed, relative to the largest value."""


@pytest.fixture(scope="module")
def model() -> SeemSegmenter:
    return tiny_segmenter()


def assert_close(found: torch.Tensor, expected: torch.Tensor) -> None:
    assert (found - expected).abs().max() <= CLOSE * expected.abs().max()


def build(model: SeemSegmenter, method: str, overrides: dict[str, Any]) -> tuple[Prompts, PromptModule, Resolved]:
    settings = resolve("tuned", METHODS[method], overrides)
    defaults = default_prompts(model, SPACE, settings.fit.spatial, settings.fit.templates)
    return defaults, METHODS[method].build(model, defaults, settings.method, 0), settings


def views(model: SeemSegmenter, settings: Resolved) -> list[list[tuple[torch.Tensor, torch.Tensor]]]:
    task = SemanticTask(settings.task)
    found = []
    for sample in SHAPES:
        pixels, target = image_tensor(model, sample.image(), 64), task.target(sample, (64, 96), False)
        found.append([(pixels, target), (pixels.flip(-1), target.flip(-1))])
    return found


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"zero-shot", *APART}))
@pytest.mark.parametrize(
    "overrides", [{"auxiliary": 0.0, "optimizer": "sgd", "loss": "cross-entropy"}, {}, {"loss_stride": 1}]
)
def test_prompts_are_those_of_the_plain_way(model: SeemSegmenter, method: str, overrides: dict[str, Any]) -> None:
    chosen = {"steps": 5, "batch_size": 3} | overrides
    defaults, module, settings = build(model, method, chosen)
    losses = plain_fit(model, defaults, module, views(model, settings), settings, seed=0)
    run = promptseg.fit(model, SHAPES, method=method, progress=False, **chosen)
    assert run.losses == pytest.approx(losses, rel=CLOSE)
    plain = defaults.updated(module()).detached()
    # Spatial prompts that the model has itself are not kept.
    assert run.prompts.kinds.keys() == plain.kinds.keys() - ({"spatial"} - module.learned_kinds)
    for name, tensor in run.prompts.kinds.items():
        assert_close(tensor, plain.kinds[name])


@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("auxiliary", [0.0, 0.3])
def test_gradients_are_those_of_the_plain_way(model: SeemSegmenter, auxiliary: float, sampled: bool) -> None:
    defaults, module, settings = build(model, "ssprompt", {"auxiliary": auxiliary})
    pairs = [sample_views[0] for sample_views in views(model, settings)]
    images, targets = zip(*pairs, strict=True)
    plain = plain_step_loss(model, defaults.updated(module()), images, targets, settings)
    cache = FeaturesCache(model.device, "memory")
    fit, silent = settings.fit, Progress(False)
    rows = encode_samples(model, SHAPES, SemanticTask(), cache=cache, progress=silent, short_side=fit.short_side)
    encoded = [row[0] for row in rows]
    strides = LossStrides(fit.loss_stride, AUXILIARY_STRIDE)
    decoder = CachedDecoder(model, module.learned_kinds, auxiliary > 0, strides if sampled else None)
    *earlier, last = decoder(encoded, defaults.updated(module()))
    task = SemanticTask()
    loss = task.loss(last, targets, strides.last)
    loss = loss + sum(auxiliary * task.loss(head, targets, AUXILIARY_STRIDE) for head in earlier)
    found, expected = (torch.autograd.grad(value, list(module.parameters())) for value in (loss, plain))
    for one, other in zip(found, expected, strict=True):
        assert_close(one, other)


def test_samples_of_evidence_give_the_loss_and_gradients_of_whole_maps(
    model: SeemSegmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []

    def counted(evidence: Evidence, canvas: Size, stride: int) -> Evidence:
        taken.append(stride)
        return sampled_evidence(evidence, canvas, stride)

    monkeypatch.setattr(cached_decoder, "sampled_evidence", counted)
    defaults, module, settings = build(model, "ssf-pixprompt", {})
    generator = torch.Generator().manual_seed(0)
    kinds = {kind.name: kind.dim for kind in defaults.spec if kind.role == "pixel"}
    module.start_at({name: torch.randn(len(SPACE), dim, generator=generator) / dim for name, dim in kinds.items()})
    task, cache, side = SemanticTask(), FeaturesCache(model.device, "memory"), settings.fit.short_side
    rows = encode_samples(model, SHAPES, task, cache=cache, progress=Progress(False), short_side=side)
    encoded = [row[0] for row in rows]

    def gradients(strides: LossStrides | None) -> tuple[torch.Tensor, torch.Tensor]:
        prompts = replace(defaults.updated(module()), weights=module.weights())
        *earlier, last = AdaptedDecoder(model, True, False, strides)(encoded, prompts)
        assert {head.mask_stride for head in earlier} == ({0} if strides is None else {AUXILIARY_STRIDE})
        targets = [item.target for item in encoded]
        loss = task.loss(last, targets, settings.fit.loss_stride)
        loss = loss + sum(0.3 * task.loss(head, targets, AUXILIARY_STRIDE) for head in earlier)
        return loss, torch.cat([one.flatten() for one in torch.autograd.grad(loss, list(module.parameters()))])

    expected = gradients(None)
    for one, other in zip(gradients(LossStrides(settings.fit.loss_stride, AUXILIARY_STRIDE)), expected, strict=True):
        assert_close(one, other)
    assert sorted(taken) == [settings.fit.loss_stride, AUXILIARY_STRIDE]  # once for all heads


@pytest.mark.parametrize(("method", "most"), [("semprompt", 8), ("coop", 8), ("locn", 8)])
def test_frozen_spatial_prompts_decode_each_view_once(
    method: str, most: int, model: SeemSegmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = 0
    states = model.network.states

    def counted(features: ImageFeatures, *args: Any) -> Any:
        nonlocal decoded
        decoded += len(features)
        return states(features, *args)

    monkeypatch.setattr(model.network, "states", counted)
    promptseg.fit(model, SHAPES, method=method, steps=10, batch_size=4, progress=False)
    assert 0 < decoded <= most


def test_states_answer_to_other_classes_as_decode_does(model: SeemSegmenter) -> None:
    features = model.encode_image([image_tensor(model, SHAPES[0].image(), 64)])
    prompts = default_prompts(model, SPACE)
    states = model.decoder_states(features, prompts, all_heads=False)
    other = prompts.updated({"semantic": prompts.kinds["semantic"].flip(0)})
    (answer,) = model.classify(states, other)
    expected = model.decode(features, other)
    assert torch.equal(answer.class_logits, expected.class_logits)
    assert torch.equal(answer.mask_logits, expected.mask_logits)


@pytest.mark.parametrize(("dtype", "prepared"), [(torch.float32, 3), (torch.bfloat16, 1)])
def test_half_the_numbers_find_room_for_twice_the_images(
    dtype: torch.dtype, prepared: int, model: SeemSegmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts, cache = default_prompts(model, SPACE), FeaturesCache(model.device, "memory")
    (row,) = encode_samples(model, SHAPES[:1], SemanticTask(), cache=cache, progress=Progress(False), short_side=64)
    needed = model.prepare(row[0].load()).nbytes
    monkeypatch.setattr(cached_decoder, "free_bytes", lambda device: int(0.75 * needed / KEPT_FRACTION))
    prepare, count = model.prepare, 0

    def counted(features: ImageFeatures) -> Any:
        nonlocal count
        count += 1
        return prepare(features)

    monkeypatch.setattr(model, "prepare", counted)
    decoder = CachedDecoder(model, frozenset({"spatial"}), all_heads=False, dtype=dtype)
    found = [decoder(row, prompts)[-1] for _ in range(3)]
    exact = model.decode(row[0].load(), prompts)
    assert count == prepared and found[0].mask_logits.dtype == torch.float32
    assert torch.equal(found[0].mask_logits, found[2].mask_logits)
    error = (found[0].mask_logits - exact.mask_logits).norm() / exact.mask_logits.norm()
    assert error < (1e-5 if dtype == torch.float32 else 0.05) and (dtype == torch.float32 or error > 1e-5)


def test_what_is_kept_in_half_the_bytes_teaches_nearly_the_same(model: SeemSegmenter) -> None:
    chosen = {"steps": 5, "batch_size": 2, "progress": False}
    for method in ("ssprompt", "semprompt"):
        exact, half = (
            promptseg.fit(model, SHAPES, method, features_dtype=dtype, **chosen).losses
            for dtype in ("float32", "bfloat16")
        )
        assert exact != half and half == pytest.approx(exact, rel=0.02)
