"""Showing the shots to a solver: each is encoded and decoded once, one at a time; and whose answers it is shown."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from promptseg.data.sample import Sample
from promptseg.engine.runs import Run
from promptseg.features.encode import image_tensor, loaded_ahead
from promptseg.features.features_cache import FeaturesCache
from promptseg.methods.module import PromptSolver
from promptseg.models.adapted import Adapted
from promptseg.progress import Progress
from promptseg.prompts import Prompts
from promptseg.record import FitRecord
from promptseg.tasks.semantic import SemanticTask


def cross_fitted(shots: Sequence[Sample], folds: int, train: Callable[[Sequence[Sample]], Prompts]) -> list[Prompts]:
    """For each shot prompts that were trained on other shots: on all that are not in its fold.

    Prompts answer better on images that they were trained on than they would on others, so what is solved over their
    answers must not see those.

    Args:
        shots: labelled images, two at least; every `folds`-th belongs to one fold.
        folds: how many trainings, two at least.
        train: prompts from shots.
    """
    count = min(folds, len(shots))
    trained = [train([shot for i, shot in enumerate(shots) if i % count != fold]) for fold in range(count)]
    return [trained[i % count] for i in range(len(shots))]


@torch.no_grad()
def show_shots(
    solver: PromptSolver,
    used: Sequence[Adapted],
    *,
    shots: Sequence[Sample],
    cache: FeaturesCache,
    progress: Progress,
    short_side: int | None = None,
) -> None:
    """Show every shot, with what the model answers to the prompts so far and its semantic labels.

    Args:
        solver: is shown them.
        used: for each shot the model, and the prompts so far on its device; encodes what `cache` does not hold.
        shots: labelled images.
        cache: keeps the features, or does not.
        progress: is told how far it is.
        short_side: shorter side that images are resized to, pixels; none = the model's own.
    """
    task = SemanticTask()

    def load(sample: Sample) -> tuple[torch.Tensor, torch.Tensor]:
        pixels = image_tensor(used[0].encoder, sample.image(), short_side)
        return pixels, task.target(sample, (pixels.shape[1], pixels.shape[2]), flip=False)

    with progress.running():
        loaded = zip(progress.track(used, "encode"), loaded_ahead(load, shots), strict=True)
        for index, (one, (pixels, labels)) in enumerate(loaded):
            features = cache.features(one.encoder, pixels)
            solver.show(index, features, one.decoder.decode(features, one.prompts), labels)


def with_solved(run: Run, record: FitRecord, solver: PromptSolver) -> tuple[Run, FitRecord]:
    """Run and record with what the solver finds in the shots that it was shown."""
    began = time.perf_counter()
    solved = solver.solve()
    seconds = run.seconds + time.perf_counter() - began
    numbers = run.parameters + solved.numbers
    run = replace(run, prompts=run.prompts.updated(solved.kinds), seconds=seconds, parameters=numbers)
    return run, replace(record, metrics=solved.metrics, tried=solved.tried)
