"""Objects given as polygons or run lengths, as labelling tools export them: whole, and painted into one map."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from promptseg.data.defects import Defect, DefectError
from promptseg.data.file_sample import FileSample
from promptseg.data.sample import Box, ObjectLabels, PanopticLabels, Segment
from promptseg.label_space import IGNORE, LabelSpace

_MEND = "draw the object again as a polygon or a mask"
_LONGEST = 2**31
"""No run of a mask can be longer: more than the pixels of any accepted photo."""
_DIGITS = 7
"""Of a run of that length, at most, in compressed text: few enough that sums of a photo's runs fit 64 bits."""


@dataclass(frozen=True, eq=False)
class Outline:
    """One object.

    Attributes:
        class_id: 0..C-1, or 255: it hides what lies below.
        is_crowd: whether it is a group of objects.
        runs: its mask as COCO's compressed run lengths.
        name: what reports call it.
        level: where the file says what lies over what, its place in that order: higher lies on top.
    """

    class_id: int
    is_crowd: bool
    runs: dict[str, Any]
    name: str
    level: float = 0

    def mask(self) -> tuple[Box, NDArray[np.bool_]]:
        """The rows and columns it lies in, and its mask there: a small object does not cost the whole photo."""
        height, _ = self.runs["size"]
        lengths = run_lengths(self.runs["counts"])
        off, on = (lengths[start : len(lengths) // 2 * 2 : 2] for start in (0, 1))
        ends = (off + on).cumsum()
        starts, ends = (ends - on)[on > 0], ends[on > 0]
        if not len(starts):
            return (slice(0, 0), slice(0, 0)), np.zeros((0, 0), bool)
        left, right = int(starts[0]) // height, (int(ends[-1]) - 1) // height + 1
        bounds = height * (right - left) + 1  # runs go down one column after the other
        steps = np.bincount(starts - left * height, minlength=bounds) - np.bincount(
            ends - left * height, minlength=bounds
        )
        mask = (steps[:-1].cumsum() > 0).reshape(right - left, height).T
        rows = np.flatnonzero(mask.any(axis=1))
        across = slice(int(rows[0]), int(rows[-1]) + 1)
        return (across, slice(left, right)), mask[across]


@dataclass(frozen=True, eq=False)
class Outlines:
    """The objects of one photo, which may overlap.

    Attributes:
        outlines: the objects.
        size: (H, W) of the photo.
        background: class of the pixels of no object; None where nobody says what is there.
    """

    outlines: Sequence[Outline]
    size: tuple[int, int]
    background: int | None = None

    def objects(self) -> ObjectLabels:
        """Every object with its whole mask.

        What is of no object is known to be none, as all objects of the classes are labelled in such data; only where
        an outline of the class 255 lies, nobody says what is there.
        """
        ground = np.ones(self.size, np.int32)
        for outline in self.outlines:
            if outline.class_id == IGNORE:
                box, mask = outline.mask()
                ground[box][mask] = 0
        kept = [i for i, outline in enumerate(self.outlines) if outline.class_id != IGNORE]
        segments = [Segment(i + 1, self.outlines[i].class_id, self.outlines[i].is_crowd) for i in kept]
        return ObjectLabels.overlaid(ground, segments, (self.outlines[i].mask() for i in kept))

    def panoptic(self) -> PanopticLabels:
        """One map: crowds lie lowest, then goes the level, then smaller over larger, and of two alike the later on top.

        Segment ids are the places in `outlines`, from 1; an object that others hide is left out. The background comes
        last.
        """
        ground = len(self.outlines) + 1
        map_ = np.full(self.size, 0 if self.background is None else ground, np.int32)
        for i in self._bottom_up():
            box, mask = self.outlines[i].mask()
            map_[box][mask] = i + 1 if self.outlines[i].class_id != IGNORE else 0
        seen = set(np.flatnonzero(np.bincount(map_.ravel(), minlength=2)).tolist())
        found = [Segment(i, o.class_id, o.is_crowd) for i, o in enumerate(self.outlines, 1) if i in seen]
        if self.background is not None and ground in seen:
            found.append(Segment(ground, self.background))
        return PanopticLabels(map_, tuple(found))

    def oddities(self, path: Path) -> Iterator[Defect]:
        """What is probably not meant: objects without a pixel, drawn twice, or hidden where a pixel has one owner."""
        names = [o.name for o in self.outlines]
        empty = {i for i, o in enumerate(self.outlines) if not coco_mask.area(o.runs)}
        if empty:
            yield _odd(
                path, f"{_listed([names[i] for i in sorted(empty)])} without a pixel", "remove it, or draw it again"
            )
        first: dict[bytes, int] = {}
        drawn = [(i, first.setdefault(o.runs["counts"], i)) for i, o in enumerate(self.outlines) if i not in empty]
        twins = [f"{names[one]} and {names[other]}" for other, one in drawn if one != other]
        if twins:
            mend = "remove one of each if it was drawn or exported twice; each counts as an object"
            yield _odd(path, f"{_listed(twins)} have the same outline", mend)
        shown = {segment.id for segment in self.panoptic().segments}
        hidden = [
            o.name
            for i, o in enumerate(self.outlines)
            if o.class_id != IGNORE and i + 1 not in shown and i not in empty
        ]
        if hidden and not twins:
            mend = "nothing to do for the task instance; semantic and panoptic paint smaller objects over larger ones"
            yield _odd(path, f"{_listed(hidden)} hidden by others", mend)

    def _bottom_up(self) -> list[int]:
        areas = [float(coco_mask.area(o.runs)) for o in self.outlines]
        return sorted(
            range(len(areas)), key=lambda i: (not self.outlines[i].is_crowd, self.outlines[i].level, -areas[i])
        )


def drawn_sample(
    id_: str, label_space: LabelSpace, photo: Path, path: Path, draw: Callable[[], Outlines]
) -> FileSample:
    """A sample whose labels are what `draw` gives; `path` is the file that holds them."""
    painted, whole, odd = partial(_painted, draw), partial(_whole, draw), partial(_odd_of, draw, path)
    return FileSample(id_, label_space, photo, path, None, painted, whole, odd)


def _painted(draw: Callable[[], Outlines]) -> PanopticLabels:
    return draw().panoptic()


def _whole(draw: Callable[[], Outlines]) -> ObjectLabels:
    return draw().objects()


def _odd_of(draw: Callable[[], Outlines], path: Path) -> Iterator[Defect]:
    return draw().oddities(path)


def mask_outline(class_id: int, mask: NDArray[np.bool_], name: str, level: float = 0) -> Outline:
    """An object from its mask (H, W)."""
    return Outline(class_id, False, coco_mask.encode(np.asfortranarray(mask.astype(np.uint8))), name, level)


def united(outlines: Sequence[Outline]) -> Outline:
    """The one object that several outlines of a class are parts of; it lies as high as the highest."""
    if len(outlines) == 1:
        return outlines[0]
    runs = coco_mask.merge([one.runs for one in outlines])
    return replace(outlines[0], runs=runs, level=max(one.level for one in outlines))


def outline(
    path: Path,
    class_id: int,
    is_crowd: bool,
    segmentation: object,
    size: tuple[int, int],
    name: str,
    level: float = 0,
) -> Outline:
    """An object from COCO's `segmentation`: a list of polygons [x, y, x, y, ...], or run lengths.

    Args:
        path: the file, for errors.
        class_id: 0..C-1, or 255.
        is_crowd: whether it is a group of objects.
        segmentation: as JSON has it.
        size: (H, W) of the photo.
        name: what errors call the object.
        level: see `Outline`.

    Raises:
        PromptsegError: neither polygons nor run lengths, or run lengths that do not fill the photo.
    """
    height, width = size
    if isinstance(segmentation, list) and segmentation and all(_is_polygon(p, max(size)) for p in segmentation):
        runs: dict[str, Any] = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation, dict) and segmentation.get("size") == [height, width]:
        lengths = _lengths(path, segmentation.get("counts"), name)
        if sum(lengths) != height * width:
            reason = f"the runs do not fill the photo: {sum(lengths)} pixels, where {height * width} were expected"
            raise _broken(path, name, reason)
        runs = coco_mask.frPyObjects({"size": [height, width], "counts": lengths}, height, width)
    else:
        reason = f"{name} has neither polygons nor run lengths within {width}x{height} pixels"
        raise DefectError(path, reason, _MEND)
    return Outline(class_id, is_crowd, runs, name, level)


def _is_polygon(points: object, longest: int) -> bool:
    """At least three corners as a flat list of numbers, none farther outside the photo than its longest side.

    The rasteriser walks along every edge, so a corner at 1e20 would take all memory there is.
    """
    if not isinstance(points, list) or len(points) < 6 or len(points) % 2:
        return False
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in points)
    return numbers and all(-longest <= v <= 2 * longest for v in points)


