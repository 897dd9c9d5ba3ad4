"""Label spaces: the classes of a data set, in training-id order."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from promptseg.errors import PromptsegError

IGNORE = 255
"""Label of pixels that no class, loss or metric counts."""
MAX_CLASSES = 254
"""Most classes: labels have 8 bits everywhere, and an id beside the ignored one stays free."""

Color = tuple[int, int, int]


@dataclass(frozen=True)
class ClassInfo:
    """One class: its name as a prompt, its RGB display colour, and whether it has countable instances."""

    name: str
    color: Color
    is_thing: bool = False

    def __post_init__(self) -> None:
        """Refuse a colour that is none."""
        if not all(0 <= level <= 255 for level in self.color):
            raise PromptsegError(f"class {self.name!r} has the color {list(self.color)}: give [r, g, b], each 0..255")


@dataclass(frozen=True)
class LabelSpace:
    """The classes of a data set; the position of a class is its training id (0..C-1)."""

    name: str
    classes: tuple[ClassInfo, ...]

    def __len__(self) -> int:
        return len(self.classes)

    def __post_init__(self) -> None:
        """Refuse a label space without classes, or with more than labels of 8 bits can tell apart."""
        if not self.classes:
            raise PromptsegError(f"label space {self.name!r} has no classes: give at least one")
        if len(self.classes) > MAX_CLASSES:
            count = len(self.classes)
            raise PromptsegError(f"label space {self.name!r} has {count} classes: give at most {MAX_CLASSES}")

    @property
    def names(self) -> tuple[str, ...]:
        """Class names in id order."""
        return tuple(c.name for c in self.classes)

    @property
    def colors(self) -> tuple[Color, ...]:
        """Display colours in id order."""
        return tuple(c.color for c in self.classes)

    @property
    def thing_ids(self) -> tuple[int, ...]:
        """Ids of the classes with countable instances."""
        return tuple(i for i, c in enumerate(self.classes) if c.is_thing)


@cache
def default_colors(count: int) -> tuple[Color, ...]:
    """`count` colours, each as far as can be from those before it and from black and white.

    The first n are the same for every count. Distance: squared RGB differences weighted (2, 4, 3), as eyes do roughly.
    """
    levels = np.linspace(0, 255, 8).round()
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    nearest = np.minimum(_distance(grid, np.zeros(3)), _distance(grid, np.full(3, 255.0)))
    chosen: list[Color] = []
    for _ in range(count):
        color = grid[nearest.argmax()]
        chosen.append((int(color[0]), int(color[1]), int(color[2])))
        nearest = np.minimum(nearest, _distance(grid, color))
    return tuple(chosen)


def _distance(colors: np.ndarray[Any, Any], color: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    distance: np.ndarray[Any, Any] = ((colors - color) ** 2) @ np.array([2.0, 4.0, 3.0])
    return distance
