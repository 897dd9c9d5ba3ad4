"""Reading every file of a data set once, in parallel, and keeping what a report of it needs."""

import hashlib
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from promptseg.data.defects import Defect, DefectError
from promptseg.data.file_sample import FileSample
from promptseg.data.sample import Sample, Split
from promptseg.errors import PromptsegError

ReadT = TypeVar("ReadT")

_GRID = 128
"""Pixels of the shorter side that are looked at, roughly: enough to place a class."""

Heights = NDArray[np.float64]
"""(2, 256): for each id its pixels on a coarse grid, and the sum of their distances from the top edge (0..1)."""


@dataclass(frozen=True)
class Photo:
    """A photo that was read: its id, the name that reports use, and a digest of its pixels if it could be read."""

    id: str
    file: str
    digest: bytes | None


@dataclass
class Tally:
    """What the walk keeps of a split: some bytes a photo, and sums over the label maps."""

    photos: list[Photo] = field(default_factory=list)
    defects: list[Defect] = field(default_factory=list)
    pixels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    """Pixels of each id."""
    heights: Heights = field(default_factory=lambda: np.zeros((2, 256)))
    objects: NDArray[np.int64] = field(default_factory=lambda: np.zeros((2, 256), np.int64))
    """Labelled objects of each class, and crowds."""


@dataclass(frozen=True)
class _Finding:
    """What was found of one sample; `objects` counts the segments of each class, those that are no crowd first."""

    photo: Photo
    defects: list[Defect]
    pixels: NDArray[np.int64]
    heights: Heights
    objects: NDArray[np.int64]


def walk(splits: Mapping[str, Split], progress: Callable[[int, int], None] | None = None) -> dict[str, Tally]:
    """Read all samples of all splits.

    Args:
        splits: by name.
        progress: called with (samples read, samples in all) after each.
    """
    total = sum(len(split) for split in splits.values())
    tallies = {name: Tally() for name in splits}
    done = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, split in splits.items():
            for finding in pool.map(_inspect, split):
                _add(tallies[name], finding)
                done += 1
                if progress:
                    progress(done, total)
    return tallies


def _add(tally: Tally, finding: _Finding) -> None:
    tally.photos.append(finding.photo)
    tally.defects += finding.defects
    tally.pixels += finding.pixels
    tally.heights += finding.heights
    tally.objects += finding.objects


def _inspect(sample: Sample) -> _Finding:
    defects: list[Defect] = []
    photo, objects = _attempt(sample, sample.image, defects), None
    if isinstance(sample, FileSample):
        labels = _attempt(sample, sample.class_ids, defects)
        if labels is not None:
            size = labels.shape if photo is None else photo.shape
            defects += sample.label_defects(labels, (size[0], size[1]))
        if photo is not None and labels is not None and sample.read_panoptic:
            objects = _attempt(sample, sample.objects, defects)
            if sample.read_semantic is not None:
                _attempt(sample, sample.panoptic, defects)
        if labels is not None and (odd := sample.oddities):
            defects += _attempt(sample, lambda: list(odd()), defects) or ()
        name = str(sample.image_path)
    else:
        labels, name = _attempt(sample, sample.semantic, defects), sample.id
    read = Photo(sample.id, name, None if photo is None else _digest(photo))
    counted = np.zeros((2, 256), np.int64)
    for segment in objects.segments if objects is not None else ():
        counted[int(segment.is_crowd), segment.class_id] += 1
    if labels is None:
        return _Finding(read, defects, np.zeros(256, np.int64), np.zeros((2, 256)), counted)
    return _Finding(read, defects, np.bincount(labels.ravel(), minlength=256), _heights(labels), counted)


def _attempt(sample: Sample, read: Callable[[], ReadT], defects: list[Defect]) -> ReadT | None:
    """What `read` gives, or None with the defect noted."""
    try:
        return read()
    except DefectError as error:
        defects.append(error.defect)
    except PromptsegError as error:
        defects.append(Defect(sample.id, str(error), ""))
    return None


def _digest(photo: NDArray[np.uint8]) -> bytes:
    return hashlib.blake2b(repr(photo.shape).encode() + photo.tobytes(), digest_size=16).digest()


def _heights(labels: NDArray[np.uint8]) -> Heights:
    """How high the ids of a label map (H, W) lie."""
    stride = max(1, min(labels.shape) // _GRID)
    coarse = labels[::stride, ::stride]
    rows = (np.arange(len(coarse)) + 0.5) / len(coarse)
    weights = np.repeat(rows, coarse.shape[1])
    ids = coarse.ravel()
    return np.stack([np.bincount(ids, minlength=256), np.bincount(ids, weights, minlength=256)])
