"""From samples to image features: read ahead, resize, mirror, encode once."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from promptseg.data.images import resize_image
from promptseg.data.sample import Sample
from promptseg.features.features_cache import FeaturesCache
from promptseg.models.base import ImageFeatures, PromptableSegmenter, Size
from promptseg.progress import Progress
from promptseg.tasks.base import Task


@dataclass(frozen=True)
class Encoded:
    """One training image, possibly mirrored.

    Attributes:
        pixels: (3, h, w) uint8, as the model takes it.
        key: what its features are kept under.
        load: gives its features (batch of 1), from where they are kept; encodes it where they are not.
        canvas: of the features; where the image is not encoded beforehand, its size.
        target: the task's target.
    """

    pixels: Tensor
    key: str
    load: Callable[[], ImageFeatures]
    canvas: Size
    target: Any


def image_tensor(model: PromptableSegmenter, image: NDArray[np.uint8], short_side: int | None = None) -> Tensor:
    """A photo (H, W, 3) uint8, resized as the model wants it, or to `short_side` pixels: (3, h, w) uint8."""
    size = model.input_size((image.shape[0], image.shape[1]), short_side)
    return torch.from_numpy(resize_image(image, size, model.resampling)).permute(2, 0, 1)


def encode_samples(
    model: PromptableSegmenter,
    samples: Sequence[Sample],
    task: Task[Any],
    *,
    cache: FeaturesCache,
    progress: Progress,
    short_side: int | None = None,
    flip: bool = False,
    encode: bool = True,
) -> list[list[Encoded]]:
    """Read every sample, and encode it once.

    Args:
        model: encodes what `cache` does not hold.
        samples: labelled images.
        task: gives the targets.
        cache: keeps the features.
        progress: is told how far it is.
        short_side: shorter side that images are resized to, pixels; none = the model's own.
        flip: take the mirrored images too.
        encode: compute the features now; else when they are asked for, which may be never.

    Returns:
        One list per sample: as it is, and mirrored if `flip`.
    """
    encoded, told = [], "encode" if encode else "read"
    load = partial(_load, model, task, short_side, flip)
    for _, views in zip(progress.track(samples, told), read_ahead(map(load, samples)), strict=True):
        row = []
        for pixels, target in views:
            key = cache.key(model, pixels)
            load_features = partial(cache.features, model, pixels, key)
            canvas = load_features().canvas if encode else (pixels.shape[1], pixels.shape[2])
            row.append(Encoded(pixels, key, load_features, canvas, target))
        encoded.append(row)
    return encoded


def _load(
    model: PromptableSegmenter, task: Task[Any], short_side: int | None, flip: bool, sample: Sample
) -> list[tuple[Tensor, Any]]:
    """Photo and target of a sample, and of its mirror image if `flip`."""
    pixels = image_tensor(model, sample.image(), short_side)
    size = (pixels.shape[1], pixels.shape[2])
    views = [(pixels, task.target(sample, size, False))]
    return [*views, (pixels.flip(-1), task.target(sample, size, True))] if flip else views


ItemT = TypeVar("ItemT")

AHEAD = 2
"""Items that may be ready and waiting: enough to even out large and small ones."""


def read_ahead(items: Iterable[ItemT], ahead: int = AHEAD) -> Iterator[ItemT]:
    """The items, in order, from a thread that makes them and is at most `ahead` items further."""
    source, end = iter(items), object()
    with ThreadPoolExecutor(max_workers=1) as pool:
        waiting = deque(pool.submit(next, source, end) for _ in range(ahead))
        while True:
            waiting.append(pool.submit(next, source, end))
            if (found := waiting.popleft().result()) is end:
                return
            yield cast(ItemT, found)
