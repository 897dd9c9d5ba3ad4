"""The model in training: what the trained prompts have no part in is computed once for each image and kept."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from math import prod
from typing import NamedTuple

import torch

from promptseg.features.encode import Encoded
from promptseg.features.memory import free_bytes
from promptseg.models.adapted import adapted
from promptseg.models.base import ImageFeatures, Prediction, PromptableSegmenter, Size
from promptseg.models.capabilities import decoder_states, dense_maps, mask_maps, prepared_features
from promptseg.models.evidence import Evidence, has_pixel_prompts
from promptseg.prompts import Prompts
from promptseg.tasks.evidence_loss import sampled_evidence
from promptseg.tasks.sampling import every, sampled

KEPT_FRACTION = 0.5
"""Of the memory that is free when training starts, for what is kept of each image."""


Decode = Callable[[ImageFeatures, Prompts], list[Prediction]]
Decoder = Callable[[Sequence[Encoded], Prompts], list[Prediction]]
"""Answers of all heads for encoded images that share a canvas."""


class LossStrides(NamedTuple):
    """Where a loss looks at masks: at every so-manieth pixel of the canvas each way (tasks/sampling.py).

    Attributes:
        last: of the last head.
        earlier: of the heads before it; none = they are not asked.
    """

    last: int
    earlier: int | None


class CachedDecoder:
    """The model's decoder over encoded images.

    Where the decoder hears of the learned prompts at its very end only, it runs once for each image and its states are
    kept; else the features as the model prepares them. An image that finds no more room is worked out anew each step.
    """

    def __init__(
        self,
        model: PromptableSegmenter,
        learned_kinds: frozenset[str],
        all_heads: bool,
        strides: LossStrides | None = None,
        compiled: bool = False,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Set up the decoder of one fit.

        Args:
            model: the frozen segmenter.
            learned_kinds: the kinds of prompts that training changes.
            all_heads: answer from every head of the decoder, not from the last one alone.
            strides: the only places that masks are looked at; none = they are wanted whole.
            compiled: let `torch.compile` make the decoder's kernels.
            dtype: numbers that are kept of each image; it computes in float32 all the same.
        """
        self._model, self._strides, self._dtype = model, strides, dtype
        self._all_heads = all_heads
        states = decoder_states(model)
        self._states = states if states is not None and learned_kinds <= states.late_kinds else None
        decode = model.decode_all if all_heads else partial(_last_alone, model)
        self._decode: Decode = torch.compile(decode) if compiled else decode
        self._room = int(KEPT_FRACTION * free_bytes(model.device))
        self._kept: dict[str, ImageFeatures] = {}

    def __call__(self, group: Sequence[Encoded], prompts: Prompts) -> list[Prediction]:
        """Predictions for images that share a canvas, head by head, the final one last; in float32.

        Args:
            group: encoded images.
            prompts: on the model's device; of those that are not trained, the rows are the same in every call.
        """
        ready = ImageFeatures.cat([self._ready(item, prompts) for item in group])
        heads = self._decode(ready, prompts) if self._states is None else self._states.classify(ready, prompts)
        return _finished(self._model, heads, self._strides)

    def _ready(self, item: Encoded, prompts: Prompts) -> ImageFeatures:
        device = self._model.device
        if item.key not in self._kept:
            ready = self._work_out(item.load(), prompts).to(device, self._dtype)
            if ready.nbytes > self._room:
                return ready.to(device, torch.float32)
            self._room -= ready.nbytes
            self._kept[item.key] = ready
        return self._kept[item.key].to(device, torch.float32)

    @torch.no_grad()
    def _work_out(self, features: ImageFeatures, prompts: Prompts) -> ImageFeatures:
        features = _prepared(self._model, features, self._strides)
        if self._states is not None:
            return self._states.decoder_states(features, prompts, self._all_heads)
        return features


