"""Both sides of a street and its end: where houses, walls, fences, trees and street furniture stand."""

from collections.abc import Callable
from functools import partial

from promptseg.data.streets.furniture import (
    paint_bush,
    paint_lamp_post,
    paint_plain_pole,
    paint_sign,
    paint_traffic_light,
    paint_tree,
)
from promptseg.data.streets.layout import Layout
from promptseg.data.streets.sides import paint_building, paint_fence, paint_hedge, paint_wall

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
