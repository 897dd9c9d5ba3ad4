"""The check of a data set: every file read once, every defect told in one line, none stops the walk."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np

from promptseg.data.defects import Defect
from promptseg.data.formats.files import DatasetError
from promptseg.data.registry import FORMATS, load_dataset, parse_spec
from promptseg.data.sample import Dataset, Split
from promptseg.data.walk import Heights, Tally, walk

SHOWN = 3
"""Defects of one kind that are told one by one."""
_VARIABLE = re.compile(r"'[^']*'|\S*/\S*|\S*\.\w+\b|\d+(, \d+)*")
_ABOVE = ("sky",)
_BELOW = ("road", "floor", "ground", "grass", "sidewalk")
_LEAST_SHARE = 1e-3
"""Classes with fewer of the labelled pixels tell nothing."""


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
    except DatasetError as error:
        dataset, defects = error.dataset, list(error.defects)
    splits = {"train": dataset.train, "val": dataset.val, "test": dataset.test}
    found = walk(splits, progress)
    counts = {name: _counts(dataset, tally) for name, tally in found.items()}
    defects += [defect for tally in found.values() for defect in tally.defects]
    defects += dataset.warnings
    defects += [*_empty_splits(dataset, splits), *_nothing_to_learn(dataset, counts["train"], found["train"])]
    defects += [*_shared_photos(found), *_strange_ids(dataset, list(found.values()))]
    return CheckReport(dataset.spec, counts, tuple(dict.fromkeys(defects)))


def grouped(defects: Sequence[Defect]) -> list[tuple[Defect, int]]:
    """The first three defects of each kind, in order, the last with the number of those like it that are left out.

    Of one kind are defects whose lines differ in files, numbers and quoted names only.
    """
    kinds: dict[tuple[str, str, str], list[Defect]] = {}
    for defect in defects:
        reason, mend = (_VARIABLE.sub("#", text) for text in (defect.reason, defect.mend))
        kinds.setdefault((defect.level, reason, mend), []).append(defect)
    shown = []
    for alike in kinds.values():
        shown += [(defect, 0) for defect in alike[: SHOWN - 1]]
        shown += [(alike[SHOWN - 1], len(alike) - SHOWN)] if len(alike) >= SHOWN else []
    return shown


def _counts(dataset: Dataset, tally: Tally) -> SplitCounts:
    pixels, names = tally.pixels.tolist(), dataset.label_space.names
    return SplitCounts(len(tally.photos), dict(zip(names, pixels, strict=False)), sum(pixels[len(names) :]))


def _empty_splits(dataset: Dataset, splits: dict[str, Split]) -> Iterator[Defect]:
    own = FORMATS[parse_spec(dataset.spec)[0]].own
    for name, split in splits.items():
        # The test labels of the benchmarks are not public.
        if not split and (own or name != "test"):
            mend = f"put photos into images/{name}, or name a list: ?{name}=LIST" if own else f"add its {name} files"
            yield Defect(dataset.spec, f"the {name} split is empty", mend, "error" if name == "train" else "warning")


def _nothing_to_learn(dataset: Dataset, train: SplitCounts, tally: Tally) -> Iterator[Defect]:
    """Classes that the training labels do not show, or only in crowds; and a class with no other beside it."""
    names = dataset.label_space.names
    if len(names) == 1:
        reason = f"{names[0]!r} is the only class, so every pixel would be of it whatever is learned"
        mend = "name what else there is, as ?background=background for the unlabelled pixels"
        yield Defect(dataset.spec, reason, mend, "warning")
    unread = any(defect.level == "error" for defect in tally.defects)
    for name, pixels in train.pixels.items():
        if train.images and not pixels and not unread:
            reason = f"class {name!r} is in no training label, so nothing can be learned for it"
            yield Defect(dataset.spec, reason, "add a photo that shows it, or remove the class", "warning")
    objects, crowds = tally.objects.tolist()
    for name, single, groups in zip(names, objects, crowds, strict=False):
        if groups and not single:
            reason = f"all {groups} objects of the class {name!r} are crowds, so the task instance has none to learn"
            yield Defect(dataset.spec, reason, "write iscrowd 0 for what is one object", "warning")


def _shared_photos(found: dict[str, Tally]) -> Iterator[Defect]:
    """Photos of one id or of the same pixels in two splits: a score on them would flatter."""
    for (one, here), (other, there) in combinations(found.items(), 2):
        ids = {photo.id for photo in here.photos}
        digests = {photo.digest: photo.id for photo in here.photos if photo.digest}
        for photo in there.photos:
            mend = f"take it out of {one} or {other}"
            if photo.id in ids:
                yield Defect(photo.file, f"is in {one} and in {other}", mend)
            elif photo.digest in digests:
                reason = f"in {other}, has the same pixels as {digests[photo.digest]!r} in {one}"
                yield Defect(photo.file, reason, mend)


def _strange_ids(dataset: Dataset, tallies: list[Tally]) -> Iterator[Defect]:
    """Signs that the ids of the label files mean other classes than they are read as."""
    name, spec = parse_spec(dataset.spec)
    suspect, space = FORMATS[name].suspect, dataset.label_space
    found = suspect(spec, space, np.sum([tally.pixels for tally in tallies], axis=0)) if suspect else None
    if found:
        yield found
        return
    for sign in _upside_down(space.names, np.sum([tally.heights for tally in tallies], axis=0)):
        reason = f"{sign}, so the class order may be wrong"
        yield Defect(dataset.spec, reason, "look at `promptseg data preview`, and compare the classes", "warning")


def _upside_down(names: Sequence[str], total: Heights) -> Iterator[str]:
    """What is strange about the summed heights of a data set: sky that lies, on average, below the ground."""
    counts, sums = total[:, : len(names)]
    enough = counts > _LEAST_SHARE * max(counts.sum(), 1)
    mean = {name: sums[i] / counts[i] for i, name in enumerate(names) if enough[i]}
    for above in _ABOVE:
        for below in _BELOW:
            if above in mean and below in mean and mean[above] > mean[below]:
                yield f"on average, {above!r} lies below {below!r} in the photos"
                return
