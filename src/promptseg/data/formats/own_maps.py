"""People's own label maps as class ids: of values, of colours, or of one black and white mask for each class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from promptseg.data.defects import DefectError
from promptseg.data.file_sample import listed
from promptseg.data.formats.class_tables import CLASSES, ClassTable
from promptseg.data.images import UNLABELLED, has_colors, read_colors, read_indices
from promptseg.label_space import IGNORE, Color

Ids = NDArray[np.uint8]
_UNKNOWN = -1
OVERLAPS = ("refuse", "later", "ignore")
"""What becomes of pixels in the masks of several classes: nothing is guessed, the later class has them, or none has."""


@dataclass(frozen=True)
class MapReader:
    """Reads a label map; called with its path, it gives class ids (H, W), 255 for pixels of no class.

    Attributes:
        table: the classes, and what colours and values stand for.
        background: the class of pixels of no class; None leaves them 255.
    """

    table: ClassTable
    background: int | None = None
    _codes: Mapping[int, int] = field(init=False, repr=False)
    """Class id by colour as one number."""

    def __post_init__(self) -> None:
        """Black stands for no class, unless a class has it."""
        colors = {UNLABELLED: IGNORE, **self.table.colors} if self.table.colors else {}
        object.__setattr__(self, "_codes", {_code(color): number for color, number in sorted(colors.items())})

    def __call__(self, path: Path) -> Ids:
        """Read a map of values or colours, whichever the file holds; values that no class has stay as they are.

        Raises:
            PromptsegError: unreadable, colours or values of no class, or a palette that contradicts its indices.
        """
        ids = self._of_colors(path) if has_colors(path) else self._of_values(path)
        if self.background is not None:
            ids[ids == IGNORE] = self.background
        return ids

    def _of_values(self, path: Path) -> Ids:
        values, palette = read_indices(path)
        ids = self._ids(values, path)
        if palette is not None and self._codes:
            self._check_palette(path, values, ids, palette)
        return ids

    def _ids(self, values: NDArray[np.uint8 | np.int32], path: Path) -> Ids:
        table = self.table.values
        if table is None:
            if values.min() < 0 or values.max() > IGNORE:
                strange = values.min() if values.min() < 0 else values.max()
                mend = "save it as an 8-bit grey or palette PNG whose values are the class ids, or write ?values=..."
                raise DefectError(path, f"holds the id {strange}, where 0..{IGNORE} was expected", mend)
            return values.astype(np.uint8)
        found = _looked_up(values, {IGNORE: IGNORE, **table})
        if (found == _UNKNOWN).any():
            unknown = np.unique(values[found == _UNKNOWN]).tolist()
            reason = f"holds the values {listed(unknown)}, where {listed(sorted(table))} was expected"
            raise DefectError(path, reason, "add the value to ?values=..., or to ?ignore=...")
        return found.astype(np.uint8)

    def _check_palette(self, path: Path, values: NDArray[np.integer], ids: Ids, palette: NDArray[np.uint8]) -> None:
        """Refuse a palette that shows every class in the colour of a class, but not of its own.

        Programs that make PNG files smaller number a palette anew: the colours stay right, the indices do not.
        """
        used = [i for i in np.flatnonzero(np.bincount(values.ravel(), minlength=256)).tolist() if i != IGNORE]
        shown = {i: self._codes.get(_code(tuple(palette[i].tolist()))) if i < len(palette) else None for i in used}
        read = {i: int(ids[values == i][0]) for i in used}
        wrong = next((i for i in used if shown[i] != read[i]), None)
        if wrong is not None and None not in shown.values():
            names = self.table.label_space.names
            other, own = shown[wrong] or 0, read[wrong]
            means = f"class {names[own]!r}" if own < len(names) else f"the id {own}"
            meant = repr(names[other]) if other < len(names) else "no class"
            reason = f"its index {wrong} is {means}, but its palette shows the colour of {meant}"
            raise DefectError(path, reason, "save it as RGB if the colours are right, as grey if the indices are")

    def _of_colors(self, path: Path) -> Ids:
        if not self._codes:
            reason = "holds colours, and nothing says which class has which"
            raise DefectError(path, reason, f'give each class of {CLASSES} its "color", or save class ids as grey PNG')
        codes = read_colors(path).astype(np.int64) @ np.array([65536, 256, 1])
        found = _looked_up(codes, self._codes)
        if (found == _UNKNOWN).any():
            strange, pixels = np.unique(codes[found == _UNKNOWN], return_counts=True)
            first = strange[np.argsort(-pixels)][:3].tolist()
            colors = ", ".join(str([code >> 16, code >> 8 & 255, code & 255]) for code in first)
            more = f" and {len(strange) - len(first)} more colours" if len(strange) > len(first) else ""
            reason = f"{pixels.sum()} pixels of {colors}{more}, which no class has"
            mend = f"add the colours to {self.table.path.name}; soft edges must be saved hard, with no colours between"
            raise DefectError(path, reason, mend)
        return found.astype(np.uint8)


def _code(color: Color | Sequence[int]) -> int:
    red, green, blue = color
    return red << 16 | green << 8 | blue


def _looked_up(values: NDArray[np.integer], table: Mapping[int, int]) -> NDArray[np.int64]:
    """What a table says of each value, -1 where it says nothing."""
    keys = np.array(sorted(table), np.int64)
    results = np.array([table[key] for key in keys.tolist()], np.int64)
    places = np.minimum(np.searchsorted(keys, values), len(keys) - 1)
    found: NDArray[np.int64] = np.where(keys[places] == values, results[places], _UNKNOWN)
    return found


# One mask for each class


@dataclass(frozen=True)
class MaskReader:
    """Reads the masks of the classes on one photo into class ids (H, W), 255 where none has a pixel.

    Attributes:
        masks: the file of each class that has one; of a class without one nothing is there.
        names: of all classes.
        overlap: one of `OVERLAPS`.
        background: the class of pixels in no mask; None leaves them 255.
    """

    masks: Mapping[int, Path]
    names: tuple[str, ...]
    overlap: str = OVERLAPS[0]
    background: int | None = None

    def __call__(self, _: Path) -> Ids:
        """Read them all.

        Raises:
            PromptsegError: no masks of two values, of several sizes, or pixels in several of them.
        """
        ids: Ids | None = None
        for number, path in sorted(self.masks.items()):
            mask = read_mask(path)
            if ids is None:
                ids, first = np.full(mask.shape, IGNORE, np.uint8), path
            if mask.shape != ids.shape:
                sizes = [f"{shape[1]}x{shape[0]} pixels" for shape in (mask.shape, ids.shape)]
                raise DefectError(path, f"{sizes[0]}, but {first.name} has {sizes[1]}", "give all the same size")
            self._paint(ids, mask, number, path)
        assert ids is not None, "a photo without masks is no sample"
        if self.background is not None:
            ids[ids == IGNORE] = self.background
        ids[ids == _SHARED] = IGNORE
        return ids

    def _paint(self, ids: Ids, mask: NDArray[np.bool_], number: int, path: Path) -> None:
        shared = mask & (ids != IGNORE)
        if self.overlap == OVERLAPS[0] and shared.any():
            others = np.unique(ids[shared]).tolist()
            reason = f"{shared.sum()} pixels are in the masks of {self.names[others[0]]!r} and {self.names[number]!r}"
            mend = "cut one out of the other, or write ?overlap=later (the later class has them) or ?overlap=ignore"
            raise DefectError(path, reason, mend)
        ids[mask] = number
        if self.overlap == OVERLAPS[2]:
            ids[shared] = _SHARED


_SHARED = IGNORE - 1
"""Marks pixels of several classes; no label space has so many."""


def read_mask(path: Path) -> NDArray[np.bool_]:
    """A black and white picture as (H, W) bool: black is off, the one other value or colour is on.

    Raises:
        PromptsegError: more than two values, two of which none is black, or a palette whose index 0 is not black.
    """
    if has_colors(path):
        colors = read_colors(path).astype(np.int64) @ np.array([65536, 256, 1])
        return _two_valued(path, colors)
    values, palette = read_indices(path)
    if palette is not None and len(palette) and palette[0].any() and (values == 0).any():
        black = next((i for i in np.unique(values).tolist() if i < len(palette) and not palette[i].any()), None)
        if black is not None:
            reason = f"its palette shows the index {black} black and the index 0 not, so on and off cannot be told"
            raise DefectError(path, reason, "save it as a grey PNG, 0 where the class is not")
    return _two_valued(path, values)


def _two_valued(path: Path, values: NDArray[np.integer]) -> NDArray[np.bool_]:
    on = np.unique(values[values != 0]).tolist()
    if len(on) > 1:
        reason = f"holds {len(on) + 1} values, where a mask has black and one other"
        raise DefectError(path, reason, "save it hard, without grey between; or one map of all classes in labels/")
    mask: NDArray[np.bool_] = values != 0
    return mask
