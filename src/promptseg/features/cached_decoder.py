"""The model in training: what the trained prompts have no part in is computed once for each image and kept."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch

from promptseg.features.encode import Encoded
from promptseg.features.memory import free_bytes
from promptseg.models.adapted import adapted
from promptseg.models.base import ImageFeatures, Prediction, PromptableSegmenter
from promptseg.models.capabilities import decoder_states, prepared_features
from promptseg.prompts import Prompts

KEPT_FRACTION = 0.5
"""Of the memory that is free when training starts, for what is kept of each image."""


Decode = Callable[[ImageFeatures, Prompts], list[Prediction]]


class CachedDecoder:
    """The model's decoder over encoded images.

    Where the decoder hears of the learned prompts at its very end only, it runs once for each image and its states are
    kept; else the features as the model prepares them. An image that finds no more room is worked out anew each step.
    """

    def __init__(
        self, model: PromptableSegmenter, learned_kinds: frozenset[str], all_heads: bool, compiled: bool = False
    ) -> None:
        """Set up the decoder of one fit.

        Args:
            model: the frozen segmenter.
            learned_kinds: the kinds of prompts that training changes.
            all_heads: answer from every head of the decoder, not from the last one alone.
            compiled: let `torch.compile` make the decoder's kernels.
        """
        self._all_heads = all_heads
        states = decoder_states(model)
        self._states = states if states is not None and learned_kinds <= states.late_kinds else None
        decode = model.decode_all if all_heads else partial(_last_alone, model)
        self._decode: Decode = torch.compile(decode) if compiled else decode
        self._prepared = prepared_features(model)
        self._room = int(KEPT_FRACTION * free_bytes(model.device))
        self._kept: dict[str, ImageFeatures] = {}

    def __call__(self, group: Sequence[Encoded], prompts: Prompts) -> list[Prediction]:
        """Predictions for images that share a canvas, head by head, the final one last; in float32.

        Args:
            group: encoded images.
            prompts: on the model's device; those that are not trained are the same in every call.
        """
        ready = ImageFeatures.cat([self._ready(item, prompts) for item in group])
        heads = self._decode(ready, prompts) if self._states is None else self._states.classify(ready, prompts)
        return _in_float32(heads)

    def _ready(self, item: Encoded, prompts: Prompts) -> ImageFeatures:
        if item.key in self._kept:
            return self._kept[item.key]
        ready = self._work_out(item.load(), prompts)
        if ready.nbytes <= self._room:
            self._room -= ready.nbytes
            self._kept[item.key] = ready
        return ready

    @torch.no_grad()
    def _work_out(self, features: ImageFeatures, prompts: Prompts) -> ImageFeatures:
        if self._states is not None:
            return self._states.decoder_states(features, prompts, self._all_heads)
        return features if self._prepared is None else self._prepared.prepare(features)


def _last_alone(model: PromptableSegmenter, features: ImageFeatures, prompts: Prompts) -> list[Prediction]:
    return [model.decode(features, prompts)]


def _in_float32(heads: Sequence[Prediction]) -> list[Prediction]:
    return [replace(h, class_logits=h.class_logits.float(), mask_logits=h.mask_logits.float()) for h in heads]


class AdaptedDecoder:
    """The model where its weights are what is trained; images are encoded anew where those of its encoder are."""

    def __init__(self, model: PromptableSegmenter, all_heads: bool, recompute: bool) -> None:
        """Set up the model of one fit.

        Args:
            model: the frozen segmenter, which stays as it is.
            all_heads: answer from every head of the decoder, not from the last one alone.
            recompute: compute the insides of the image encoder again on the way back instead of keeping them.
        """
        self._model, self._recompute = model, recompute
        self._all_heads = all_heads

    def __call__(self, group: Sequence[Encoded], prompts: Prompts) -> list[Prediction]:
        """As that of `CachedDecoder`; differentiable in the changed weights of `prompts` too."""
        used = adapted(self._model, prompts, self._recompute)
        if used.encoder is self._model:
            features = ImageFeatures.cat([item.load() for item in group])
        else:
            features = used.encoder.encode_image([item.pixels for item in group])
        if self._all_heads:
            return _in_float32(used.decoder.decode_all(features, used.prompts))
        return _in_float32([used.decoder.decode(features, used.prompts)])
