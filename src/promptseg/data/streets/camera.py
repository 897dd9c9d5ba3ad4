"""From metres on a street to pixels of a photo."""

from dataclasses import dataclass

from promptseg.data.streets.dice import Dice

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
