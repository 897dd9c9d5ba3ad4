"""The check of a data set: every file read once, every defect told in one line, none stops the walk."""

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptseg.data.defects import Defect, DefectError
from promptseg.data.formats.folder import FolderDataset, FolderError, FolderSample
from promptseg.data.images import read_labels
from promptseg.data.registry import load_dataset
from promptseg.data.sample import Dataset, Sample, Split
from promptseg.errors import PromptsegError

__all__ = ["CheckReport", "Defect", "SplitCounts", "check_dataset"]


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
    """What the walk keeps of one sample: pixels (256,) by id, a digest of the photo's pixels, defects."""

    sample: Sample
    pixels: NDArray[np.int64]
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
    defects += dataset.warnings if isinstance(dataset, FolderDataset) else ()
    defects += [*_empty_splits(dataset, splits), *_unseen_classes(dataset, counts["train"]), *_shared_photos(found)]
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
    if isinstance(sample, FolderSample):
        labels = _attempt(sample, lambda: read_labels(sample.label_path), defects)
        if labels is not None:
            size = labels.shape if photo is None else photo.shape
            defects += sample.label_defects(labels, (size[0], size[1]))
    else:
        labels = _attempt(sample, sample.semantic, defects)
    pixels = np.zeros(256, np.int64) if labels is None else np.bincount(labels.ravel(), minlength=256)
    return _Finding(sample, pixels, None if photo is None else _digest(photo), tuple(defects))


def _attempt(sample: Sample, read: Callable[[], NDArray[np.uint8]], defects: list[Defect]) -> NDArray[np.uint8] | None:
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
    for name, split in splits.items():
        if not split:
            reason = f"the {name} split is empty"
            mend = f"put photos into images/{name}, or name a list: ?{name}=LIST"
            yield Defect(dataset.spec, reason, mend, "error" if name == "train" else "warning")


def _unseen_classes(dataset: Dataset, train: SplitCounts) -> Iterator[Defect]:
    for name, pixels in train.pixels.items():
        if train.images and not pixels:
            reason = f"class {name!r} is in no training label, so nothing can be learned for it"
            yield Defect(dataset.spec, reason, "add a photo that shows it, or remove the class", "warning")


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
    return str(sample.image_path) if isinstance(sample, FolderSample) else sample.id


def _digest(photo: NDArray[np.uint8]) -> bytes:
    return hashlib.blake2b(repr(photo.shape).encode() + photo.tobytes(), digest_size=16).digest()
