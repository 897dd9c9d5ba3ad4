"""The check of a data set: every file read once, every defect told in one line, none stops the walk."""

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from promptseg.data.class_order import Heights, heights, upside_down
from promptseg.data.defects import Defect, DefectError
from promptseg.data.file_sample import FileSample
from promptseg.data.formats.folder import FolderError
from promptseg.data.registry import FORMATS, load_dataset, parse_spec
from promptseg.data.sample import Dataset, Sample, Split
from promptseg.errors import PromptsegError

__all__ = ["CheckReport", "Defect", "SplitCounts", "check_dataset"]


ReadT = TypeVar("ReadT")
_OWN = ("folder", "coco", "labelme")
"""Formats of people's own photos, who choose the splits themselves."""


@dataclass(frozen=True)
class SplitCounts:
    """What a split holds: images, pixels by class name, and pixels that no class claims (255 or a strange id)."""

    images: int
    pixels: dict[str, int]
    unlabelled: int


@dataclass(frozen=True)
class CheckReport:
    """The outcome of a check: counts of the splits, and all defects in the order of the walk."""

    spec: str
    splits: dict[str, SplitCounts]
    defects: tuple[Defect, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing worse than a warning was found."""
        return all(d.level == "warning" for d in self.defects)

    def to_json(self) -> dict[str, Any]:
        """The report as JSON data."""
        return {"ok": self.ok, **asdict(self)}


@dataclass(frozen=True)
class _Finding:
    """What the walk keeps of a sample: pixels (256,) by id, how high they lie, a digest of the photo, defects."""

    sample: Sample
    pixels: NDArray[np.int64]
    heights: Heights
    digest: bytes | None
    defects: tuple[Defect, ...]


def check_dataset(spec: str, progress: Callable[[int, int], None] | None = None) -> CheckReport:
    """Read every photo and label map of a data set and report what is wrong.

    Args:
        spec: as for `load_dataset`.
        progress: called with (samples read, samples in all) after each.

    Raises:
        PromptsegError: the data set cannot be opened at all: no such folder, no images, bad classes.json,
            an unknown option or list.
    """
    try:
        dataset, defects = load_dataset(spec), list[Defect]()
    except FolderError as error:
        dataset, defects = error.dataset, list(error.defects)
    splits = {"train": dataset.train, "val": dataset.val, "test": dataset.test}
    found = _walk(splits, progress)
    counts = {name: _counts(dataset, findings) for name, findings in found.items()}
    for findings in found.values():
        defects += [d for finding in findings for d in finding.defects]
    defects += dataset.warnings
    defects += [*_empty_splits(dataset, splits), *_unseen_classes(dataset, counts["train"]), *_shared_photos(found)]
    defects += _strange_order(dataset, [finding for findings in found.values() for finding in findings])
    return CheckReport(dataset.spec, counts, tuple(dict.fromkeys(defects)))


def _walk(splits: dict[str, Split], progress: Callable[[int, int], None] | None) -> dict[str, list[_Finding]]:
    total = sum(len(split) for split in splits.values())
    found: dict[str, list[_Finding]] = {}
    done = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, split in splits.items():
            found[name] = []
            for finding in pool.map(_inspect, split):
                found[name].append(finding)
                done += 1
                if progress:
                    progress(done, total)
    return found


def _inspect(sample: Sample) -> _Finding:
    defects: list[Defect] = []
    photo = _attempt(sample, sample.image, defects)
    if isinstance(sample, FileSample):
        labels = _attempt(sample, lambda: sample.read_semantic(sample.label_path), defects)
        if labels is not None:
            size = labels.shape if photo is None else photo.shape
            defects += sample.label_defects(labels, (size[0], size[1]))
    else:
        labels = _attempt(sample, sample.semantic, defects)
    if photo is not None and labels is not None and isinstance(sample, FileSample) and sample.read_panoptic:
        _attempt(sample, sample.panoptic, defects)
    digest = None if photo is None else _digest(photo)
    if labels is None:
        return _Finding(sample, np.zeros(256, np.int64), np.zeros((2, 256)), digest, tuple(defects))
    pixels = np.bincount(labels.ravel(), minlength=256)
    return _Finding(sample, pixels, heights(labels), digest, tuple(defects))


def _attempt(sample: Sample, read: Callable[[], ReadT], defects: list[Defect]) -> ReadT | None:
    """What `read` gives, or None with the defect noted."""
    try:
        return read()
    except DefectError as error:
        defects.append(error.defect)
    except PromptsegError as error:
        defects.append(Defect(sample.id, str(error), ""))
    return None


def _counts(dataset: Dataset, findings: list[_Finding]) -> SplitCounts:
    pixels = sum((f.pixels for f in findings), np.zeros(256, np.int64)).tolist()
    names = dataset.label_space.names
    return SplitCounts(len(findings), dict(zip(names, pixels, strict=False)), sum(pixels[len(names) :]))


def _empty_splits(dataset: Dataset, splits: dict[str, Split]) -> Iterator[Defect]:
    own = parse_spec(dataset.spec)[0] in _OWN
    for name, split in splits.items():
        # The test labels of the benchmarks are not public.
        if not split and (own or name != "test"):
            mend = f"put photos into images/{name}, or name a list: ?{name}=LIST" if own else f"add its {name} files"
            yield Defect(dataset.spec, f"the {name} split is empty", mend, "error" if name == "train" else "warning")


def _unseen_classes(dataset: Dataset, train: SplitCounts) -> Iterator[Defect]:
    for name, pixels in train.pixels.items():
        if train.images and not pixels:
            reason = f"class {name!r} is in no training label, so nothing can be learned for it"
            yield Defect(dataset.spec, reason, "add a photo that shows it, or remove the class", "warning")


def _strange_order(dataset: Dataset, findings: list[_Finding]) -> Iterator[Defect]:
    """Signs that the ids of the label files mean other classes than they are read as."""
    if not findings:
        return
    name, _, options = parse_spec(dataset.spec)
    suspect = FORMATS[name].suspect
    pixels = np.sum([f.pixels for f in findings], axis=0)[: len(dataset.label_space)]
    better = suspect(options, pixels) if suspect else None
    if better:
        reason = f"the classes fit the label files better with {better}, so their order may be wrong"
        yield Defect(dataset.spec, reason, f"look at `promptseg data preview`, and write ?{better}", "warning")
        return
    total = np.sum([f.heights for f in findings], axis=0)
    for sign in upside_down(dataset.label_space.names, total):
        reason = f"{sign}, so the class order may be wrong"
        yield Defect(dataset.spec, reason, "look at `promptseg data preview`, and compare the classes", "warning")


def _shared_photos(found: dict[str, list[_Finding]]) -> Iterator[Defect]:
    """Photos of one id or of the same pixels in two splits: a score on them would flatter."""
    for (one, here), (other, there) in combinations(found.items(), 2):
        ids = {f.sample.id for f in here}
        photos = {f.digest: f.sample.id for f in here if f.digest}
        for finding in there:
            mend = f"take it out of {one} or {other}"
            if finding.sample.id in ids:
                yield Defect(_file(finding.sample), f"is in {one} and in {other}", mend)
            elif finding.digest in photos:
                reason = f"in {other}, has the same pixels as {photos[finding.digest]!r} in {one}"
                yield Defect(_file(finding.sample), reason, mend)


def _file(sample: Sample) -> str:
    return str(sample.image_path) if isinstance(sample, FileSample) else sample.id


def _digest(photo: NDArray[np.uint8]) -> bytes:
    return hashlib.blake2b(repr(photo.shape).encode() + photo.tobytes(), digest_size=16).digest()
