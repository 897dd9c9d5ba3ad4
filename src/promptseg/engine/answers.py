"""What the model answers to a training batch, with no work done twice that prompts have no part in."""

from collections.abc import Sequence

import torch

from promptseg.engine.encode import Encoded
from promptseg.models.base import ImageFeatures, Prediction, PromptableSegmenter, decoder_states
from promptseg.prompts import Prompts


class Answers:
    """The model's answers to encoded images.

    Where the spatial prompts stand still, the decoder runs once for each image; then its states are classified.
    """

    def __init__(self, model: PromptableSegmenter, moves: frozenset[str], all_heads: bool) -> None:
        """Set up the answers of one fit.

        Args:
            model: the frozen segmenter.
            moves: the prompts that training changes.
            all_heads: answer from every head of the decoder, not from the last one alone.
        """
        self._model, self._all_heads = model, all_heads
        self._states = None if "spatial" in moves else decoder_states(model)
        self._kept: dict[int, ImageFeatures] = {}

    def __call__(self, group: Sequence[Encoded], prompts: Prompts) -> list[Prediction]:
        """Answers to images that share a canvas, head by head, the final one last.

        Args:
            group: images that live as long as this object.
            prompts: on the model's device; those that do not move are the same in every call.
        """
        if self._states is not None:
            states = ImageFeatures.cat([self._kept_states(item, prompts) for item in group])
            return self._states.classify(states, prompts)
        features = ImageFeatures.cat([item.features for item in group])
        if self._all_heads:
            return self._model.decode_all(features, prompts)
        return [self._model.decode(features, prompts)]

    @torch.no_grad()
    def _kept_states(self, item: Encoded, prompts: Prompts) -> ImageFeatures:
        if id(item) not in self._kept and self._states is not None:
            self._kept[id(item)] = self._states.decoder_states(item.features, prompts, self._all_heads)
        return self._kept[id(item)]