class AdaptedDecoder:
    """The model where its weights are what is trained; images are encoded anew where those of its encoder are."""

    def __init__(
        self, model: PromptableSegmenter, all_heads: bool, recompute: bool, strides: LossStrides | None = None
    ) -> None:
        """Set up the model of one fit.

        Args:
            model: the frozen segmenter, which stays as it is.
            all_heads: answer from every head of the decoder, not from the last one alone.
            recompute: compute the insides of the image encoder again on the way back instead of keeping them.
            strides: as for `CachedDecoder`.
        """
        self._model, self._recompute, self._strides = model, recompute, strides
        self._all_heads = all_heads

    def __call__(self, group: Sequence[Encoded], prompts: Prompts) -> list[Prediction]:
        """As that of `CachedDecoder`; differentiable in the changed weights of `prompts` too."""
        used = adapted(self._model, prompts, self._recompute)
        if used.encoder is self._model:
            features = ImageFeatures.cat([item.load() for item in group])
        else:
            features = used.encoder.encode_image([item.pixels for item in group])
        evidence, others = None, used.prompts
        if has_pixel_prompts(others):  # they are over maps that prepared features need not have any more
            dense = dense_maps(used.decoder)
            evidence = Evidence.of(dense.dense_map_specs, dense.dense_maps(features), others)
            others = others.without("pixel")
        ready = _prepared(used.decoder, features, self._strides)
        heads = used.decoder.decode_all(ready, others) if self._all_heads else _last_alone(used.decoder, ready, others)
        heads = _finished(used.decoder, heads, self._strides)
        return heads if evidence is None else _with_evidence(heads, evidence)


def _last_alone(model: PromptableSegmenter, features: ImageFeatures, prompts: Prompts) -> list[Prediction]:
    return [model.decode(features, prompts)]


def _prepared(model: PromptableSegmenter, features: ImageFeatures, strides: LossStrides | None) -> ImageFeatures:
    """Features as the model prepares them.

    Where its masks are products with maps, samples of the maps stand in their place: that is less work than samples of
    every mask of every head.
    """
    prepared, masks = prepared_features(model), mask_maps(model)
    if prepared is None:
        return features
    features = prepared.prepare(features)
    if masks is None or strides is None:
        return features
    maps, upsampling = masks.mask_maps(features)
    grids = {stride: _grid(features.canvas, stride) for stride in strides if stride is not None}
    samples = {
        stride: sampled(maps, features.canvas, stride, upsampling) if prod(grid) <= prod(maps.shape[2:]) else maps
        for stride, grid in grids.items()
    }
    earlier = None if strides.earlier is None else samples[strides.earlier]
    return masks.with_mask_maps(features, samples[strides.last], earlier)


def _finished(model: PromptableSegmenter, heads: Sequence[Prediction], strides: LossStrides | None) -> list[Prediction]:
    """Their answers in float32, which say where their masks are."""
    found = [replace(h, class_logits=h.class_logits.float(), mask_logits=h.mask_logits.float()) for h in heads]
    if strides is None or mask_maps(model) is None:
        return found
    places = [strides.earlier] * (len(found) - 1) + [strides.last]
    return [_marked(head, stride) for head, stride in zip(found, places, strict=True)]


def _marked(head: Prediction, stride: int | None) -> Prediction:
    """The same, said to be samples where it is."""
    if stride is None or head.mask_logits.shape[2:] != _grid(head.canvas, stride):
        return head
    return replace(head, mask_stride=stride)


def _with_evidence(heads: Sequence[Prediction], evidence: Evidence) -> list[Prediction]:
    """The heads with evidence, of which samples are taken once for all heads that have the same of their masks."""
    canvas, strides = heads[0].canvas, {head.mask_stride for head in heads} - {0}
    at = {0: evidence} | {stride: sampled_evidence(evidence, canvas, stride) for stride in strides}
    return [replace(head, evidence=at[head.mask_stride]) for head in heads]


def _grid(canvas: Size, stride: int) -> Size:
    """How many samples a stride takes of a canvas, down and across."""
    height, width = (len(range(side)[every(stride)]) for side in canvas)
    return height, width
