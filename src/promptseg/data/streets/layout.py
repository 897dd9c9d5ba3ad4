"""Where everything on a street stands; it is collected, then painted from far to near."""

from collections.abc import Callable
from functools import partial

from promptseg.data.streets.canvas import Camera, Canvas, Dice
from promptseg.data.streets.ground import Plan, paint_ground, paint_sky
from promptseg.data.streets.people import paint_bicycle, paint_motorcycle, paint_person
from promptseg.data.streets.roadside import (
    paint_building,
    paint_bush,
    paint_fence,
    paint_hedge,
    paint_lamp_post,
    paint_plain_pole,
    paint_sign,
    paint_traffic_light,
    paint_tree,
    paint_wall,
)
from promptseg.data.streets.solids import Lights
from promptseg.data.streets.vehicles import Stand, paint_bus, paint_car, paint_tram, paint_truck
from promptseg.label_space import IGNORE


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


FAR = 110.0
"""Distance in metres of the end of a street."""


def place_end_of_street(layout: Layout) -> None:
    """Trees and houses on the horizon, and at times a row of houses behind a crossing."""
    dice, canvas = layout.dice, layout.canvas
    s = -120.0
    while s < 120.0:
        wide = dice.uniform(8.0, 22.0)
        if layout.canvas.camera.sees(s, s + wide, FAR + 30.0):
            layout.add(FAR + 40.0, _far_piece(layout, s, wide))
        s += wide
    if layout.plan.crossing and dice.chance(0.45):
        z = layout.plan.crossing[1] + 4.0
        s = -60.0
        while s < 60.0:
            wide = dice.uniform(9.0, 20.0)
            lateral, reach = (s, s + wide), (z, z + 6.0)
            layout.add(z, partial(paint_building, canvas, dice, layout.lights, lateral, reach))
            s += wide


def _far_piece(layout: Layout, s: float, wide: float) -> Callable[[], None]:
    canvas, dice = layout.canvas, layout.dice
    if dice.chance(0.4):
        return lambda: paint_building(canvas, dice, layout.lights, (s, s + wide), (FAR + 30.0, FAR + 40.0))

    def trees() -> None:
        for i in range(4):
            paint_tree(canvas, dice, s + wide * (i + 0.5) / 4, FAR + 35.0)

    return trees


def place_border(layout: Layout, side: int) -> None:
    """Buildings, walls, fences, hedges and open ground along one side."""
    dice, sign = layout.dice, (-1.0 if side == 0 else 1.0)
    urban = dice.pick((0.75, 0.5, 0.2))
    z = dice.uniform(-6.0, 4.0)
    while z < FAR:
        length = dice.uniform(7.0, 18.0) if z < 50 else 20.0
        end = z + length
        if layout.plan.crossing and end > layout.plan.crossing[0] - 3.0 and z < layout.plan.crossing[1] + 3.0:
            if layout.plan.crossing[0] - 3.0 - z < 4.0:
                z = layout.plan.crossing[1] + 3.0
                continue
            end = layout.plan.crossing[0] - 3.0
        _segment(layout, side, sign, (z, end), urban)
        z = end + (dice.uniform(0.5, 3.0) if dice.chance(0.3) else 0.0)


def _segment(layout: Layout, side: int, sign: float, reach: tuple[float, float], urban: float) -> None:
    dice, canvas, lights = layout.dice, layout.canvas, layout.lights
    edge = layout.plan.edge(side)
    middle = 0.5 * (reach[0] + reach[1])

    def lateral(near: float, deep: float) -> tuple[float, float]:
        return (edge + near, edge + near + deep) if sign > 0 else (-edge - near - deep, -edge - near)

    if dice.chance(urban):
        setback = dice.uniform(0.0, 1.5) if dice.chance(0.3) else 0.0
        layout.add(reach[1], lambda: paint_building(canvas, dice, lights, lateral(setback, 12.0), reach))
        return
    kind = dice.pick((paint_wall, paint_fence, paint_wall, paint_fence, paint_hedge, None))
    if kind is not None:
        thick = 0.3 if kind is not paint_hedge else 1.0
        layout.add(reach[1], lambda: kind(canvas, dice, lights, lateral(0.0, thick), reach))
    if dice.chance(0.35):
        layout.add(
            reach[1] + 0.02,
            lambda: paint_building(canvas, dice, lights, lateral(dice.uniform(5.0, 9.0), 12.0), reach),
        )
        return
    for _ in range(dice.integer(1, 4)):
        s, z = sign * (edge + dice.uniform(2.0, 12.0)), dice.uniform(reach[0], reach[1])
        if z > 6.0:
            layout.add(reach[1] + 0.01, partial(paint_tree, canvas, dice, s, z))
    if dice.chance(0.5) and middle > 6.0:
        layout.add(reach[1] + 0.01, lambda: paint_bush(canvas, dice, sign * (edge + 1.5), middle))


