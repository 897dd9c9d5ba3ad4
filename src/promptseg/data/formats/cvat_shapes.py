"""The shapes of CVAT's XML as masks: polygons, boxes and ellipses, turned or not, and run lengths in a window."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from promptseg.data.defects import DefectError
from promptseg.data.formats.objects import Outline, mask_outline, outline

_MEND = "draw the object again, or export the file again"


@dataclass(frozen=True)
class Shape:
    """A shape of the file.

    Attributes:
        kind: its tag.
        name: what errors call it.
        fields: its attributes.
    """

    kind: str
    name: str
    fields: Mapping[str, str]

    def number(self, path: Path, key: str, default: str | None = None) -> float:
        """A field that is a finite number.

        Raises:
            PromptsegError: it is missing or something else; the line names `path`.
        """
        text = self.fields.get(key, default)
        try:
            value = float(text or "")
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise DefectError(path, f"{self.name} has the {key} {text!r}, where a number was expected", _MEND)
        return value

    def whole(self, path: Path, key: str) -> int:
        """A field that is a whole number; raises as `number` does."""
        value = self.number(path, key)
        if value != int(value):
            raise DefectError(path, f"{self.name} has the {key} {self.fields[key]!r}, where pixels count whole", _MEND)
        return int(value)


def drawn(path: Path, shape: Shape, class_id: int, size: tuple[int, int]) -> Outline:
    """The object of a shape whose kind is one of `AREAS`, on a photo of `size` (H, W).

    Raises:
        PromptsegError: fields that are missing or no numbers, or a mask that does not fit its window or the photo.
    """
    level = shape.number(path, "z_order", "0")
    mask = AREAS[shape.kind](path, shape, size)
    if isinstance(mask, list):
        return outline(path, class_id, False, [mask], size, shape.name, level)
    return mask_outline(class_id, mask, shape.name, level)


def _polygon(path: Path, shape: Shape, size: tuple[int, int]) -> list[float]:
    text = shape.fields.get("points", "")
    try:
        pairs = [pair.split(",") for pair in text.split(";")]
        return [value for x, y in pairs for value in (float(x), float(y))]
    except ValueError:
        raise DefectError(
            path, f"{shape.name} has the points {text[:40]!r}, where x,y;x,y were expected", _MEND
        ) from None


def _box(path: Path, shape: Shape, size: tuple[int, int]) -> list[float]:
    left, top, right, bottom = (shape.number(path, key) for key in ("xtl", "ytl", "xbr", "ybr"))
    middle = (left + right) / 2, (top + bottom) / 2
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    cosine, sine = _turn(path, shape)
    turned = []
    for x, y in ((x - middle[0], y - middle[1]) for x, y in corners):
        turned += [middle[0] + cosine * x - sine * y, middle[1] + sine * x + cosine * y]
    return turned


def _ellipse(path: Path, shape: Shape, size: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels whose middles lie inside."""
    x, y, across, down = (shape.number(path, key) for key in ("cx", "cy", "rx", "ry"))
    if min(across, down) <= 0:
        raise DefectError(path, f"{shape.name} has the radii {across:g} and {down:g}", _MEND)
    cosine, sine = _turn(path, shape)
    reach = math.hypot(across * sine, down * cosine), math.hypot(across * cosine, down * sine)
    window = tuple(_span(at, far, side) for at, far, side in zip((y, x), reach, size, strict=True))
    rows, columns = np.mgrid[window] + 0.5
    rows, columns = rows - y, columns - x
    along, beside = cosine * columns + sine * rows, cosine * rows - sine * columns
    inside = np.zeros(size, bool)
    inside[window] = (along / across) ** 2 + (beside / down) ** 2 <= 1
    return inside


def _span(middle: float, reach: float, side: int) -> slice:
    """The pixels of an axis that something around its middle can touch."""
    first, last = (min(max(math.floor(end), 0), side) for end in (middle - reach, middle + reach + 1))
    return slice(first, last)


def _turn(path: Path, shape: Shape) -> tuple[float, float]:
    """Cosine and sine of the rotation, which is in degrees and clockwise on the screen."""
    angle = math.radians(shape.number(path, "rotation", "0"))
    return math.cos(angle), math.sin(angle)


def _mask(path: Path, shape: Shape, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Run lengths row by row within a window, the first of pixels that are off."""
    left, top, width, height = (shape.whole(path, key) for key in ("left", "top", "width", "height"))
    if min(left, top) < 0 or min(width, height) < 1 or left + width > size[1] or top + height > size[0]:
        window = f"the window {width}x{height} at {left},{top}"
        raise DefectError(path, f"{shape.name} has {window} on a photo of {size[1]}x{size[0]} pixels", _MEND)
    words = shape.fields.get("rle", "").split(",")
    lengths = [int(word) for word in words if word.strip().isascii() and word.strip().isdigit() and len(word) < 12]
    if len(lengths) != len(words) or sum(lengths) != width * height:
        reason = f"{shape.name} has run lengths of {sum(lengths)} pixels, where {width * height} were expected"
        raise DefectError(path, reason, _MEND)
    mask = np.zeros(size, bool)
    runs = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    mask[top : top + height, left : left + width] = runs.reshape(height, width)
    return mask


_Drawer = Callable[[Path, Shape, tuple[int, int]], list[float] | NDArray[np.bool_]]
AREAS: dict[str, _Drawer] = {"polygon": _polygon, "box": _box, "ellipse": _ellipse, "mask": _mask}
"""Shapes that are areas: each as corners [x, y, x, y, ...], or as a mask (H, W)."""
