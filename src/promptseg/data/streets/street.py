"""A whole street, laid out and painted from a seed."""

from promptseg.data.label_space import IGNORE
from promptseg.data.streets.borders import place_border, place_end_of_street, place_furniture
from promptseg.data.streets.canvas import Canvas
from promptseg.data.streets.dice import Dice
from promptseg.data.streets.ground import paint_ground, paint_sky
from promptseg.data.streets.layout import Layout
from promptseg.data.streets.traffic import place_people, place_vehicles


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
