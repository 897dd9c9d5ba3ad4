"""The order of painting: what stands on a street is collected, then painted from far to near."""

from collections.abc import Callable

from promptseg.data.streets.camera import Camera
from promptseg.data.streets.canvas import Canvas
from promptseg.data.streets.dice import Dice
from promptseg.data.streets.ground import Plan
from promptseg.data.streets.sides import Lights


class Layout:
    """Collects what is to be painted, keyed by distance.

    `boxes` holds (offset, half width, near end, length) of the vehicles along the street.
    """

    def __init__(self, dice: Dice, size: tuple[int, int]) -> None:
        self.dice = dice
        self.plan = Plan.draw(dice)
        slide = -0.5 * self.plan.road + dice.uniform(-0.8, 0.8) if dice.chance(0.8) else dice.uniform(-1.0, 1.0)
        self.canvas = Canvas(Camera.draw(dice, size, slide))
        left, right = (1.12, 0.78) if dice.chance(0.5) else (0.78, 1.12)
        self.lights: Lights = (left, dice.uniform(0.85, 1.05), right)
        self._todo: list[tuple[float, float | None, Callable[[], None]]] = []
        self.boxes: list[tuple[float, float, float, float]] = []
        self._taken: list[tuple[float, float, float, float]] = []

    def add(self, z: float, paint: Callable[[], None], s: float | None = None) -> None:
        """Paint something at distance `z`; small things give their offset, to be ordered beside long vehicles."""
        self._todo.append((z, s, paint))

    def _order(self, z: float, s: float | None) -> float:
        """Distance to sort by: what stands beside a long vehicle comes before or after it as a whole."""
        if s is None:
            return z
        for middle, half, near, length in self.boxes:
            if near < z < near + length and middle != s:
                x, at = self.canvas.camera.across(s, z), self.canvas.camera.across(middle, z)
                inside = (x > at + half) if at < 0 else (x < at - half)
                turn = near + 0.3 * length
                z = min(z, turn - 0.01) if inside else max(z, turn + 0.01)
        return z

    def claim(self, s0: float, s1: float, z0: float, z1: float) -> bool:
        """Take a piece of ground unless something stands there already."""
        for a0, a1, b0, b1 in self._taken:
            if s0 < a1 and a0 < s1 and z0 < b1 and b0 < z1:
                return False
        self._taken.append((s0, s1, z0, z1))
        return True

    def paint(self) -> None:
        """Paint all that was added, the farthest first."""
        for _, _, paint in sorted(self._todo, key=lambda item: -self._order(item[0], item[1])):
            paint()
