"""Tiles of a photo that is larger than the model's own scale: where they lie, and who answers for which pixel."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
from numpy.typing import NDArray

from promptseg.checks import check_whole
from promptseg.errors import PromptsegError

SMALLEST = 32
"""Least side of a tile, pixels."""
_OVERLAP = 8
"""Tiles overlap by one part of so many, unless it is said by how much."""


@dataclass(frozen=True, eq=False)
class Stretch:
    """A stretch of one axis that the same tiles see, as one of them sees it.

    Attributes:
        span: its pixels in the photo.
        seen_by: how many tiles see it.
        weights: share of this tile in what is said there, by pixel; those of all tiles add up to 1.
    """

    span: slice
    seen_by: int
    weights: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Tile:
    """A tile of a photo.

    Attributes:
        rows: its rows in the photo.
        columns: its columns.
        core: rows and columns that it alone answers for where answers cannot be mixed: seams are cut in their middle.
        down: the stretches of its rows.
        across: those of its columns.
    """

    rows: slice
    columns: slice
    core: tuple[slice, slice]
    down: tuple[Stretch, ...]
    across: tuple[Stretch, ...]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, pixels."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    def shared(self, other: "Tile") -> tuple[slice, slice] | None:
        """The rows and columns of the photo that both see; none where there are none."""
        spans = tuple(
            slice(max(a.start, b.start), min(a.stop, b.stop))
            for a, b in ((self.rows, other.rows), (self.columns, other.columns))
        )
        return None if any(span.start >= span.stop for span in spans) else (spans[0], spans[1])

    def inside(self, part: tuple[slice, slice]) -> tuple[slice, slice]:
        """Rows and columns of the photo as those of the tile."""
        return shifted(part[0], -self.rows.start), shifted(part[1], -self.columns.start)


@dataclass(frozen=True)
class Tiling:
    """Tiles of one size, so that every photo is seen at the same scale.

    Attributes:
        tile: their height and width, pixels; a photo that is smaller along an axis is not cut along it.
        overlap: pixels that neighbours share at least; they lie evenly, so it may be more.
    """

    tile: int
    overlap: int

    def __post_init__(self) -> None:
        """Refuse tiles that are too small, and overlaps with which most pixels would be seen again and again."""
        check_whole("tile", self.tile, SMALLEST)
        check_whole("overlap", self.overlap, 0)
        if 2 * self.overlap > self.tile:
            raise PromptsegError(f"overlap is {self.overlap}: give at most half of the tile, which is {self.tile}")

    @staticmethod
    def of(tile: int | None, overlap: int | None = None) -> "Tiling | None":
        """The tiling that was asked for; none where photos stay whole, which is said by no tile, or 0.

        Raises:
            PromptsegError: a value outside its range, or an overlap without tiles.
        """
        if tile is None or (tile == 0 and not isinstance(tile, bool)):
            if overlap is not None:
                raise PromptsegError(f"overlap is {overlap}, but photos stay whole: give a tile size too")
            return None
        check_whole("tile", tile, SMALLEST)
        return Tiling(tile, tile // _OVERLAP if overlap is None else overlap)


def tiles_of(size: tuple[int, int], tiling: Tiling | None) -> Iterator[Tile]:
    """The tiles of a photo of `size` (H, W), row by row; without a tiling the photo itself is the only one."""
    axes = [_axis(length, tiling) for length in size]
    for (rows, top, down), (columns, left, across) in product(*axes):
        yield Tile(rows, columns, (top, left), down, across)


def tile_around(size: tuple[int, int], tile: int, box: Sequence[float]) -> tuple[slice, slice]:
    """Rows and columns of the tile of a photo of `size` (H, W) with a box (x0, y0, x1, y1) in its middle.

    Raises:
        PromptsegError: the tile is too small, or the box is larger.
    """
    check_whole("tile", tile, SMALLEST)
    spans = []
    for length, start, stop in zip(size, (box[1], box[0]), (box[3], box[2]), strict=True):
        if stop - start > tile:
            raise PromptsegError(f"tile is {tile}, but what is pointed at is {stop - start:g} pixels large: give more")
        first = min(max(int((start + stop - tile) / 2), 0), max(length - tile, 0))
        spans.append(slice(first, min(first + tile, length)))
    return spans[0], spans[1]


def shifted(span: slice, by: int) -> slice:
    """A slice moved by some pixels."""
    return slice(span.start + by, span.stop + by)


def _axis(length: int, tiling: Tiling | None) -> list[tuple[slice, slice, tuple[Stretch, ...]]]:
    """Along one axis the span, the core and the stretches of each tile."""
    tile = length if tiling is None else min(tiling.tile, length)
    starts = [0]
    if tiling is not None and tile < length:
        steps = -(-(length - tile) // (tile - tiling.overlap))
        starts = [(length - tile) * i // steps for i in range(steps + 1)]
    cuts = [0, *((first + tile + second) // 2 for first, second in pairwise(starts)), length]
    spans = [slice(start, start + tile) for start in starts]
    stretches = _stretches(spans)
    return [(span, slice(*cuts[i : i + 2]), stretches[i]) for i, span in enumerate(spans)]


def _stretches(spans: list[slice]) -> list[tuple[Stretch, ...]]:
    """The stretches that each of some spans is made of."""
    found: list[list[Stretch]] = [[] for _ in spans]
    edges = sorted({edge for span in spans for edge in (span.start, span.stop)})
    for start, stop in pairwise(edges):
        owners = [i for i, span in enumerate(spans) if span.start <= start and stop <= span.stop]
        middles = np.arange(start, stop) + 0.5
        depths = [np.minimum(middles - spans[i].start, spans[i].stop - middles) for i in owners]
        for i, depth in zip(owners, depths, strict=True):
            weights = (depth / np.sum(depths, axis=0)).astype(np.float32)
            found[i].append(Stretch(slice(start, stop), len(owners), weights))
    return list(map(tuple, found))
