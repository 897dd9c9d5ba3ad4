"""Road, markings, sidewalks, grass and sky."""

from dataclasses import dataclass

from promptseg.data.streets.canvas import ROAD, SIDEWALK, SKY, TERRAIN, Canvas, Color, Dice, Surface
from promptseg.data.streets.solids import shaded

DISTANCES = (2.0, 2.6, 3.2, 4.0, 5.0, 6.0, 7.0, 8.5, 10.0, 12.0, 15.0, 19.0, 24.0, 30.0, 40.0, 55.0, 80.0, 120.0, 200.0)
GRASS: tuple[Color, ...] = ((96, 116, 54), (120, 122, 66), (84, 108, 58), (134, 116, 82), (110, 128, 60))
PAVING: tuple[Color, ...] = ((152, 148, 144), (164, 150, 138), (134, 134, 138), (170, 164, 152), (150, 128, 120))
ASPHALT: tuple[Color, ...] = ((84, 84, 88), (98, 96, 94), (72, 72, 76), (110, 108, 106), (92, 88, 90))
PAINT: Color = (214, 214, 208)


@dataclass(frozen=True)
class Plan:
    """Cross-section of a street in metres: half the road, then on each side (left, right) pavement and verge."""

    road: float
    pavement: tuple[float, float]
    verge: tuple[float, float]
    verge_inside: tuple[bool, bool]
    crossing: tuple[float, float] | None
    tracks: float | None

    @classmethod
    def draw(cls, dice: Dice) -> "Plan":
        """A street of two to four lanes."""
        verge = [dice.uniform(1.2, 5.0) if dice.chance(0.55) else 0.0 for _ in range(2)]
        start = dice.uniform(18.0, 55.0)
        return cls(
            road=dice.uniform(3.4, 7.2),
            pavement=(dice.uniform(1.8, 4.5), dice.uniform(1.8, 4.5)),
            verge=(verge[0], verge[1]),
            verge_inside=(dice.chance(0.5), dice.chance(0.5)),
            crossing=(start, start + dice.uniform(7.0, 11.0)) if dice.chance(0.35) else None,
            tracks=dice.uniform(-1.0, 1.0) if dice.chance(0.15) else None,
        )

    def edge(self, side: int) -> float:
        """Offset (without sign) of the borders of a side: 0 left, 1 right."""
        return self.road + self.pavement[side] + self.verge[side]

    def walkway(self, side: int) -> tuple[float, float]:
        """Inner and outer offset of the pavement of a side."""
        start = self.road + (self.verge[side] if self.verge_inside[side] else 0.0)
        return start, start + self.pavement[side]


class GroundPainter:
    """Paints bands of the ground between street offsets."""

    def __init__(self, canvas: Canvas) -> None:
        self._canvas = canvas

    def surface(self, class_id: int, texture: tuple[float, float]) -> Surface:
        """A surface that lies on the ground."""
        return self._canvas.surface(class_id, self._canvas.camera.ground, texture, flat=True)

    @property
    def reach(self) -> tuple[float, float]:
        """Distances in metres between which the ground is painted."""
        return self._canvas.camera.nearest_ground, 200.0

    def band(
        self, surface: Surface, s0: float, s1: float, color: Color, reach: tuple[float, float] | None = None
    ) -> None:
        """A band along the street between two offsets, and two distances if not over all of it."""
        at = self._canvas.camera.pixel
        reach = reach or self.reach
        stops = [reach[0], *(z for z in DISTANCES if reach[0] < z < reach[1]), reach[1]]
        surface.polygon([at(s0, 0, z) for z in stops] + [at(s1, 0, z) for z in reversed(stops)], color)


def paint_sky(canvas: Canvas, dice: Dice) -> None:
    """The sky; `photo.py` adds clouds and its gradient."""
    color = dice.pick(((150, 190, 230), (180, 200, 220), (200, 204, 208), (120, 170, 225)))
    width, height = canvas.camera.width, canvas.camera.height
    canvas.surface(SKY, (0.0, 0.0, 0.0), (0.0, 0.0)).polygon(
        ((0, 0), (width, 0), (width, height), (0, height)), dice.jitter(color, 15)
    )