def place_furniture(layout: Layout) -> None:
    """Lamps, poles, signs, traffic lights and rows of trees along the kerbs."""
    dice, canvas = layout.dice, layout.canvas
    kinds = (paint_lamp_post, paint_plain_pole, paint_sign, paint_sign, paint_traffic_light)
    for side, sign in ((0, -1.0), (1, 1.0)):
        pitch = dice.uniform(13.0, 22.0)
        z = dice.uniform(7.0, 14.0)
        while z < 60.0:
            s = sign * (layout.plan.road + dice.uniform(0.4, 0.8))
            kind = paint_lamp_post if dice.chance(0.45) else dice.pick(kinds)
            layout.claim(s - 0.3, s + 0.3, z - 0.3, z + 0.3)
            layout.add(z, partial(kind, canvas, dice, s, z), s)
            z += pitch * dice.uniform(0.7, 1.2)
        if layout.plan.crossing and dice.chance(0.75):
            z = layout.plan.crossing[0] - 2.0
            layout.add(z, partial(paint_traffic_light, canvas, dice, sign * (layout.plan.road + 0.6), z))
        _row_of_trees(layout, side, sign)
    if dice.chance(0.5):
        s, z = dice.pick((-1.0, 1.0)) * (layout.plan.road + 0.7), dice.uniform(9.0, 22.0)
        layout.add(z, lambda: dice.pick((paint_traffic_light, paint_sign))(canvas, dice, s, z), s)


def _row_of_trees(layout: Layout, side: int, sign: float) -> None:
    dice, canvas = layout.dice, layout.canvas
    if not dice.chance(0.4):
        return
    z, pitch = dice.uniform(8.0, 20.0), dice.uniform(8.0, 16.0)
    inside = layout.plan.verge[side] and layout.plan.verge_inside[side]
    s = sign * (layout.plan.road + (0.5 * layout.plan.verge[side] if inside else 1.2))
    while z < 70.0:
        layout.claim(s - 0.4, s + 0.4, z - 0.4, z + 0.4)
        layout.add(z, partial(paint_tree, canvas, dice, s, z), s)
        z += pitch


PaintVehicle = Callable[[Dice, Stand], None]


def place_vehicles(layout: Layout) -> None:
    """Trams, buses, lorries, cars on the lanes, parked cars and crossing traffic."""
    dice, road = layout.dice, layout.plan.road
    lane = 0.5 * road
    for paint, chance, length, width in (
        (paint_tram, 0.26, 28.0, 2.6), (paint_bus, 0.26, 12.0, 2.5), (paint_truck, 0.3, 10.0, 2.4),
    ):  # fmt: skip
        if not dice.chance(chance):
            continue
        if layout.plan.crossing and dice.chance(0.3):
            _crosswise(layout, layout.plan.crossing, paint, length)
            continue
        own = dice.chance(0.5)
        s = layout.plan.tracks if paint is paint_tram and layout.plan.tracks is not None else (lane if own else -lane)
        z = dice.uniform(9.0, 26.0)
        _vehicle(layout, paint, s, z, length, width, "back" if own else "front")
    for _ in range(dice.integer(0, 3)):
        own = dice.chance(0.6)
        s = (lane if own else -lane) + dice.uniform(-0.5, 0.5)
        _vehicle(layout, paint_car, s, dice.uniform(7.0, 45.0), 4.8, 1.9, "back" if own else "front")
    for sign in (-1.0, 1.0):
        if road < 4.2 or dice.chance(0.45):
            continue
        z = dice.uniform(5.5, 16.0)
        for _ in range(dice.integer(1, 7)):
            _vehicle(
                layout,
                paint_car,
                sign * (road - 1.05),
                z,
                4.8,
                1.9,
                "back" if dice.chance(0.7) == (sign > 0) else "front",
            )
            z += dice.uniform(5.2, 8.0) if dice.chance(0.8) else dice.uniform(9.0, 16.0)
    if layout.plan.crossing and dice.chance(0.5):
        _crosswise(layout, layout.plan.crossing, paint_car, 4.8)


