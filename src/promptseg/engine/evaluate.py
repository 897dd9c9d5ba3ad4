"""Scores of prompts over the images of a split."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from promptseg.data.photo_pixels import ArrayPixels
from promptseg.data.sample import Sample
from promptseg.engine.answers import Answering, at_once, tiling_of
from promptseg.engine.workers import Workers
from promptseg.errors import PromptsegError
from promptseg.features.features_cache import FeaturesCache
from promptseg.models.adapted import adapted
from promptseg.models.base import PromptableSegmenter
from promptseg.progress import Progress
from promptseg.prompts import Prompts
from promptseg.tasks.base import Metric, Task
from promptseg.tasks.registry import TASKS, build_task


@dataclass(frozen=True)
class Result:
    """Scores as fractions (0..1).

    Attributes:
        scores: by name, the headline first; none where nothing was to be found.
        per_class: what the headline is the mean of, by class; none where it occurs neither in truth nor in prediction.
        num_images: how many images were evaluated.
        task: the task by name.
    """

    scores: dict[str, float | None]
    per_class: dict[str, float | None]
    num_images: int
    task: str

    @staticmethod
    def of(metric: Metric, num_images: int, task: str) -> "Result":
        """What a metric has counted."""
        scores = metric.compute()
        return Result(scores.values, scores.per_class, num_images, task)

    @property
    def headline(self) -> float | None:
        """The score that stands for the whole: mIoU, AP50 or PQ."""
        return self.scores[TASKS.find(self.task).columns.headline]

    @property
    def miou(self) -> float | None:
        """Mean IoU.

        Raises:
            PromptsegError: another task than `semantic` was evaluated.
        """
        if "miou" not in self.scores:
            raise PromptsegError(f"there is no miou of the task {self.task!r}: take one of {', '.join(self.scores)}")
        return self.scores["miou"]

    def to_json(self) -> dict[str, Any]:
        """The scores as a JSON object."""
        return {"task": self.task, "num_images": self.num_images, **self.scores, "per_class": self.per_class}


def evaluate(
    model: PromptableSegmenter,
    prompts: Prompts,
    samples: Sequence[Sample],
    task: str | None = None,
    progress: bool = False,
    cache: FeaturesCache | None = None,
    batch_size: int | None = None,
    tile: int | None = None,
    overlap: int | None = None,
    **settings: Any,
) -> Result:
    """Decode every sample with `prompts` and score the answers at the labels' own size.

    Args:
        model: the model that the prompts belong to.
        prompts: learned or default prompts.
        samples: labelled images of the prompts' classes.
        task: a name of `tasks.registry.TASKS`; none = that the prompts were learned for.
        progress: show a progress bar if standard error is a terminal.
        cache: of image features, shared with others, in its precision; none keeps none, and encodes as the fit did.
        batch_size: most images that are decoded together; none = 8 on a GPU, and 1 on a CPU, which is no faster with
            more. It changes no score.
        tile: height and width of the tiles that photos are seen in, pixels; 0 = whole photos; none = as in the fit.
        overlap: pixels that tiles share at least; none = as in the fit, else an eighth of the tile.
        settings: of the task, such as `object_threshold`; else those of the fit, else the task's own.

    Raises:
        PromptsegError: prompts of another model, classes other than the samples', labels that the task needs are not
            there, an unknown setting, or no samples.
    """
    metric = measure(model, prompts, samples, task, progress, cache, batch_size, tile, overlap, **settings)
    return Result.of(metric, len(samples), task_of(prompts, task, settings).name)


@torch.no_grad()
def measure(
    model: PromptableSegmenter,
    prompts: Prompts,
    samples: Sequence[Sample],
    task: str | None = None,
    progress: bool = False,
    cache: FeaturesCache | None = None,
    batch_size: int | None = None,
    tile: int | None = None,
    overlap: int | None = None,
    **settings: Any,
) -> Metric:
    """As `evaluate`, but gives what was counted, to be merged with what others counted of other samples.

    Processes that `torchrun` started measure a part of the samples each, and all of them get the whole.
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
    chosen = task_of(prompts, task, settings)
    metric = chosen.metric(label_space)
    used = adapted(model, prompts.to(model.device))
    cache = cache or FeaturesCache(model.device, "none", precision=encoding_precision(prompts))
    how = Answering(
        used,
        chosen,
        label_space,
        partial(cache.features, used.encoder),
        input_short_side(prompts),
        tiling_of(prompts, tile, overlap),
        batch_size or at_once(model.device),
    )
    workers = Workers(model.device)
    mine = workers.part(samples)
    photos = ((chosen.labels(sample), ArrayPixels(sample.image())) for sample in mine)
    bar = Progress(progress and workers.is_main)
    with bar.running():
        for _, (truth, answer) in zip(bar.track(mine, "evaluate"), how.answers(photos), strict=True):
            metric.count(truth, answer)
    if workers.count > 1:
        states, metric = workers.gathered(metric.state()), chosen.metric(label_space)
        metric.merge(states)
    return metric


def input_short_side(prompts: Prompts) -> int | None:
    """Shorter input side that the prompts were learned at, pixels; None where that is left to the model."""
    return None if prompts.record is None else prompts.record.settings.short_side


def encoding_precision(prompts: Prompts) -> str:
    """Numbers that images are encoded in unless the user says otherwise: those of the fit."""
    return "float32" if prompts.record is None else prompts.record.settings.precision


def task_of(prompts: Prompts, name: str | None, settings: Mapping[str, Any]) -> Task[Any]:
    """A task by name, or the one that the prompts were learned for, with the settings of that fit.

    Args:
        prompts: learned or default prompts.
        name: of the task; none = the one of the fit, else `semantic`.
        settings: of the task; they overrule those of the fit.

    Raises:
        PromptsegError: unknown task or setting, or a value outside its range.
    """
    record = prompts.record
    chosen = name or ("semantic" if record is None else record.task)
    of_fit = record.task_settings if record is not None and record.task == chosen else {}
    return build_task(chosen, {**of_fit, **settings})
