"""Labelled scenes to train an embedded model on: endless generated streets, or the photos of a data set.

Scenes are kept in a pool on the training device. A step takes some new ones and draws the rest from the pool, so that
a fast device is not held up by the processes that paint them; each time a scene is seen, it is cropped and lit anew
(base_looks.py). What a step sees is a function of the seed and the step alone.
"""

import multiprocessing
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from promptseg.data.images import resize_image, resize_labels
from promptseg.data.sample import PanopticLabels, Sample
from promptseg.data.streets.scene import generate_scene
from promptseg.label_space import IGNORE

SCENE_SIZE = (400, 640)
"""Height and width of the scenes in the pool, pixels."""
HEIGHTS = (128, 128, 192, 256, 400, 400)
"""Heights at which streets are painted, all equally likely: small ones are enlarged, as small photos are in use."""
SEGMENTS = 256
"""Segment numbers of a scene; those above are unlabelled."""
AHEAD = 4
"""Scenes that are ordered ahead, per worker."""

Painted = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]
"""Image (H, W, 3), segment numbers (H, W), and the class of each segment number (SEGMENTS,), 255 = ignored."""


@dataclass(frozen=True)
class Scenes:
    """B scenes: images (B, 3, H, W) uint8, segments (B, H, W) uint8, classes (B, SEGMENTS) uint8."""

    images: Tensor
    segments: Tensor
    classes: Tensor


class Pool:
    """The last `size` scenes that came in, on a device."""

    def __init__(self, size: int, device: torch.device, scene_size: tuple[int, int] = SCENE_SIZE) -> None:
        self.images = torch.zeros((size, *scene_size, 3), dtype=torch.uint8, device=device)
        self.segments = torch.zeros((size, *scene_size), dtype=torch.uint8, device=device)
        self.classes = torch.zeros((size, SEGMENTS), dtype=torch.uint8, device=device)
        self.count = 0

    def add(self, scenes: Sequence[Painted]) -> list[int]:
        """Keep the scenes in place of the oldest; gives their places."""
        places = [(self.count + i) % len(self.images) for i in range(len(scenes))]
        for place, (image, segments, classes) in zip(places, scenes, strict=True):
            self.images[place] = torch.from_numpy(image)
            self.segments[place] = torch.from_numpy(segments)
            self.classes[place] = torch.from_numpy(classes)
        self.count += len(scenes)
        return places

    def take(self, places: Sequence[int]) -> Scenes:
        """The scenes at some places."""
        index = torch.tensor(places, device=self.images.device)
        return Scenes(self.images[index].permute(0, 3, 1, 2), self.segments[index], self.classes[index])


class Batches:
    """The scenes of every step."""

    def __init__(self, pool: Pool, batch: int, fresh: int, seed: int, painted: Iterator[Painted] | None) -> None:
        """A batch has `fresh` scenes from `painted` and the rest from the pool; without `painted`, all from it."""
        self._pool, self._batch, self._fresh, self._seed, self._painted = pool, batch, fresh, seed, painted

    def step(self, step: int) -> Scenes:
        """The scenes of the next step, the first of a run being all new."""
        places: list[int] = []
        if self._painted is not None:
            wanted = self._fresh if self._pool.count else self._batch
            places = self._pool.add([next(self._painted) for _ in range(wanted)])
        held = min(self._pool.count, len(self._pool.images))
        random = np.random.default_rng([self._seed, step])
        places += random.integers(0, held, self._batch - len(places)).tolist()
        return self._pool.take(places)


@contextmanager
def painted_streets(workers: int, seed: str, start: int = 0) -> Iterator[Iterator[Painted]]:
    """Streets of a seed from number `start` on, in order, painted ahead by processes of their own."""
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as executor:
        try:
            yield _in_order(executor, workers * AHEAD, seed, start)
        finally:
            executor.shutdown(wait=False, cancel_futures=True)


def _in_order(executor: ProcessPoolExecutor, ahead: int, seed: str, start: int) -> Iterator[Painted]:
    waiting: deque[Future[Painted]] = deque()
    number = start
    while True:
        while len(waiting) < ahead:
            waiting.append(executor.submit(paint, seed, number))
            number += 1
        yield waiting.popleft().result()


def paint(seed: str, number: int) -> Painted:
    """One street on a clear day, at one of `HEIGHTS`, enlarged to `SCENE_SIZE`."""
    height = int(np.random.default_rng([number, len(seed)]).choice(HEIGHTS))
    scene = generate_scene("clear", f"{seed}:{number}", (height, height * SCENE_SIZE[1] // SCENE_SIZE[0]))
    return packed(resize_image(scene.image, SCENE_SIZE), *segments_of(scene.panoptic))


def segments_of(labels: PanopticLabels) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Segment numbers and their classes from panoptic labels; crowds and what exceeds the table are unlabelled."""
    numbers = np.zeros(int(labels.map.max()) + 1, np.uint8)
    classes = np.full(SEGMENTS, IGNORE, np.uint8)
    for number, segment in enumerate((s for s in labels.segments if not s.is_crowd), 1):
        if number < SEGMENTS:
            numbers[segment.id], classes[number] = number, segment.class_id
    return numbers[labels.map], classes


def packed(image: NDArray[np.uint8], segments: NDArray[np.uint8], classes: NDArray[np.uint8]) -> Painted:
    """A scene whose segments have the size of its image."""
    height, width = image.shape[:2]
    return image, resize_labels(segments, (height, width)), classes


def photos(samples: Sequence[Sample], device: torch.device) -> Pool:
    """All photos of a split, each class one segment, at the size of the scenes."""
    pool = Pool(len(samples), device)
    for sample in samples:
        labels = sample.semantic()
        classes = np.full(SEGMENTS, IGNORE, np.uint8)
        classes[1:] = np.arange(SEGMENTS - 1)
        segments = (labels + np.uint8(1)).astype(np.uint8)  # 255, ignored, becomes 0
        pool.add([packed(resize_image(sample.image(), SCENE_SIZE), segments, classes)])
    return pool
