"""Persons on foot, riders, bicycles and motorcycles as upright cut-outs."""

from promptseg.data.streets.canvas import BICYCLE, MOTORCYCLE, PERSON, RIDER, Canvas, Color, Dice, Lamp
from promptseg.data.streets.solids import CutOut, shaded

SKIN: tuple[Color, ...] = ((222, 180, 150), (198, 150, 118), (150, 105, 75), (96, 64, 48))
HAIR: tuple[Color, ...] = ((30, 24, 20), (70, 48, 30), (120, 90, 50), (150, 145, 140))
CLOTHES: tuple[Color, ...] = (
    (40, 44, 60), (30, 30, 32), (150, 40, 45), (60, 90, 140), (200, 195, 185), (90, 100, 60), (130, 90, 60),
    (180, 150, 60), (110, 60, 110), (70, 120, 120), (215, 120, 60), (120, 122, 128),
)  # fmt: skip
TROUSERS: tuple[Color, ...] = ((35, 38, 55), (50, 60, 90), (28, 28, 30), (110, 100, 80), (90, 92, 98), (70, 55, 45))
FRAMES: tuple[Color, ...] = ((150, 30, 30), (30, 60, 130), (25, 25, 28), (190, 190, 190), (40, 110, 60), (200, 120, 30))


def _ground_shadow(canvas: Canvas, s: float, z: float, half: float) -> None:
    at = canvas.camera.pixel
    canvas.shade(
        [at(s - half, 0, z - 0.15), at(s + half, 0, z - 0.15), at(s + half, 0, z + 0.5), at(s - half, 0, z + 0.5)]
    )


def paint_person(canvas: Canvas, dice: Dice, s: float, z: float) -> None:
    """Someone standing or walking."""
    _ground_shadow(canvas, s, z, 0.3)
    size = dice.uniform(0.9, 1.08) if dice.chance(0.85) else dice.uniform(0.6, 0.8)
    shape = CutOut(canvas, PERSON, s, z, (0.05, 0.05), canvas.new_thing(), dice.pick((1.0, -1.0)) * size)
    top, legs, skin = dice.jitter(dice.pick(CLOTHES), 20), dice.jitter(dice.pick(TROUSERS), 12), dice.pick(SKIN)
    stride, wide = dice.uniform(0.0, 0.34), dice.uniform(0.2, 0.27)
    h = size
    shape.limb((-0.08, 0.85 * h), (-0.08 - stride, 0.03), 0.17 * h, shaded(legs, 0.8), 2)
    shape.limb((0.08, 0.85 * h), (0.1 + 0.8 * stride, 0.03), 0.18 * h, legs, 2)
    for x in (-0.08 - stride, 0.1 + 0.8 * stride):
        shape.rect(x - 0.08, 0.0, x + 0.16, 0.09, (30, 26, 24))
    swing = dice.uniform(-0.25, 0.25)
    shape.limb((-wide + 0.02, 1.38 * h), (-wide - swing, 0.85 * h), 0.12 * h, shaded(top, 0.75))
    hem = dice.uniform(0.6, 0.92) if dice.chance(0.3) else 0.86
    shape.polygon(
        ((-wide, 1.42 * h), (wide, 1.42 * h), (wide + 0.02, 0.95 * h), (wide + 0.03, hem * h), (-wide - 0.03, hem * h)),
        top,
    )
    shape.limb((wide - 0.02, 1.38 * h), (wide + swing, 0.88 * h), 0.12 * h, shaded(top, 0.85))
    if dice.chance(0.35):
        shape.rect(-wide - 0.2, 0.95 * h, -wide + 0.05, 1.38 * h, dice.pick(CLOTHES))
    shape.rect(-0.06, 1.4 * h, 0.06, 1.52 * h, skin)
    shape.ellipse(0.0, 1.63 * h, 0.13, 0.15 * h, dice.pick(HAIR))
    shape.ellipse(0.03, 1.59 * h, 0.1, 0.11 * h, skin)
    if dice.chance(0.08):
        shape.polygon(((-0.7, 1.85 * h), (0.0, 2.2 * h), (0.7, 1.85 * h)), dice.pick(CLOTHES))


def _wheel(shape: CutOut, x: float, radius: float, thick: float, color: Color, hollow: bool) -> None:
    if hollow:
        ring = [(x + radius * a, radius + radius * b) for a, b in _CIRCLE]
        shape.glass(ring)
        width = max(1, int(thick * shape.scale + 0.5))
        for start, end in zip(ring, (*ring[1:], ring[0]), strict=True):
            shape.surface.line(shape.at(*start), shape.at(*end), width, color)
    else:
        shape.ellipse(x, radius, radius, radius, color)
        shape.ellipse(x, radius, 0.45 * radius, 0.45 * radius, (130, 130, 132))


_CIRCLE = ((1, 0), (0.87, 0.5), (0.5, 0.87), (0, 1), (-0.5, 0.87), (-0.87, 0.5), (-1, 0), (-0.87, -0.5), (-0.5, -0.87),
           (0, -1), (0.5, -0.87), (0.87, -0.5))  # fmt: skip


def _turn(dice: Dice) -> float:
    return dice.pick((-1.0, 1.0)) * (1.0 if dice.chance(0.55) else dice.uniform(0.35, 0.8))


