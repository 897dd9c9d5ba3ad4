"""A step of a model that decodes one class after the other: the classes that the images show, and some others.

What is not decoded has no part in the loss of the step, so classes compete with those of their images and with a few
drawn anew at every step, as in a sampled softmax. The cost of a step follows the classes of an image, not of the list.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from promptseg.features.cached_decoder import Decoder
from promptseg.features.encode import Encoded
from promptseg.models.base import Prediction, PromptableSegmenter
from promptseg.models.capabilities import decodes_classes_apart
from promptseg.prompts import Prompts
from promptseg.tasks.base import Task

NEVER = -30.0
"""Class logit of a class that was not decoded: e^-30 is nothing beside 1 in float32."""


class DrawnClasses:
    """Decodes for each group of images what the step needs."""

    def __init__(self, model: PromptableSegmenter, task: Task[Any], absent: int | None, seed: int) -> None:
        """Set up the draws of one fit.

        Args:
            model: the frozen segmenter.
            task: says which classes a target shows.
            absent: how many of the classes that no image of a group shows are decoded; none = all.
            seed: of the draws.
        """
        self._task, self._seed = task, seed
        self._absent = absent if decodes_classes_apart(model) else None

    def answers(self, decoder: Decoder, group: Sequence[Encoded], prompts: Prompts, step: int) -> list[Prediction]:
        """What the decoder says of images that share a canvas, head by head; what is drawn follows seed and step."""
        count = len(prompts.label_space)
        if self._absent is None:
            return decoder(group, prompts)
        shown = torch.zeros(count, dtype=torch.bool)
        for item in group:
            shown[self._task.shown(item.target).cpu()] = True
        others = (~shown).nonzero()[:, 0]
        if len(others) <= self._absent:
            return decoder(group, prompts)
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + step)
        drawn = others[torch.randperm(len(others), generator=generator)[: self._absent]]
        classes = torch.cat((shown.nonzero()[:, 0], drawn)).sort().values
        return [over_all(head, classes, count) for head in decoder(group, prompts.among(classes))]


def over_all(prediction: Prediction, classes: Tensor, count: int) -> Prediction:
    """A prediction for some classes (n,), by index, as one for all `count`, of which the others are never answered."""
    logits = prediction.class_logits
    wide = logits.new_full((*logits.shape[:2], count + 1), NEVER)
    places = torch.cat((classes, classes.new_tensor([count]))).to(logits.device)
    return replace(prediction, class_logits=wide.index_copy(2, places, logits))
