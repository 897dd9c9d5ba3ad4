"""What stands beside streets: lamps, poles, traffic lights and signs, trees and bushes."""

from promptseg.data.streets.canvas import Canvas, Color, Lamp
from promptseg.data.streets.classes import POLE, TRAFFIC_LIGHT, TRAFFIC_SIGN, VEGETATION
from promptseg.data.streets.dice import Dice
from promptseg.data.streets.solids import CutOut, shaded

THINNEST_POLE = 2
"""Poles narrower than this many pixels are not drawn: masks at a quarter of the size could not hold them."""
LEAVES: tuple[Color, ...] = ((62, 92, 40), (80, 110, 48), (48, 78, 42), (104, 118, 52), (120, 104, 50), (70, 100, 64))
POLES: tuple[Color, ...] = ((120, 122, 124), (78, 82, 86), (150, 150, 148), (70, 84, 76), (104, 92, 80))
SODIUM: Color = (255, 196, 110)
WHITE_LAMP: Color = (235, 238, 255)


def _pole(canvas: Canvas, dice: Dice, s: float, z: float, height: float, wide: float) -> CutOut | None:
    shape = CutOut(canvas, POLE, s, z, (0.05, 0.08), canvas.new_thing())
    pixels = int(wide * shape.scale + 0.5)
    if pixels < THINNEST_POLE * canvas.camera.width / 256:
        return None
    color = dice.jitter(dice.pick(POLES), 12)
    half = 0.5 * wide
    shape.rect(-half, 0.0, half, height, color)
    shape.rect(0.2 * wide, 0.0, half, height, shaded(color, 0.75))
    shape.rect(-0.7 * wide, 0.0, 0.7 * wide, 0.4, shaded(color, 0.8))
    return shape


def paint_lamp_post(canvas: Canvas, dice: Dice, s: float, z: float) -> None:
    """A street lamp whose arm reaches over the road."""
    height, arm = dice.uniform(5.0, 7.5), dice.uniform(0.6, 2.0) * (-1.0 if s > 0 else 1.0)
    shape = _pole(canvas, dice, s, z, height, dice.uniform(0.24, 0.32))
    if shape is None:
        return
    shape.limb((0.0, height), (arm, height + 0.25), 0.2, (110, 112, 114), 2)
    light = SODIUM if dice.chance(0.6) else WHITE_LAMP
    reach = -0.5 if arm < 0 else 0.5
    part = shape.rect(arm, height + 0.05, arm + reach, height + 0.35, (205, 205, 195), light)
    camera = canvas.camera
    place = (camera.across(s + arm, z), z)
    canvas.lamps.append(Lamp(part, shape.at(arm + 0.5 * reach, height + 0.2), 1.1 * shape.scale, light, place, 7.0))


def paint_plain_pole(canvas: Canvas, dice: Dice, s: float, z: float) -> None:
    """A pole for wires or a bollard."""
    if dice.chance(0.6):
        _pole(canvas, dice, s, z, dice.uniform(4.0, 8.0), dice.uniform(0.24, 0.36))
    else:
        _pole(canvas, dice, s, z, dice.uniform(0.9, 1.2), dice.uniform(0.22, 0.3))


def paint_traffic_light(canvas: Canvas, dice: Dice, s: float, z: float) -> None:
    """Signals on a pole, sometimes a second set on an arm above the road."""
    high = dice.chance(0.4)
    height = dice.uniform(4.8, 5.6) if high else dice.uniform(2.9, 3.5)
    pole = _pole(canvas, dice, s, z, height, 0.24)
    lit = dice.integer(0, 2)
    if high and pole is not None:
        arm = dice.uniform(2.0, 3.5) * (-1.0 if s > 0 else 1.0)
        pole.limb((0.0, height - 0.1), (arm, height), 0.2, (100, 102, 104), 2)
        _signal(canvas, dice, s + arm, z, height - 1.15, lit)
    _signal(canvas, dice, s, z - 0.02, 2.2 if high else height - 0.9, lit)


def _signal(canvas: Canvas, dice: Dice, s: float, z: float, foot: float, lit: int) -> None:
    shape = CutOut(canvas, TRAFFIC_LIGHT, s, z, (0.03, 0.03), canvas.new_thing())
    housing = dice.pick(((28, 30, 30), (40, 46, 42), (52, 50, 30)))
    size = dice.uniform(1.1, 1.35)
    shape.rect(-0.3 * size, foot, 0.3 * size, foot + 1.15 * size, housing)
    bright: tuple[Color, ...] = ((70, 255, 150), (255, 190, 40), (255, 50, 40))
    for i, color in enumerate(bright):
        y = foot + (0.2 + 0.37 * i) * size
        if i == lit:
            part = shape.ellipse(0.0, y, 0.17 * size, 0.17 * size, color, color)
            place = (canvas.camera.across(s, z), z - 0.5)
            canvas.lamps.append(Lamp(part, shape.at(0.0, y), 0.6 * shape.scale, color, place, 1.2))
        else:
            shape.ellipse(0.0, y, 0.16 * size, 0.16 * size, shaded(color, 0.3))


