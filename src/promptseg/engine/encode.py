"""From samples to image features: resize, mirror, encode once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from promptseg.data.images import resize_image
from promptseg.data.sample import Sample
from promptseg.engine.features_cache import FeaturesCache
from promptseg.engine.loading import loaded_ahead
from promptseg.engine.progress import Progress
from promptseg.engine.settings import FitSettings
from promptseg.models.base import ImageFeatures, PromptableSegmenter, Size
from promptseg.tasks.base import Task


@dataclass(frozen=True)
class Encoded:
    """One training image, possibly mirrored.

    Attributes:
        load: gives its features (batch of 1), from where they are kept.
        canvas: of the features.
        target: the task's target.
    """

    load: Callable[[], ImageFeatures]
    canvas: Size
    target: Any


def image_tensor(model: PromptableSegmenter, image: NDArray[np.uint8], short_side: int | None = None) -> Tensor:
    """A photo (H, W, 3) uint8, resized as the model wants it, or to `short_side` pixels: (3, h, w) uint8."""
    size = model.input_size((image.shape[0], image.shape[1]), short_side)
    return torch.from_numpy(np.array(resize_image(image, size))).permute(2, 0, 1)


def encode_samples(
    model: PromptableSegmenter,
    samples: Sequence[Sample],
    task: Task[Any],
    settings: FitSettings,
    cache: FeaturesCache,
    progress: Progress,
) -> list[list[Encoded]]:
    """Encode every sample once, and once more mirrored if the settings say so.

    Returns:
        One list per sample: as it is, and mirrored.
    """
    encoded = []
    load = partial(_load, model, task, settings)
    for _, views in zip(progress.track(samples, "encode"), loaded_ahead(load, samples), strict=True):
        row = []
        for pixels, target in views:
            features = partial(cache.features, model, pixels, cache.key(model, pixels))
            row.append(Encoded(features, features().canvas, target))
        encoded.append(row)
    return encoded


def _load(
    model: PromptableSegmenter, task: Task[Any], settings: FitSettings, sample: Sample
) -> list[tuple[Tensor, Any]]:
    """Photo and target of a sample, and of its mirror image if the settings say so."""
    pixels = image_tensor(model, sample.image(), settings.short_side)
    size = (pixels.shape[1], pixels.shape[2])
    views = [(pixels, task.target(sample, size, False))]
    return [*views, (pixels.flip(-1), task.target(sample, size, True))] if settings.flip else views
