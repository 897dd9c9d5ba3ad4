"""Objects of a label map: its connected parts, and their outlines as polygons along the borders of pixels.

Two pixels are connected when they share a side. An outline has its corners on the corners of pixels, (0, 0) at the top
left of the first, so a rasteriser that asks where the middles of pixels lie gives back the very same pixels.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from promptseg.label_space import IGNORE
from promptseg.tasks.instances import window

Ring = NDArray[np.int64]
"""(P, 2), the corners x, y of a closed line, the first not repeated; in pixels of the photo."""

_RIGHT, _DOWN, _LEFT, _UP = range(4)
_STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))


@dataclass(frozen=True)
class Part:
    """An object: one connected part of a class, or several that belong together.

    Attributes:
        class_id: its class.
        left: column of the window's first pixel.
        top: row of the window's first pixel.
        mask: (h, w) bool, its pixels in the smallest window that holds them.
        is_crowd: whether it is a group of objects.
    """

    class_id: int
    left: int
    top: int
    mask: NDArray[np.bool_]
    is_crowd: bool = False

    @property
    def area(self) -> int:
        """Its pixels."""
        return int(self.mask.sum())

    @property
    def box(self) -> tuple[int, int, int, int]:
        """x, y, width and height of its window, pixels."""
        return self.left, self.top, self.mask.shape[1], self.mask.shape[0]

    @property
    def has_holes(self) -> bool:
        """Whether pixels that are not of it lie inside."""
        return any(_signed_area(ring) < 0 for ring in _rings(self.mask))

    def rings(self) -> list[Ring]:
        """The lines around it, then the lines around its holes."""
        found = [ring + np.array([self.left, self.top]) for ring in _rings(self.mask)]
        return sorted(found, key=_signed_area, reverse=True)

    def polygon(self) -> Ring:
        """All of it as one closed line: holes and other parts hang on it by cuts without width."""
        line, *others = self.rings()
        for other in sorted(others, key=lambda ring: int(ring[:, 0].min())):
            line = _joined(line, other)
        return line


def parts(labels: NDArray[np.uint8]) -> Iterator[Part]:
    """The connected parts of a label map (H, W), class by class, from the top left; 255 is left out."""
    for class_id in np.unique(labels).tolist():
        if class_id == IGNORE:
            continue
        numbers, _ = ndimage.label(labels == class_id)
        for number, (rows, columns) in enumerate(ndimage.find_objects(numbers), 1):
            yield Part(class_id, columns.start, rows.start, numbers[rows, columns] == number)


def part_of(class_id: int, mask: NDArray[np.bool_], is_crowd: bool) -> Part | None:
    """The object of a whole mask (H, W); None if it has no pixel."""
    rows, columns = window(mask)
    if rows.stop == rows.start:
        return None
    return Part(class_id, columns.start, rows.start, mask[rows, columns], is_crowd)


def _rings(mask: NDArray[np.bool_]) -> list[Ring]:
    """The closed lines between the pixels of a mask (h, w) and all others, with the mask on their right."""
    edges = _edges(mask)
    rings = []
    while edges:
        x, y, direction = start = next(iter(edges))
        corners = []
        while True:
            del edges[x, y, direction]
            x, y = x + _STEPS[direction][0], y + _STEPS[direction][1]
            # Where two pixels touch at a corner, the right turn stays with the one that was followed.
            turned = next((t % 4 for t in (direction + 1, direction, direction + 3) if (x, y, t % 4) in edges), None)
            if turned is None:  # back at the start
                turned = start[2]
            if turned != direction:
                corners.append((x, y))
            direction = turned
            if (x, y, direction) not in edges:
                break
        rings.append(np.array(corners))
    return rings


def _edges(mask: NDArray[np.bool_]) -> dict[tuple[int, int, int], None]:
    """Sides of pixels of the mask that face none: the corner where each begins, and its direction."""
    padded = np.pad(mask, 1)
    inside = padded[1:-1, 1:-1]
    sides = (
        (_RIGHT, padded[:-2, 1:-1], 0, 0),
        (_DOWN, padded[1:-1, 2:], 1, 0),
        (_LEFT, padded[2:, 1:-1], 1, 1),
        (_UP, padded[1:-1, :-2], 0, 1),
    )
    edges: dict[tuple[int, int, int], None] = {}
    for direction, neighbour, right, down in sides:
        rows, columns = np.nonzero(inside & ~neighbour)
        for x, y in zip((columns + right).tolist(), (rows + down).tolist(), strict=True):
            edges[x, y, direction] = None
    return edges


def _signed_area(ring: Ring) -> float:
    """Area within a line, pixels; negative for a hole."""
    x, y = ring[:, 0], ring[:, 1]
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def _joined(line: Ring, hole: Ring) -> Ring:
    """A line that goes over to the hole's first corner from its own nearest, around it, and back the same way."""
    to = int(np.lexsort((hole[:, 1], hole[:, 0]))[0])
    at = int(np.abs(line - hole[to]).sum(1).argmin())
    around = np.concatenate((hole[to:], hole[: to + 1]))
    return np.concatenate((line[: at + 1], around, line[at:]))