def paint_sign(canvas: Canvas, dice: Dice, s: float, z: float) -> None:
    """One or two traffic signs on a pole, or a large board."""
    height = dice.uniform(2.4, 3.2)
    _pole(canvas, dice, s, z, height, dice.uniform(0.2, 0.26))
    z -= 0.02
    if dice.chance(0.25):
        color = dice.pick(((30, 80, 160), (235, 200, 50), (20, 110, 70), (225, 225, 225)))
        board = CutOut(canvas, TRAFFIC_SIGN, s, z, (0.02, 0.03), canvas.new_thing())
        board.rect(-1.0, height - 0.6, 1.0, height + 0.6, dice.jitter(color, 12))
        ink: Color = (30, 30, 30) if color[0] > 200 else (235, 235, 235)
        for y in (0.3, 0.0, -0.3):
            board.rect(-0.8, height + y - 0.07, dice.uniform(0.0, 0.8), height + y + 0.07, ink)
        return
    for i in range(2 if dice.chance(0.3) else 1):
        _plate(CutOut(canvas, TRAFFIC_SIGN, s, z, (0.02, 0.03), canvas.new_thing()), dice, height - 0.95 * i)


def _plate(shape: CutOut, dice: Dice, y: float) -> None:
    r, kind = dice.uniform(0.42, 0.55), dice.integer(0, 5)
    red, white, blue, ink = (
        dice.jitter((195, 35, 40), 18),
        (232, 232, 230),
        dice.jitter((30, 80, 165), 18),
        (40, 40, 40),
    )
    if kind == 0:
        shape.ellipse(0.0, y, r, r, red)
        shape.ellipse(0.0, y, 0.7 * r, 0.7 * r, white)
        shape.rect(-0.3 * r, y - 0.35 * r, 0.3 * r, y + 0.35 * r, ink)
    elif kind == 1:
        shape.polygon(((-1.1 * r, y - 0.8 * r), (1.1 * r, y - 0.8 * r), (0.0, y + 1.05 * r)), red)
        shape.polygon(((-0.65 * r, y - 0.55 * r), (0.65 * r, y - 0.55 * r), (0.0, y + 0.6 * r)), white)
    elif kind == 2:
        shape.polygon([(a * r, y + b * r) for a, b in ((-1, -0.4), (-0.4, -1), (0.4, -1), (1, -0.4), (1, 0.4), (0.4, 1),
                                                       (-0.4, 1), (-1, 0.4))], red)  # fmt: skip
        shape.rect(-0.7 * r, y - 0.2 * r, 0.7 * r, y + 0.2 * r, white)
    elif kind == 3:
        shape.rect(-r, y - r, r, y + r, blue)
        shape.polygon(((-0.6 * r, y - 0.5 * r), (0.6 * r, y - 0.5 * r), (0.0, y + 0.6 * r)), white)
    elif kind == 4:
        shape.ellipse(0.0, y, r, r, blue)
        shape.rect(-0.15 * r, y - 0.6 * r, 0.15 * r, y + 0.6 * r, white)
    else:
        shape.polygon(((-1.1 * r, y), (0.0, y - 1.1 * r), (1.1 * r, y), (0.0, y + 1.1 * r)), white)
        shape.polygon(((-0.8 * r, y), (0.0, y - 0.8 * r), (0.8 * r, y), (0.0, y + 0.8 * r)), (235, 190, 40))


def paint_tree(canvas: Canvas, dice: Dice, s: float, z: float) -> None:
    """A broad-leaved or conical tree; the trunk counts as vegetation."""
    if not canvas.camera.sees(s - 3.5, s + 3.5, z):
        return
    shape = CutOut(canvas, VEGETATION, s, z, (0.2, 0.3))
    height, green = dice.uniform(4.0, 9.0), dice.jitter(dice.pick(LEAVES), 14)
    trunk = dice.jitter((82, 66, 52), 14)
    wide = dice.uniform(0.2, 0.4)
    shape.polygon(((-wide, 0.0), (wide, 0.0), (0.5 * wide, 0.6 * height), (-0.5 * wide, 0.6 * height)), trunk)
    at = canvas.camera.pixel
    canvas.shade([at(s - 1.2, 0, z - 0.8), at(s + 1.2, 0, z - 0.8), at(s + 1.4, 0, z + 0.8), at(s - 1.4, 0, z + 0.8)])
    if dice.chance(0.2):
        for i in range(4):
            y, r = height * (0.22 + 0.19 * i), 0.34 * height * (1.0 - 0.22 * i)
            shape.polygon(((-r, y), (r, y), (0.0, y + 0.36 * height)), shaded(green, 0.75 + 0.1 * i))
        return
    spread = dice.uniform(0.24, 0.36) * height
    shape.ellipse(0.0, 0.68 * height, 0.62 * spread, 0.2 * height, shaded(green, 0.8))
    for _ in range(9 if z < 60.0 else 5):
        x, y = dice.uniform(-spread, spread), dice.uniform(0.45, 0.92) * height
        r = dice.uniform(0.35, 0.62) * spread
        shape.ellipse(x, y, r, 0.85 * r, shaded(green, 0.62 + 0.5 * (y / height - 0.35) + dice.uniform(0.0, 0.22)))


def paint_bush(canvas: Canvas, dice: Dice, s: float, z: float) -> None:
    """A shrub."""
    if not canvas.camera.sees(s - 2.0, s + 2.0, z):
        return
    shape = CutOut(canvas, VEGETATION, s, z, (0.2, 0.25))
    green = dice.jitter(dice.pick(LEAVES), 14)
    size = dice.uniform(0.5, 1.1)
    for _ in range(5):
        x, r = dice.uniform(-size, size), dice.uniform(0.4, 0.7) * size
        shape.ellipse(x, r, r, r, shaded(green, dice.uniform(0.65, 1.1)))
