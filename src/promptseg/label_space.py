"""Label spaces: the classes of a data set, in training-id order."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

IGNORE = 255
"""Label of pixels that no class, loss or metric counts."""

Color = tuple[int, int, int]


@dataclass(frozen=True)
class ClassInfo:
    """One class: its name as a prompt, its RGB display colour, and whether it has countable instances."""

    name: str
    color: Color
    is_thing: bool = False


@dataclass(frozen=True)
class LabelSpace:
    """The classes of a data set; the position of a class is its training id (0..C-1)."""

    name: str
    classes: tuple[ClassInfo, ...]

    def __len__(self) -> int:
        return len(self.classes)

    def to_json(self) -> dict[str, Any]:
        """Name and classes, as a record keeps them."""
        classes = [{"name": c.name, "color": list(c.color), "is_thing": c.is_thing} for c in self.classes]
        return {"name": self.name, "classes": classes}

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


def _classes(rows: Iterable[tuple[str, Color]], is_thing: bool) -> tuple[ClassInfo, ...]:
    return tuple(ClassInfo(name, color, is_thing) for name, color in rows)


# Names, order and colours as the Cityscapes benchmark publishes them (shared by BDD100K and ACDC).
_STUFF = (
    ("road", (128, 64, 128)),
    ("sidewalk", (244, 35, 232)),
    ("building", (70, 70, 70)),
    ("wall", (102, 102, 156)),
    ("fence", (190, 153, 153)),
    ("pole", (153, 153, 153)),
    ("traffic light", (250, 170, 30)),
    ("traffic sign", (220, 220, 0)),
    ("vegetation", (107, 142, 35)),
    ("terrain", (152, 251, 152)),
    ("sky", (70, 130, 180)),
)
_THINGS = (
    ("person", (220, 20, 60)),
    ("rider", (255, 0, 0)),
    ("car", (0, 0, 142)),
    ("truck", (0, 0, 70)),
    ("bus", (0, 60, 100)),
    ("train", (0, 80, 100)),
    ("motorcycle", (0, 0, 230)),
    ("bicycle", (119, 11, 32)),
)

CITYSCAPES_19 = LabelSpace("cityscapes-19", _classes(_STUFF, False) + _classes(_THINGS, True))
