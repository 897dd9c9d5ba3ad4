"""Showing the shots to a solver: each is encoded and decoded once, one at a time."""

from collections.abc import Sequence

import torch

from promptseg.data.sample import Sample
from promptseg.features.encode import image_tensor, loaded_ahead
from promptseg.features.features_cache import FeaturesCache
from promptseg.methods.module import PromptSolver
from promptseg.models.adapted import Adapted
from promptseg.progress import Progress
from promptseg.tasks.semantic import SemanticTask


@torch.no_grad()
def show_shots(
    solver: PromptSolver,
    used: Adapted,
    *,
    shots: Sequence[Sample],
    cache: FeaturesCache,
    progress: Progress,
    short_side: int | None = None,
) -> None:
    """Show every shot, with what the model answers to the prompts so far and its semantic labels.

    Args:
        solver: is shown them.
        used: the model, and the prompts so far on its device; encodes what `cache` does not hold.
        shots: labelled images.
        cache: keeps the features, or does not.
        progress: is told how far it is.
        short_side: shorter side that images are resized to, pixels; none = the model's own.
    """
    task = SemanticTask()

    def load(sample: Sample) -> tuple[torch.Tensor, torch.Tensor]:
        pixels = image_tensor(used.encoder, sample.image(), short_side)
        return pixels, task.target(sample, (pixels.shape[1], pixels.shape[2]), flip=False)

    with progress.running():
        loaded = zip(progress.track(shots, "encode"), loaded_ahead(load, shots), strict=True)
        for index, (_, (pixels, labels)) in enumerate(loaded):
            features = cache.features(used.encoder, pixels)
            solver.show(index, features, used.decoder.decode(features, used.prompts), labels)
