"""Label maps of benchmarks: from the values in their files to class ids, and to the segments that values name."""

from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from promptseg.data.defects import DefectError
from promptseg.data.file_sample import listed
from promptseg.data.images import read_values
from promptseg.data.sample import PanopticLabels, Segment
from promptseg.label_space import IGNORE

_UNKNOWN = 254
"""Marks raw ids that are not in a table; no label space has so many classes."""

Describe = Callable[[int], Segment | None]
"""The segment that a value stands for; None for void."""


class IdTable:
    """A table of raw ids; called with a path, it reads the class ids of that file, (H, W) uint8."""

    def __init__(self, classes: Mapping[int, int], ignored: Iterable[int], mend: str) -> None:
        """Build the table.

        Args:
            classes: class id by raw id, 0..255.
            ignored: raw ids that may occur and belong to no class.
            mend: what to do about a file with any other id.
        """
        self._classes = np.full(256, _UNKNOWN, np.uint8)
        self._classes[list(ignored)] = IGNORE
        for raw, class_id in classes.items():
            self._classes[raw] = class_id
        self._mend = mend

    def __call__(self, path: Path) -> NDArray[np.uint8]:
        """Read a grey, palette or 16-bit PNG of raw ids.

        Raises:
            PromptsegError: unreadable, or an id that the table does not know.
        """
        return self.apply(read_values(path), path)

    def apply(self, raw: NDArray[np.uint8 | np.int32], path: Path) -> NDArray[np.uint8]:
        """Class ids of raw ids (H, W); errors name `path`."""
        if raw.dtype != np.uint8 and raw.max() > IGNORE:
            raise self._unknown(raw, path)
        labels: NDArray[np.uint8] = self._classes.take(raw)
        if (labels == _UNKNOWN).any():
            raise self._unknown(raw, path)
        return labels

    def class_of(self, raw: int, path: Path) -> int:
        """The class of one raw id, 255 if it is ignored."""
        if raw > IGNORE or self._classes[raw] == _UNKNOWN:
            raise self._unknown(np.array([raw], np.int32), path)
        return int(self._classes[raw])

    def _unknown(self, raw: NDArray[np.uint8 | np.int32], path: Path) -> DefectError:
        ids, pixels = np.unique(raw, return_counts=True)
        known = self._classes != _UNKNOWN
        strange = ~np.isin(ids, np.flatnonzero(known))
        reason = f"{pixels[strange].sum()} pixels of the ids {listed(ids[strange].tolist())}"
        return DefectError(path, f"{reason}, where {_ranges(known)} was expected", self._mend)


def _ranges(known: NDArray[np.bool_]) -> str:
    """`0..18 or 255` of the ids that are known."""
    ids = np.flatnonzero(known)
    runs = np.split(ids, np.flatnonzero(np.diff(ids) > 1) + 1)
    return " or ".join(str(run[0]) if len(run) == 1 else f"{run[0]}..{run[-1]}" for run in runs)


def decode_segments(
    values: NDArray[np.integer], describe: Describe, things: Collection[int], path: Path
) -> PanopticLabels:
    """Panoptic labels of a map of values.

    Values of one stuff class become one segment, with the id of the smallest: a table of classes may have
    joined several stuff classes of the data set in one.

    Args:
        values: (H, W).
        describe: called once for each value that occurs, in ascending order.
        things: class ids with countable instances.
        path: the file, for errors.

    Raises:
        PromptsegError: two different segments of one id, or the id 0, which is void's.
    """
    present = np.unique(values)
    ids = np.zeros(len(present), np.int32)
    segments: dict[int, Segment] = {}
    stuff: dict[int, Segment] = {}
    for position, value in enumerate(present.tolist()):
        segment = describe(value)
        if segment is None:
            continue
        if segment.class_id not in things:
            segment = stuff.setdefault(segment.class_id, segment)
        if not segment.id or segments.setdefault(segment.id, segment) != segment:
            reason = f"two objects share the number {segment.id}" if segment.id else "an object has the number 0"
            raise DefectError(path, reason, "take the file as it was published")
        ids[position] = segment.id
    return PanopticLabels(ids[np.searchsorted(present, values)], tuple(segments.values()))