def _lengths(path: Path, counts: object, name: str) -> list[int]:
    """Lengths of the runs, off and on in turn, from a list or from COCO's compressed text."""
    if isinstance(counts, list):
        lengths = counts
    elif isinstance(counts, str | bytes):
        try:
            lengths = run_lengths(counts.encode("utf-8", "replace") if isinstance(counts, str) else counts).tolist()
        except ValueError as error:
            raise _broken(path, name, str(error)) from None
    else:
        raise _broken(path, name, f"counts is {type(counts).__name__}, where a list or text was expected")
    if not all(type(length) is int and 0 <= length < _LONGEST for length in lengths):
        raise _broken(path, name, "a run is no length")
    return lengths


def run_lengths(text: bytes) -> NDArray[np.int64]:
    """Lengths of the runs, off and on in turn, of COCO's compressed text.

    The text holds 6 bits a character from "0" on: 5 of the number, the lowest first, and one that says that more
    follow. From the fourth on, a number is the difference to the last but one.

    Raises:
        ValueError: it holds something else; the message says what.
    """
    digits = np.frombuffer(text, np.uint8).astype(np.int64) - ord("0")
    if not len(digits):
        return digits
    last = digits & 32 == 0
    starts = np.flatnonzero(np.concatenate(([True], last[:-1])))
    counts = np.diff(np.append(starts, len(digits)))
    bad = np.flatnonzero((digits < 0) | (digits > 63) | (np.repeat(counts, counts) > _DIGITS))
    if len(bad):
        raise ValueError(f"{chr(text[bad[0]])!r} is no part of compressed run lengths")
    if not last[-1]:
        raise ValueError("the text ends within a number")
    shifts = 5 * (np.arange(len(digits)) - np.repeat(starts, counts))
    values = np.add.reduceat((digits & 31) << shifts, starts)
    values -= np.where(digits[last] & 16, 32 << shifts[last], 0)  # the sign
    for first in (1, 2):
        values[first::2] = values[first::2].cumsum()
    return values


def _broken(path: Path, name: str, reason: str) -> DefectError:
    return DefectError(path, f"{name} has broken run lengths ({reason})", _MEND)


def _odd(path: Path, reason: str, mend: str) -> Defect:
    return Defect(str(path), reason, mend, "warning")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
