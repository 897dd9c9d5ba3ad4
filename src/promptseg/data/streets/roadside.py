"""What stands beside a street: buildings, walls, fences, hedges, poles, lights, signs, trees and bushes."""

from promptseg.data.streets.canvas import (
    BUILDING,
    DARK,
    FENCE,
    POLE,
    TRAFFIC_LIGHT,
    TRAFFIC_SIGN,
    VEGETATION,
    WALL,
    Canvas,
    Color,
    Dice,
    Lamp,
)
from promptseg.data.streets.solids import Block, CutOut, Face, Lights, shaded

FACADES: tuple[Color, ...] = (
    (186, 172, 150), (160, 92, 74), (206, 196, 178), (132, 126, 122), (176, 150, 112), (150, 160, 164),
    (196, 150, 120), (120, 92, 80), (214, 206, 200), (112, 120, 130), (170, 130, 104),
)  # fmt: skip
WALLS: tuple[Color, ...] = ((150, 146, 138), (150, 96, 78), (176, 168, 150), (124, 120, 116))
PICKETS: tuple[Color, ...] = ((110, 86, 62), (60, 70, 66), (205, 205, 200), (40, 44, 48), (128, 112, 92))
PANE: tuple[Color, ...] = ((52, 62, 74), (70, 84, 98), (38, 44, 52), (96, 112, 126))
LIT: tuple[Color, ...] = ((235, 190, 110), (225, 205, 150), (200, 160, 90), (190, 205, 215))
Reach = tuple[float, float]


def paint_building(canvas: Canvas, dice: Dice, lights: Lights, lateral: Reach, reach: Reach) -> None:
    """A house: facade with floors of windows, a ground floor with doors or shops, a cornice."""
    color = dice.jitter(dice.pick(FACADES), 18)
    floors = dice.integer(2, 6)
    floor = dice.uniform(2.9, 3.5)
    height = floors * floor + dice.uniform(0.5, 1.2)
    block = Block(canvas, BUILDING, lateral, (0.0, height), reach, lights, (0.05, 0.1))
    trim, base = shaded(color, dice.pick((0.75, 1.2))), shaded(color, dice.uniform(0.6, 0.95))
    shop = dice.chance(0.4)
    style = (dice.uniform(0.24, 0.34), dice.uniform(0.5, 0.66), dice.uniform(2.2, 3.4))
    for face, length in ((block.side, reach[1] - reach[0]), (block.near, lateral[1] - lateral[0])):
        if face is None or not face.in_photo(0.0, 1.0):
            continue
        face.fill(color)
        face.quad(0.0, 0.0, 1.0, floor / height, base)
        face.quad(0.0, 1.0 - 0.35 / height, 1.0, 1.0, trim)
        face.quad(0.0, (floor - 0.1) / height, 1.0, (floor + 0.12) / height, trim)
        _windows(face, dice, length, height, floor, floors, style, trim)
        _ground_floor(face, dice, length, height, floor, shop)


