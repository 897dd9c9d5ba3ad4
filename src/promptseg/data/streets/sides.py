"""What borders a street: buildings, walls, fences and hedges as boxes along it."""

from promptseg.data.streets.canvas import Canvas, Color
from promptseg.data.streets.classes import BUILDING, FENCE, VEGETATION, WALL
from promptseg.data.streets.dice import Dice
from promptseg.data.streets.solids import Block, Face, shaded

FACADES: tuple[Color, ...] = (
    (186, 172, 150), (160, 92, 74), (206, 196, 178), (132, 126, 122), (176, 150, 112), (150, 160, 164),
    (196, 150, 120), (120, 92, 80), (214, 206, 200), (112, 120, 130), (170, 130, 104),
)  # fmt: skip
WALLS: tuple[Color, ...] = ((150, 146, 138), (150, 96, 78), (176, 168, 150), (124, 120, 116))
PICKETS: tuple[Color, ...] = ((110, 86, 62), (60, 70, 66), (205, 205, 200), (40, 44, 48), (128, 112, 92))
PANE: tuple[Color, ...] = ((52, 62, 74), (70, 84, 98), (38, 44, 52), (96, 112, 126))
LIT: tuple[Color, ...] = ((235, 190, 110), (225, 205, 150), (200, 160, 90), (190, 205, 215))
DARK: Color = (0, 0, 0)
Lights = tuple[float, float, float]
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
