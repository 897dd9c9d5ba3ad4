"""Scores of prompts over the images of a split."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from promptseg.data.sample import Sample
from promptseg.engine.encode import image_tensor
from promptseg.engine.progress import Progress
from promptseg.errors import PromptsegError
from promptseg.models.base import PromptableSegmenter
from promptseg.prompts import Prompts
from promptseg.tasks.registry import build_task


@dataclass(frozen=True)
class Result:
    """Scores as fractions (0..1); a class that occurs neither in truth nor in prediction has none."""

    miou: float
    per_class: dict[str, float | None]
    num_images: int
    task: str

    def to_json(self) -> dict[str, Any]:
        """The scores as a JSON object."""
        return {
            "task": self.task,
            "num_images": self.num_images,
            "miou": self.miou,
            "per_class": self.per_class,
        }


@torch.no_grad()
def evaluate(
    model: PromptableSegmenter,
    prompts: Prompts,
    samples: Sequence[Sample],
    task: str = "semantic",
    progress: bool = False,
) -> Result:
    """Decode every sample with `prompts` and score the answers at the labels' own size.

    Raises:
        PromptsegError: prompts of another model, classes other than the samples', or no samples.
    """
    prompts.check_model(model.id, model.fingerprint)
    if not len(samples):
        raise PromptsegError("there is nothing to evaluate: the split is empty")
    label_space = samples[0].label_space
    if prompts.class_names != label_space.names:
        raise PromptsegError(
            f"the prompts are for {len(prompts.class_names)} classes ({', '.join(prompts.class_names[:3])}, ...), "
            f"the samples have {len(label_space)} ({', '.join(label_space.names[:3])}, ...): fit prompts for these"
        )
    metric = build_task(task).metric(label_space)
    prompts = prompts.to(model.device)
    short_side = input_short_side(prompts)
    bar = Progress(progress)
    with bar.running():
        for sample in bar.track(samples, "evaluate"):
            features = model.encode_image([image_tensor(model, sample.image(), short_side)])
            metric.update(model.decode(features, prompts), 0, sample)
    scores = metric.compute()
    return Result(scores["miou"], scores["per_class"], len(samples), task)


def input_short_side(prompts: Prompts) -> int | None:
    """Shorter input side that the prompts were learned at, pixels; None where that is left to the model."""
    short_side: int | None = prompts.record.get("settings", {}).get("short_side")
    return short_side