def _windows(
    face: Face,
    dice: Dice,
    length: float,
    height: float,
    floor: float,
    floors: int,
    style: tuple[float, float, float],
    trim: Color,
) -> None:
    half, tall, pitch = style
    columns = max(1, int(length / pitch))
    seen = abs(face.at(1.0, 0.0)[0] - face.at(0.0, 0.0)[0])
    columns = max(1, min(columns, seen // 4))
    framed = seen > 9 * columns
    pane = dice.pick(PANE)
    for i in range(columns):
        a, da = (i + 0.5) / columns, half / columns
        if not face.in_photo(a - da, a + da):
            continue
        for j in range(1, floors):
            b0, b1 = (j + 0.22) * floor / height, (j + 0.22 + tall) * floor / height
            if face.at(a, b0)[1] < 0:
                break
            glow = dice.pick(LIT) if dice.chance(0.3) else DARK
            if framed:
                edge = 0.05 / columns
                face.quad(a - da - edge, b0 - 0.02 / floors, a + da + edge, b1 + 0.02 / floors, trim)
            face.quad(a - da, b0, a + da, b1, shaded(pane, dice.uniform(0.8, 1.25)), glow)


def _ground_floor(face: Face, dice: Dice, length: float, height: float, floor: float, shop: bool) -> None:
    columns = max(1, int(length / 4.0))
    for i in range(columns):
        a, da = (i + 0.5) / columns, 0.4 / columns
        if not face.in_photo(a - da, a + da):
            continue
        if shop:
            face.quad(a - da, 0.15 * floor / height, a + da, 0.72 * floor / height, dice.pick(PANE), dice.pick(LIT))
            face.quad(a - da, 0.74 * floor / height, a + da, 0.94 * floor / height, dice.jitter((140, 70, 60), 60))
        elif i == columns // 2:
            face.quad(a - 0.35 * da, 0.0, a + 0.35 * da, 0.72 * floor / height, dice.jitter((92, 66, 50), 25))
        else:
            glow = dice.pick(LIT) if dice.chance(0.3) else DARK
            face.quad(a - 0.6 * da, 0.3 * floor / height, a + 0.6 * da, 0.72 * floor / height, dice.pick(PANE), glow)


def paint_wall(canvas: Canvas, dice: Dice, lights: Lights, lateral: Reach, reach: Reach) -> None:
    """A free-standing wall with coping, courses of stone and stains."""
    color = dice.jitter(dice.pick(WALLS), 16)
    height = dice.uniform(1.8, 3.0)
    block = Block(canvas, WALL, lateral, (0.0, height), reach, lights, (0.08, 0.16))
    block.fill(color)
    for face, length in ((block.side, reach[1] - reach[0]), (block.near, lateral[1] - lateral[0])):
        if face is None or not face.in_photo(0.0, 1.0):
            continue
        for i in range(1, max(2, int(length / 2.5))):
            a = i * 2.5 / length
            face.quad(a - 0.05 / length, 0.0, a + 0.05 / length, 0.9, shaded(color, 0.8))
        for b in (0.3, 0.6):
            face.quad(0.0, b, 1.0, b + 0.03, shaded(color, 0.82))
        face.quad(0.0, 0.9, 1.0, 1.0, shaded(color, 1.18))
        if dice.chance(0.4):
            a = dice.uniform(0.1, 0.7)
            face.quad(a, 0.2, a + 0.15, 0.65, dice.jitter((120, 110, 130), 60))


def paint_fence(canvas: Canvas, dice: Dice, lights: Lights, lateral: Reach, reach: Reach) -> None:
    """A picket or rail fence; the gaps show what is behind but count as fence."""
    color = dice.jitter(dice.pick(PICKETS), 16)
    height = dice.uniform(1.3, 2.0)
    block = Block(canvas, FENCE, lateral, (0.0, height), reach, lights, (0.06, 0.08))
    pitch = dice.uniform(0.5, 0.9)
    rails = dice.pick(((0.18, 0.8), (0.12, 0.5, 0.9), (0.05, 0.35, 0.65, 0.93)))
    for face, length in ((block.side, reach[1] - reach[0]), (block.near, lateral[1] - lateral[0])):
        if face is None or not face.in_photo(0.0, 1.0):
            continue
        face.glass()
        count = int(length / pitch)
        span = abs(face.at(1.0, 0.0)[0] - face.at(0.0, 0.0)[0])
        count = max(1, min(count, max(2, span // 3)))
        for i in range(count + 1):
            a = i / count
            if not face.in_photo(a - 0.2 / count, a + 0.2 / count):
                continue
            face.quad(a - 0.2 / count, 0.0, a + 0.2 / count, 1.0, color)
        for b in rails:
            face.quad(0.0, b - 0.035, 1.0, b + 0.035, shaded(color, 0.9))


def paint_hedge(canvas: Canvas, dice: Dice, lights: Lights, lateral: Reach, reach: Reach) -> None:
    """A clipped hedge."""
    color = dice.jitter((66, 96, 46), 16)
    block = Block(canvas, VEGETATION, lateral, (0.0, dice.uniform(1.2, 2.4)), reach, lights, (0.22, 0.22))
    block.fill(color)
    for face in (block.side, block.near):
        if face is not None:
            face.quad(0.0, 0.0, 1.0, 0.25, shaded(color, 0.7))
            face.quad(0.0, 0.88, 1.0, 1.0, shaded(color, 1.2))


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
