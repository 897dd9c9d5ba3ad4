"""What the model answers to a training batch, with no work done twice that the moving prompts have no part in."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch

from promptseg.engine.encode import Encoded
from promptseg.engine.memory import free_bytes
from promptseg.models.base import ImageFeatures, Prediction, PromptableSegmenter
from promptseg.models.capabilities import decoder_states, prepared_features
from promptseg.prompts import Prompts

KEPT_SHARE = 0.5
"""Of the memory that is free when training starts, for what is kept of each image."""


Decode = Callable[[ImageFeatures, Prompts], list[Prediction]]


class Answers:
    """The model's answers to encoded images.

    Where the spatial prompts stand still, the decoder runs once for each image and its states are kept; else the
    features as the model prepares them. An image that finds no more room is worked out anew at every step.
    """

    def __init__(
        self, model: PromptableSegmenter, moves: frozenset[str], all_heads: bool, compiled: bool = False
    ) -> None:
        """Set up the answers of one fit.

        Args:
            model: the frozen segmenter.
            moves: the prompts that training changes.
            all_heads: answer from every head of the decoder, not from the last one alone.
            compiled: let `torch.compile` make the decoder's kernels.
        """
        self._all_heads = all_heads
        self._states = None if "spatial" in moves else decoder_states(model)
        decode = model.decode_all if all_heads else partial(_last_alone, model)
        self._decode: Decode = torch.compile(decode) if compiled else decode
        self._prepared = prepared_features(model)
        self._room = int(KEPT_SHARE * free_bytes(model.device))
        self._kept: dict[int, ImageFeatures] = {}

    def __call__(self, group: Sequence[Encoded], prompts: Prompts) -> list[Prediction]:
        """Answers to images that share a canvas, head by head, the final one last; in float32.

        Args:
            group: images that live as long as this object.
            prompts: on the model's device; those that do not move are the same in every call.
        """
        ready = ImageFeatures.cat([self._ready(item, prompts) for item in group])
        heads = self._decode(ready, prompts) if self._states is None else self._states.classify(ready, prompts)
        return [replace(h, class_logits=h.class_logits.float(), mask_logits=h.mask_logits.float()) for h in heads]

    def _ready(self, item: Encoded, prompts: Prompts) -> ImageFeatures:
        if id(item) in self._kept:
            return self._kept[id(item)]
        ready = self._work_out(item.load(), prompts)
        if ready.nbytes <= self._room:
            self._room -= ready.nbytes
            self._kept[id(item)] = ready
        return ready

    @torch.no_grad()
    def _work_out(self, features: ImageFeatures, prompts: Prompts) -> ImageFeatures:
        if self._states is not None:
            return self._states.decoder_states(features, prompts, self._all_heads)
        return features if self._prepared is None else self._prepared.prepare(features)


def _last_alone(model: PromptableSegmenter, features: ImageFeatures, prompts: Prompts) -> list[Prediction]:
    return [model.decode(features, prompts)]