def paint_ground(canvas: Canvas, dice: Dice, plan: Plan) -> None:
    """Everything flat."""
    painter = GroundPainter(canvas)
    grass, paving = painter.surface(TERRAIN, (0.13, 0.2)), painter.surface(SIDEWALK, (0.05, 0.1))
    green, stone, tar = (dice.jitter(dice.pick(c), 14) for c in (GRASS, PAVING, ASPHALT))
    painter.band(grass, -150.0, 150.0, green)
    for side, sign in ((0, -1.0), (1, 1.0)):
        inner, outer = plan.walkway(side)
        painter.band(paving, sign * inner, sign * outer, stone)
        if not plan.verge[side]:
            painter.band(paving, sign * outer, sign * (outer + 1.0), stone)
    road = painter.surface(ROAD, (0.05, 0.09))
    if plan.crossing:
        z0, z1 = plan.crossing
        painter.band(paving, -80.0, 80.0, stone, (z0 - 2.5, z1 + 2.5))
        painter.band(road, -80.0, 80.0, tar, (z0, z1))
    painter.band(road, -plan.road, plan.road, tar)
    curb = shaded(stone, 1.15)
    for side, sign in ((0, -1.0), (1, 1.0)):
        border = painter.surface(TERRAIN if plan.verge[side] and plan.verge_inside[side] else SIDEWALK, (0.03, 0.05))
        near, far = painter.reach
        spans = [(near, far)] if not plan.crossing else [(near, plan.crossing[0]), (plan.crossing[1], far)]
        if not (plan.verge[side] and plan.verge_inside[side]):
            for span in spans:
                painter.band(border, sign * plan.road, sign * (plan.road + 0.22), curb, span)
        for span in spans:
            painter.band(road, sign * (plan.road - 0.18), sign * plan.road, shaded(tar, 0.72), span)
    _paint_markings(painter, dice, plan, road, tar)


def _paint_markings(painter: GroundPainter, dice: Dice, plan: Plan, road: Surface, tar: Color) -> None:
    paint = dice.jitter(PAINT if dice.chance(0.85) else (215, 180, 70), 16)
    phase = dice.uniform(0.0, 4.0)
    offsets = [0.0] + ([-0.5 * plan.road, 0.5 * plan.road] if plan.road > 5.6 else [])
    for s in offsets:
        if s == 0.0 and dice.chance(0.4):
            painter.band(road, s - 0.09, s + 0.09, paint)
            continue
        for i in range(14):
            z = 3.0 + phase + 5.0 * i
            painter.band(road, s - 0.08, s + 0.08, paint, (z, z + 2.4))
    if dice.chance(0.4):
        for sign in (-1.0, 1.0):
            painter.band(road, sign * (plan.road - 0.6), sign * (plan.road - 0.45), paint)
    if dice.chance(0.35):
        z = plan.crossing[0] - 5.0 if plan.crossing else dice.uniform(8.0, 25.0)
        for i in range(int(2 * plan.road)):
            s = -plan.road + 0.4 + i
            painter.band(road, s, s + 0.5, paint, (max(z, 3.0), max(z, 3.0) + 3.0))
    for _ in range(dice.integer(0, 3)):
        s, z = dice.uniform(-plan.road, plan.road - 1.5), dice.uniform(5.0, 25.0)
        painter.band(
            road, s, s + dice.uniform(0.5, 2.0), shaded(tar, dice.uniform(0.8, 1.2)), (z, z + dice.uniform(0.8, 5.0))
        )
    if plan.tracks is not None:
        for s in (plan.tracks - 0.75, plan.tracks + 0.65):
            painter.band(road, s, s + 0.1, (150, 146, 142))