def _vehicle(layout: Layout, paint: PaintVehicle, s: float, z: float, length: float, width: float, view: str) -> None:
    if layout.claim(s - 0.5 * width, s + 0.5 * width, z, z + length + 1.0):
        layout.boxes.append((s, 0.5 * width, z, length))
        layout.add(z + 0.3 * length, lambda: paint(layout.dice, Stand(layout.canvas, layout.lights, s, z, view)), s)


def _crosswise(layout: Layout, crossing: tuple[float, float], paint: PaintVehicle, length: float) -> None:
    z0, z1 = crossing
    s = layout.dice.uniform(-9.0, 9.0) - 0.5 * length
    z = z0 + layout.dice.uniform(0.8, max(1.0, z1 - z0 - 3.0))
    if layout.claim(s, s + length, z, z + 3.0):
        layout.add(z + 1.0, lambda: paint(layout.dice, Stand(layout.canvas, layout.lights, s, z, "side")))


def place_people(layout: Layout) -> None:
    """People on the pavement and on the road, riders, parked bicycles and motorcycles."""
    dice, road = layout.dice, layout.plan.road
    for side, sign in ((0, -1.0), (1, 1.0)):
        inner, outer = layout.plan.walkway(side)
        for _ in range(dice.integer(0, 4)):
            s, z = sign * dice.uniform(inner + 0.4, outer - 0.3), dice.uniform(7.0, 34.0)
            _stander(layout, paint_person, s, z, 0.3)
        for kind, chance in ((paint_bicycle, 0.25), (paint_motorcycle, 0.2)):
            if dice.chance(chance):
                s, z = sign * (inner + dice.uniform(0.5, 0.9)), dice.uniform(7.0, 17.0)
                _mount(layout, kind, s, z, False)
    if dice.chance(0.35):
        z = dice.uniform(8.0, 20.0)
        for _ in range(dice.integer(1, 3)):
            _stander(layout, paint_person, dice.uniform(-road, road), z + dice.uniform(0.0, 2.0), 0.4)
    for kind, chance in ((paint_bicycle, 0.4), (paint_motorcycle, 0.32)):
        if dice.chance(chance):
            s = dice.pick((-1.0, 1.0, 0.5)) * (road - (2.6 if road > 5.0 else 1.1))
            _mount(layout, kind, s, dice.uniform(6.5, 16.0), True)


def _stander(
    layout: Layout, paint: Callable[[Canvas, Dice, float, float], None], s: float, z: float, half: float
) -> None:
    if layout.canvas.camera.sees(s - half, s + half, z) and layout.claim(s - half, s + half, z - 0.3, z + 0.3):
        layout.add(z, lambda: paint(layout.canvas, layout.dice, s, z), s)


def _mount(
    layout: Layout, paint: Callable[[Canvas, Dice, float, float, bool], None], s: float, z: float, ridden: bool
) -> None:
    if layout.claim(s - 0.8, s + 0.8, z - 0.4, z + 0.4):
        layout.add(z, lambda: paint(layout.canvas, layout.dice, s, z, ridden), s)


def paint_street(dice: Dice, size: tuple[int, int]) -> Canvas:
    """The street of a seed, on a canvas of `size` (height, width)."""
    layout = Layout(dice, size)
    paint_sky(layout.canvas, dice)
    paint_ground(layout.canvas, dice, layout.plan)
    place_end_of_street(layout)
    for side in (0, 1):
        place_border(layout, side)
    place_vehicles(layout)
    place_furniture(layout)
    place_people(layout)
    layout.paint()
    _paint_hood(layout.canvas, dice)
    return layout.canvas


def _paint_hood(canvas: Canvas, dice: Dice) -> None:
    """The bonnet of the camera's own car at the lower edge: unlabelled."""
    camera = canvas.camera
    if not dice.chance(0.4):
        return
    rise = int(camera.height * dice.uniform(0.03, 0.08))
    color = dice.jitter((70, 72, 78), 30)
    surface = canvas.surface(IGNORE, (0.5, 0.0, 0.0), (0.01, 0.03))
    w, h = camera.width, camera.height
    surface.ellipse((-w // 8, h - rise, w + w // 8, h + 5 * rise), color)
