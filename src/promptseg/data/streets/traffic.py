"""Who is on a street: where vehicles, people and riders are."""

from collections.abc import Callable

from promptseg.data.streets.canvas import Canvas
from promptseg.data.streets.dice import Dice
from promptseg.data.streets.layout import Layout
from promptseg.data.streets.people import paint_bicycle, paint_motorcycle, paint_person
from promptseg.data.streets.vehicles import Stand, paint_bus, paint_car, paint_tram, paint_truck

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
