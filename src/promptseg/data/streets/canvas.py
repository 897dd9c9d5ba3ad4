"""What a street is painted with: dice, a camera, and a canvas of numbered parts."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

T = TypeVar("T")
Floats = NDArray[np.float32]


class Dice:
    """Draws from PCG64 seeded with the SHA-256 of a text; only uniform draws, which no library maths can change."""

    def __init__(self, seed: str) -> None:
        digest = hashlib.sha256(seed.encode("utf-8")).digest()
        self._generator = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))

    def uniform(self, low: float, high: float) -> float:
        """A number in [low, high)."""
        return low + (high - low) * self._generator.random()

    def integer(self, low: int, high: int) -> int:
        """A whole number in [low, high], both ends included."""
        return int(self._generator.integers(low, high + 1))

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self._generator.random() < probability

    def pick(self, choices: Sequence[T]) -> T:
        """One of `choices`, all equally likely."""
        return choices[int(self._generator.integers(len(choices)))]

    def field(self, *shape: int) -> Floats:
        """Independent numbers in [0, 1), float32."""
        return self._generator.random(shape, dtype=np.float32)

    def jitter(self, color: tuple[int, int, int], spread: int) -> tuple[int, int, int]:
        """`color` with each channel and the overall brightness moved by up to `spread`."""
        shift = self.integer(-spread, spread)
        r, g, b = (max(0, min(255, c + shift + self.integer(-spread // 3, spread // 3))) for c in color)
        return r, g, b


(
    ROAD, SIDEWALK, BUILDING, WALL, FENCE, POLE, TRAFFIC_LIGHT, TRAFFIC_SIGN, VEGETATION, TERRAIN, SKY,
    PERSON, RIDER, CAR, TRUCK, BUS, TRAIN, MOTORCYCLE, BICYCLE,
) = range(19)  # fmt: skip
"""Training ids of the 19 classes, in the order of `CITYSCAPES_19`."""


Pixel = tuple[int, int]
NEAREST = 1.5
"""Distance in metres at which solids are cut off in front of the camera."""
_LIMIT = 32000.0
_SHIFT = 65536.5


@dataclass(frozen=True)
class Camera:
    """A pinhole camera above a bending street.

    Street coordinates in metres: `s` to the right of the street's middle, `y` above the ground, `z` ahead.
    The middle lies at x = slide + yaw z + bend z^2 in camera coordinates.
    """

    width: int
    height: int
    focal: float
    horizon: float
    eye: float
    slide: float
    yaw: float
    bend: float

    @classmethod
    def draw(cls, dice: Dice, size: tuple[int, int], slide: float) -> "Camera":
        """A camera in a car for photos of `size` (height, width)."""
        height, width = size
        return cls(
            width=width,
            height=height,
            focal=dice.uniform(0.78, 1.12) * width,
            horizon=dice.uniform(0.40, 0.48) * height,
            eye=dice.uniform(1.25, 1.65),
            slide=slide,
            yaw=dice.uniform(-0.06, 0.06),
            bend=dice.uniform(-1.0, 1.0) * 0.0022 if dice.chance(0.6) else 0.0,
        )

    def across(self, s: float, z: float) -> float:
        """Camera x in metres of street offset `s` at distance `z`."""
        return s + self.slide + z * (self.yaw + z * self.bend)

    def scale(self, z: float) -> float:
        """Pixels per metre at distance `z`."""
        return self.focal / z

    def pixel(self, s: float, y: float, z: float) -> Pixel:
        """Where a point of the street is seen; far outside the photo it is clamped."""
        k = self.focal / z
        u = 0.5 * self.width + k * (s + self.slide + z * (self.yaw + z * self.bend))
        v = self.horizon + k * (self.eye - y)
        if not -_LIMIT < u < _LIMIT:
            u = -_LIMIT if u < 0 else _LIMIT
        if not -_LIMIT < v < _LIMIT:
            v = -_LIMIT if v < 0 else _LIMIT
        return int(u + _SHIFT) - 65536, int(v + _SHIFT) - 65536

    def sees(self, s0: float, s1: float, z: float) -> bool:
        """Whether anything between two offsets at distance `z` can be in the photo."""
        return self.pixel(s0, 0.0, z)[0] < self.width and self.pixel(s1, 0.0, z)[0] >= 0

    @property
    def nearest_ground(self) -> float:
        """Distance in metres from which the ground is painted: 2, or less where a tall photo looks down further."""
        return min(2.0, 0.9 * self.focal * self.eye / (self.height - self.horizon))

    @property
    def ground(self) -> tuple[float, float, float]:
        """Plane of the ground: 1/z = a + b u + c v."""
        c = 1.0 / (self.focal * self.eye)
        return -self.horizon * c, 0.0, c


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