def _rear_light(canvas: Canvas, shape: CutOut, y: float, color: Color) -> None:
    part = shape.rect(-0.08, y - 0.07, 0.08, y + 0.07, shaded(color, 0.7), color)
    place = (canvas.camera.across(shape.s, shape.z), shape.z - 0.7)
    canvas.lamps.append(Lamp(part, shape.at(0.0, y), 0.4 * shape.scale, color, place, 0.8))


def paint_bicycle(canvas: Canvas, dice: Dice, s: float, z: float, ridden: bool) -> None:
    """A bicycle, alone or with its rider."""
    _ground_shadow(canvas, s, z, 0.6)
    turn = _turn(dice)
    shape = CutOut(canvas, BICYCLE, s, z, (0.05, 0.03), canvas.new_thing(), turn)
    frame, k = dice.jitter(dice.pick(FRAMES), 15), 0.36
    for x in (-0.55, 0.55):
        _wheel(shape, x, k, 0.08, (28, 28, 30), True)
    for start, end in (
        ((-0.55, k), (-0.2, 0.85)), ((-0.2, 0.85), (0.42, 0.85)), ((0.42, 0.95), (0.55, k)), ((-0.55, k), (-0.05, k)),
        ((-0.05, k), (0.42, 0.82)), ((-0.05, k), (-0.22, 0.95)),
    ):  # fmt: skip
        shape.limb(start, end, 0.09, frame)
    shape.limb((0.3, 1.05), (0.5, 1.05), 0.09, (30, 30, 30))
    shape.limb((-0.34, 0.97), (-0.1, 0.97), 0.1, (30, 26, 24))
    if ridden:
        _paint_rider(canvas, dice, s, z - 0.02, turn, seat=0.98, lean=0.28, helmet=dice.chance(0.5))
        if shape.scale > 6:
            _rear_light(canvas, CutOut(canvas, BICYCLE, s, z - 0.03, thing=canvas.things - 1), 0.75, (230, 40, 30))


def paint_motorcycle(canvas: Canvas, dice: Dice, s: float, z: float, ridden: bool) -> None:
    """A motorcycle or scooter, alone or with its rider."""
    _ground_shadow(canvas, s, z, 0.75)
    turn = _turn(dice)
    thing = canvas.new_thing()
    shape = CutOut(canvas, MOTORCYCLE, s, z, (0.03, 0.04), thing, turn)
    paint, dark = dice.jitter(dice.pick(FRAMES), 20), (34, 34, 38)
    for x in (-0.68, 0.68):
        _wheel(shape, x, 0.33, 0.15, (24, 24, 26), False)
    shape.polygon(((-0.5, 0.3), (0.3, 0.28), (0.36, 0.6), (-0.45, 0.62)), (80, 80, 84))
    shape.polygon(((-0.85, 0.62), (-0.8, 0.86), (-0.05, 0.82), (0.1, 0.6), (-0.4, 0.5)), dark)
    shape.polygon(((-0.1, 0.6), (-0.05, 0.95), (0.35, 1.05), (0.5, 0.9), (0.4, 0.55), (0.1, 0.45)), paint)
    shape.polygon(((-0.95, 0.66), (-0.75, 0.8), (-0.5, 0.78), (-0.6, 0.6)), paint)
    shape.limb((0.36, 1.12), (0.7, 0.33), 0.13, (140, 140, 144))
    shape.limb((0.2, 1.16), (0.42, 1.14), 0.1, dark)
    shape.polygon(((0.38, 0.85), (0.42, 1.25), (0.52, 1.05), (0.58, 0.85)), paint)
    if ridden:
        _paint_rider(canvas, dice, s, z - 0.02, turn, seat=0.88, lean=0.2, helmet=True)
    if shape.scale > 6:
        _rear_light(
            canvas,
            CutOut(canvas, MOTORCYCLE, s, z - 0.03, thing=thing),
            0.75,
            dice.pick(((230, 40, 30), (255, 240, 200))),
        )


def _paint_rider(
    canvas: Canvas, dice: Dice, s: float, z: float, turn: float, seat: float, lean: float, helmet: bool
) -> None:
    shape = CutOut(canvas, RIDER, s, z, (0.05, 0.05), canvas.new_thing(), turn)
    top, legs, skin = dice.jitter(dice.pick(CLOTHES), 20), dice.jitter(dice.pick(TROUSERS), 12), dice.pick(SKIN)
    neck = (-0.2 + lean, seat + 0.58)
    shape.limb((-0.2, seat), (0.12, seat - 0.28), 0.18, shaded(legs, 0.85), 2)
    shape.limb((0.12, seat - 0.28), (0.0, 0.3), 0.14, legs, 2)
    x, y = neck
    shape.polygon(((-0.36, seat - 0.06), (-0.02, seat - 0.08), (x + 0.17, y - 0.1), (x + 0.1, y), (x - 0.14, y)), top)
    shape.limb((neck[0] + 0.04, neck[1] - 0.1), (0.36, 1.1), 0.12, shaded(top, 0.8))
    head = (neck[0] + 0.06, neck[1] + 0.16)
    shape.ellipse(*head, 0.13, 0.16, skin)
    if helmet:
        shape.ellipse(head[0], head[1] + 0.05, 0.16, 0.14, dice.jitter(dice.pick(CLOTHES), 25))
    else:
        shape.ellipse(head[0] - 0.03, head[1] + 0.06, 0.12, 0.1, dice.pick(HAIR))
