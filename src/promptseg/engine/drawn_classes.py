"""A step of a model that decodes one class after the other: the classes that its images show, and some others.

What is not decoded has no part in the loss of the step, so classes compete with those of the images and with a few
drawn anew at every step, as in a sampled softmax. The cost of a step follows the classes of images, not of the list.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from promptseg.errors import PromptsegError
from promptseg.features.cached_decoder import Decoder
from promptseg.features.encode import Encoded
from promptseg.models.base import ABSENT, Prediction, PromptableSegmenter
from promptseg.models.capabilities import decodes_classes_apart
from promptseg.models.evidence import has_pixel_prompts
from promptseg.prompts import Prompts
from promptseg.record import FitSettings
from promptseg.seeds import generator_at
from promptseg.tasks.base import Task


def without_draws(settings: FitSettings, model: PromptableSegmenter, overrides: Mapping[str, Any]) -> FitSettings:
    """The settings of a fit on a model, where one that decodes all classes at once draws none.

    Raises:
        PromptsegError: the overrides ask such a model for a draw.
    """
    if decodes_classes_apart(model):
        return settings
    if overrides.get("absent_classes") is not None:
        raise PromptsegError(
            f"absent_classes is {overrides['absent_classes']!r}: {model.id} decodes all classes at once; leave it out"
        )
    return replace(settings, absent_classes=None)


@dataclass(frozen=True)
class DrawnClasses:
    """Draws the classes of each step; what is drawn depends on the seed, the step and its images alone.

    Attributes:
        absent: how many of the classes that no image of a step shows are decoded; none = all.
        seed: of the draws.
    """

    absent: int | None
    seed: int

    def __call__(self, batch: Sequence[Encoded], task: Task[Any], count: int, step: int) -> Tensor | None:
        """The classes (n,) of `count` that the images of a step and the draw bring, ascending; none = all."""
        if self.absent is None:
            return None
        shown = torch.zeros(count, dtype=torch.bool)
        for item in batch:
            shown[task.shown(item.target).cpu()] = True
        others = (~shown).nonzero()[:, 0]
        wanted = max(self.absent, 1 - int(shown.sum()))  # where nothing is labelled, one class is decoded all the same
        if len(others) <= wanted:
            return None
        order = torch.randperm(len(others), generator=generator_at(self.seed, step))
        return torch.cat((shown.nonzero()[:, 0], others[order[:wanted]])).sort().values


def answers(decoder: Decoder, group: Sequence[Encoded], prompts: Prompts, classes: Tensor | None) -> list[Prediction]:
    """What the decoder says of images that share a canvas if it decodes some classes alone, head by head.

    Pixel prompts have evidence for all classes at once, so with them all are decoded.
    """
    if classes is None or has_pixel_prompts(prompts):
        return decoder(group, prompts)
    return [over_all(head, classes, len(prompts.label_space)) for head in decoder(group, prompts.among(classes))]


def over_all(prediction: Prediction, classes: Tensor, count: int) -> Prediction:
    """A prediction for some classes (n,), by index, as one for all `count`, of which the others are never answered."""
    logits = prediction.class_logits
    wide = logits.new_full((*logits.shape[:2], count + 1), ABSENT)
    places = torch.cat((classes, classes.new_tensor([count]))).to(logits.device)
    return replace(prediction, class_logits=wide.index_copy(2, places, logits))
