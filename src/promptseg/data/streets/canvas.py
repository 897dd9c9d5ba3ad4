"""One map of part numbers; colour, class, instance, depth and glow are looked up from it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from promptseg.data.streets.camera import Camera, Pixel

Color = tuple[int, int, int]
Plane = tuple[float, float, float]
"""Inverse depth of a plane in the photo: 1/z = a + b u + c v."""
DARK: Color = (0, 0, 0)


@dataclass(frozen=True)
class Lamp:
    """A light: its part, pixel, halo radius in pixels, colour, and place (camera x, z) with the metres it lights."""

    part: int
    at: Pixel
    radius: float
    color: Color
    place: tuple[float, float]
    reach: float


class Canvas:
    """Painter's canvas: what is painted later covers what was painted before."""

    def __init__(self, camera: Camera) -> None:
        self.camera = camera
        self._image = Image.new("I", (camera.width, camera.height), 0)
        self._draw = ImageDraw.Draw(self._image)
        self._shade = Image.new("L", (camera.width, camera.height), 0)
        self._shade_draw = ImageDraw.Draw(self._shade)
        self._windows: list[tuple[int, NDArray[np.int32]]] = []
        self.lamps: list[Lamp] = []
        self.surface_rows: list[tuple[int, int, float, float, float, float, float, bool]] = []
        self.part_surface: list[int] = []
        self.part_color: list[Color] = []
        self.part_glow: list[Color] = []
        self.things = 0

    def new_thing(self) -> int:
        """A fresh instance number, from 1."""
        self.things += 1
        return self.things

    def surface(
        self,
        class_id: int,
        plane: Plane,
        texture: tuple[float, float] = (0.04, 0.05),
        thing: int = 0,
        flat: bool = False,
    ) -> "Surface":
        """Something to paint: class, inverse-depth plane, (fine, coarse) texture strength, instance (0: none)."""
        self.surface_rows.append((class_id, thing, *plane, *texture, flat))
        return Surface(self, len(self.surface_rows) - 1)

    def part(self, surface: int, color: Color, glow: Color) -> int:
        """A fresh part number of a surface with its colour and the light it sends out at night."""
        self.part_surface.append(surface)
        self.part_color.append(color)
        self.part_glow.append(glow)
        return len(self.part_surface) - 1

    def shade(self, points: Sequence[Pixel]) -> None:
        """Darken a polygon of the ground (shadows fall on flat surfaces only)."""
        self._shade_draw.polygon(points, fill=110)

    def polygon(self, part: int, points: Sequence[Pixel]) -> None:
        """Fill a polygon."""
        self._draw.polygon(points, fill=part)

    def ellipse(self, part: int, box: tuple[int, int, int, int]) -> None:
        """Fill the ellipse in box (left, top, right, bottom)."""
        self._draw.ellipse(box, fill=part)

    def line(self, part: int, start: Pixel, end: Pixel, width: int) -> None:
        """A straight stroke."""
        self._draw.line((start, end), fill=part, width=width)

    def remember(self, part: int) -> None:
        """Let `part`, about to be painted, show the colours of what is behind it now."""
        self._windows.append((part, self.parts()))

    def parts(self) -> NDArray[np.int32]:
        """The part of every pixel, (H, W)."""
        return np.array(self._image, dtype=np.int32)

    def shadows(self) -> NDArray[np.uint8]:
        """Strength of the shadows, (H, W), 0..255."""
        return np.array(self._shade)

    def seen_parts(self, parts: NDArray[np.int32]) -> NDArray[np.int32]:
        """`parts` with see-through ones replaced by what is seen through them."""
        seen = parts.copy()
        for part, behind in reversed(self._windows):
            mask = seen == part
            seen[mask] = behind[mask]
        return seen


class Surface:
    """Paints parts of one surface."""

    def __init__(self, canvas: Canvas, index: int) -> None:
        self.canvas = canvas
        self.index = index

    def polygon(self, points: Sequence[Pixel], color: Color, glow: Color = DARK) -> int:
        """Fill a polygon; gives the part's number."""
        part = self.canvas.part(self.index, color, glow)
        self.canvas.polygon(part, points)
        return part

    def ellipse(self, box: tuple[int, int, int, int], color: Color, glow: Color = DARK) -> int:
        """Fill an ellipse; gives the part's number."""
        part = self.canvas.part(self.index, color, glow)
        left, top, right, bottom = box
        self.canvas.ellipse(part, (left, top, max(left, right), max(top, bottom)))
        return part

    def line(self, start: Pixel, end: Pixel, width: int, color: Color) -> None:
        """A straight stroke."""
        self.canvas.line(self.canvas.part(self.index, color, DARK), start, end, width)

    def glass(self, points: Sequence[Pixel]) -> None:
        """Claim a polygon for this surface but leave the colours of what is behind."""
        part = self.canvas.part(self.index, DARK, DARK)
        self.canvas.remember(part)
        self.canvas.polygon(part, points)
