"""Showing the shots to a solver: each is encoded and decoded once, one at a time; and whose answers it is shown."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from promptseg.data.sample import Sample
from promptseg.data.tile_samples import Pieces
from promptseg.engine.runs import Run
from promptseg.features.encode import image_tensor, read_ahead
from promptseg.features.features_cache import FeaturesCache
from promptseg.methods.module import PromptSolver
from promptseg.models.adapted import Adapted
from promptseg.progress import Progress
from promptseg.prompts import Prompts
from promptseg.record import FitRecord
from promptseg.tasks.semantic import SemanticTask


def cross_fitted(pieces: Pieces, folds: int, train: Callable[[Pieces], Prompts]) -> list[Prompts]:
    """For each photo or tile prompts that were trained on others: on all that are not in its fold.

    Prompts answer better on images that they were trained on than they would on others, so what is solved over their
    answers must not see those.

    Args:
        pieces: of two groups at least; every `folds`-th group belongs to one fold.
        folds: how many trainings, two at least.
        train: prompts from some of them.
    """
    count = min(folds, max(pieces.groups) + 1)
    trained = [train(pieces.without_fold(fold, count)) for fold in range(count)]
    return [trained[group % count] for group in pieces.groups]


@torch.no_grad()
def show_shots(
    solver: PromptSolver,
    used: Sequence[Adapted],
    *,
    pieces: Pieces,
    cache: FeaturesCache,
    progress: Progress,
    short_side: int | None = None,
) -> None:
    """Show every piece as of its group, with what the model answers to the prompts so far and its semantic labels.

    Args:
        solver: is shown them.
        used: for each piece the model, and the prompts so far on its device; encodes what `cache` does not hold.
        pieces: labelled images, or tiles of them.
        cache: keeps the features, or does not.
        progress: is told how far it is.
        short_side: shorter side that images are resized to, pixels; none = the model's own.
    """
    task = SemanticTask()

    def load(sample: Sample) -> tuple[torch.Tensor, torch.Tensor]:
        pixels = image_tensor(used[0].encoder, sample.image(), short_side)
        return pixels, task.target(sample, (pixels.shape[1], pixels.shape[2]), flip=False)

    with progress.running():
        loaded = zip(progress.track(used, "encode"), read_ahead(map(load, pieces.samples)), strict=True)
        for group, (one, (pixels, labels)) in zip(pieces.groups, loaded, strict=True):
            features = cache.features(one.encoder, pixels)
            solver.show(group, features, one.decoder.decode(features, one.prompts), labels)


def with_solved(run: Run, record: FitRecord, solver: PromptSolver) -> tuple[Run, FitRecord]:
    """Run and record with what the solver finds in the shots that it was shown."""
    began = time.perf_counter()
    solved = solver.solve()
    seconds = run.seconds + time.perf_counter() - began
    numbers = run.parameters + solved.numbers
    run = replace(run, prompts=run.prompts.updated(solved.kinds), seconds=seconds, parameters=numbers)
    return run, replace(record, metrics=solved.metrics, tried=solved.tried)
