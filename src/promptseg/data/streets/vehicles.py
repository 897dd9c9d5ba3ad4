"""Cars, trucks, buses and trams as boxes with details."""

from promptseg.data.streets.canvas import BUS, CAR, TRAIN, TRUCK, Canvas, Color, Dice, Lamp
from promptseg.data.streets.solids import Block, Face, Lights

CAR_COLORS: tuple[Color, ...] = (
    (200, 202, 205), (150, 153, 158), (40, 42, 48), (22, 22, 26), (235, 236, 238), (140, 25, 28), (30, 50, 110),
    (60, 90, 140), (50, 75, 55), (170, 150, 110), (95, 30, 40), (110, 115, 120),
)  # fmt: skip
BUS_COLORS: tuple[Color, ...] = ((190, 40, 35), (225, 190, 40), (40, 90, 160), (230, 230, 225), (60, 130, 80))
TRAM_COLORS: tuple[Color, ...] = ((205, 60, 40), (230, 225, 205), (70, 120, 90), (60, 80, 150), (240, 200, 60))
CARGO_COLORS: tuple[Color, ...] = ((225, 225, 220), (180, 180, 175), (60, 80, 130), (170, 60, 45), (70, 110, 70))
GLASS: Color = (48, 58, 68)
TIRE: Color = (22, 22, 24)
HEAD: Color = (255, 244, 205)
TAIL: Color = (235, 40, 30)


class Stand:
    """Where a vehicle stands: middle offset `s`, near end `z`, seen from behind, from the front or from the side."""

    def __init__(self, canvas: Canvas, lights: Lights, s: float, z: float, view: str) -> None:
        self.canvas, self.lights, self.s, self.z, self.view = canvas, lights, s, z, view
        self.thing = canvas.new_thing()

    def block(self, class_id: int, width: float, along: tuple[float, float], span: tuple[float, float]) -> Block:
        """A box `width` metres wide; `along` is where it (starts, ends) in metres from the near or left end."""
        if self.view == "side":
            lateral = (self.s + along[0], self.s + along[1])
            reach = (self.z + 1.0 - 0.5 * width, self.z + 1.0 + 0.5 * width)
        else:
            lateral = (self.s - 0.5 * width, self.s + 0.5 * width)
            reach = (self.z + along[0], self.z + along[1])
        return Block(self.canvas, class_id, lateral, span, reach, self.lights, (0.02, 0.05), self.thing)

    def faces(self, block: Block) -> tuple[Face | None, Face | None]:
        """The (end, flank) faces that are seen of a block."""
        return (block.side, block.near) if self.view == "side" else (block.near, block.side)

    def shadow(self, width: float, length: float) -> None:
        """Dark ground below."""
        at, half = self.canvas.camera.pixel, 0.5 * width + 0.15
        s0, s1, z0, z1 = self.s - half, self.s + half, self.z - 0.35, self.z + length
        if self.view == "side":
            s0, s1, z0, z1 = self.s - 0.2, self.s + length + 0.2, self.z + 0.7 - half, self.z + 1.0 + half
        self.canvas.shade([at(s0, 0, z0), at(s1, 0, z0), at(s1, 0, z1), at(s0, 0, z1)])

    def beam(self, end: Face, a: float, b: float, ra: float, rb: float) -> None:
        """A head or tail light, lit at night."""
        front = self.view == "front"
        color = HEAD if front else TAIL
        dull: Color = (225, 225, 215) if front else (150, 30, 26)
        part = end.quad(a - ra, b - rb, a + ra, b + rb, dull, color)
        k = self.canvas.camera.scale(self.z)
        place = (self.canvas.camera.across(self.s, self.z), self.z - (2.0 if front else 0.6))
        radius, reach = (0.55 * k, 3.0) if front else (0.3 * k, 0.8)
        self.canvas.lamps.append(Lamp(part, end.at(a, b), radius, color, place, reach))


def _wheels(flank: Face | None, at: tuple[float, ...], length: float, span: tuple[float, float], radius: float) -> None:
    """Wheels that touch the ground, on a flank from span[0] to span[1] metres above it."""
    if flank is not None:
        tall = span[1] - span[0]
        b = (radius - span[0]) / tall
        for a in at:
            flank.wheel(a, b, radius / length, radius / tall, TIRE)
            flank.wheel(a, b, 0.5 * radius / length, 0.5 * radius / tall, (120, 120, 122))


def paint_car(dice: Dice, stand: Stand) -> None:
    """A car, estate car or van."""
    color = dice.jitter(dice.pick(CAR_COLORS), 15)
    length, width = dice.uniform(3.7, 4.8), dice.uniform(1.7, 1.95)
    belt, roof = dice.uniform(0.85, 1.0), dice.uniform(1.42, 1.75)
    trunk = dice.uniform(0.02, 0.18)
    nose = dice.uniform(0.66, 0.78)
    front = stand.view == "front"
    a0, a1 = (1.0 - nose, 1.0 - trunk) if front else (trunk, nose)
    stand.shadow(width, length)
    tires = stand.block(CAR, width - 0.1, (0.1, length - 0.1), (0.0, 0.35))
    tires.fill(TIRE)
    body = stand.block(CAR, width, (0.0, length), (0.3, belt))
    body.fill(color)
    cabin = stand.block(CAR, width - 0.2, (a0 * length, a1 * length), (belt, roof))
    cabin_end, cabin_flank = stand.faces(cabin)
    if cabin_flank is not None:
        cabin_flank.polygon(((0, 0), (0.14, 1), (0.8, 1), (1, 0)), color)
        for b0, b1 in ((0.08, 0.46), (0.5, 0.9)):
            cabin_flank.polygon(((b0, 0.05), (max(b0, 0.18), 0.85), (min(b1, 0.78), 0.85), (b1, 0.05)), GLASS)
    if cabin_end is not None:
        cabin_end.polygon(((0, 0), (0.08, 1), (0.92, 1), (1, 0)), color)
        cabin_end.polygon(((0.06, 0.08), (0.14, 0.86), (0.86, 0.86), (0.94, 0.08)), GLASS)
    end, flank = stand.faces(body)
    if stand.view != "side":
        body.near.fill(color)
    _wheels(flank, (0.19, 0.81), length, (0.3, belt), 0.33)
    if end is not None:
        end.quad(0.0, 0.0, 1.0, 0.22, (45, 46, 50))
        if stand.view != "side":
            end.quad(0.37, 0.3, 0.63, 0.5, (225, 225, 215))
            for a in (0.12, 0.88):
                stand.beam(end, a, 0.72, 0.1, 0.16)


def paint_bus(dice: Dice, stand: Stand) -> None:
    """A city bus."""
    color = dice.jitter(dice.pick(BUS_COLORS), 18)
    length, height, width = dice.uniform(9.0, 12.0), dice.uniform(2.9, 3.3), 2.5
    stand.shadow(width, length)
    stand.block(BUS, width - 0.2, (0.2, length - 0.2), (0.0, 0.4)).fill(TIRE)
    body = stand.block(BUS, width, (0.0, length), (0.3, height))
    body.fill(color)
    end, flank = stand.faces(body)
    if flank is not None:
        flank.quad(0.0, 0.0, 1.0, 0.1, (60, 60, 64))
        flank.quad(0.02, 0.45, 0.98, 0.85, GLASS, (70, 66, 48))
        for i in range(1, 7):
            flank.quad(i / 7 - 0.008, 0.42, i / 7 + 0.008, 0.86, color)
        for a in (0.3, 0.65):
            flank.quad(a, 0.06, a + 0.09, 0.84, (70, 82, 92), (70, 66, 48))
        _wheels(flank, (0.2, 0.78), length, (0.3, height), 0.5)
    if end is not None:
        low = 0.36 if stand.view == "front" else 0.5
        end.quad(0.07, low, 0.93, 0.84, GLASS, (60, 56, 42))
        end.quad(0.2, 0.87, 0.8, 0.97, (20, 20, 20), (255, 150, 30))
        end.quad(0.0, 0.0, 1.0, 0.08, (50, 50, 54))
        if stand.view != "side":
            for a in (0.12, 0.88):
                stand.beam(end, a, 0.18, 0.07, 0.04)


def paint_truck(dice: Dice, stand: Stand) -> None:
    """A lorry: a cab and a box, tarpaulin or flatbed."""
    cargo, cab = dice.jitter(dice.pick(CARGO_COLORS), 18), dice.jitter(dice.pick(CAR_COLORS), 18)
    length, height, width = dice.uniform(6.5, 10.0), dice.uniform(2.9, 3.7), 2.4
    stand.shadow(width, length)
    front = stand.view == "front"
    cab_along = (0.0, 2.0) if front else (length - 2.0, length)
    box_along = (2.3, length) if front else (0.0, length - 2.3)
    stand.block(TRUCK, width - 0.4, (0.3, length - 0.3), (0.1, 0.9)).fill((38, 38, 42))

    def paint_box() -> None:
        box = stand.block(TRUCK, width, box_along, (0.9, height))
        box.fill(cargo)
        end, flank = stand.faces(box)
        if flank is not None:
            flank.quad(0.0, 0.0, 1.0, 0.06, (70, 70, 74))
            if dice.chance(0.6):
                flank.quad(0.2, 0.35, 0.8, 0.7, dice.pick(CARGO_COLORS))
            for i in range(1, 5):
                flank.quad(i / 5, 0.0, i / 5 + 0.012, 1.0, (90, 90, 92))
        if end is not None and not front:
            end.quad(0.48, 0.0, 0.52, 1.0, (80, 80, 82))
            end.quad(0.0, 0.0, 1.0, 0.05, (90, 40, 35))

    def paint_cab() -> None:
        block = stand.block(TRUCK, width - 0.1, cab_along, (0.5, 2.7))
        block.fill(cab)
        end, flank = stand.faces(block)
        if flank is not None:
            flank.quad(0.25, 0.5, 0.85, 0.9, GLASS)
        if end is not None and front:
            end.quad(0.06, 0.48, 0.94, 0.9, GLASS)
            end.quad(0.2, 0.12, 0.8, 0.4, (50, 50, 54))
            for a in (0.12, 0.88):
                stand.beam(end, a, 0.12, 0.08, 0.06)

    steps = (paint_box, paint_cab) if front or stand.view == "side" else (paint_cab, paint_box)
    for step in steps:
        step()
    low = stand.block(TRUCK, width - 0.1, (0.0, length), (0.0, 0.9))
    _, flank = stand.faces(low)
    _wheels(flank, (0.1, 0.24, 0.85), length, (0.0, 0.9), 0.48)
    if not front and stand.view != "side":
        low.near.quad(0.0, 0.5, 1.0, 0.8, (50, 50, 54))
        for a in (0.08, 0.92):
            low.near.quad(a - 0.08, 0.0, a + 0.08, 0.5, TIRE)
            stand.beam(low.near, a, 0.65, 0.07, 0.12)


def paint_tram(dice: Dice, stand: Stand) -> None:
    """A tram of two cars with a stripe, a round nose and a pantograph."""
    color, second = dice.jitter(dice.pick(TRAM_COLORS), 18), dice.jitter(dice.pick(TRAM_COLORS), 18)
    height, width, car = dice.uniform(3.3, 3.7), 2.5, dice.uniform(11.0, 14.0)
    stand.shadow(width, 2 * car)
    stand.block(TRAIN, 1.5, (0.3, 6.0), (height, height + 0.35)).fill((96, 98, 102))
    for start in (car + 0.4, 0.0):
        stand.block(TRAIN, width - 0.3, (start, start + car), (0.0, 0.5)).fill((40, 40, 44))
        body = stand.block(TRAIN, width, (start, start + car), (0.35, height))
        body.fill(color)
        end, flank = stand.faces(body)
        if flank is not None:
            flank.quad(0.0, 0.0, 1.0, 0.28, second)
            flank.quad(0.0, 0.94, 1.0, 1.0, (110, 110, 112))
            flank.quad(0.02, 0.42, 0.98, 0.82, GLASS, (88, 84, 64))
            for i in range(1, 9):
                flank.quad(i / 9 - 0.01, 0.4, i / 9 + 0.01, 0.84, color)
            for a in (0.2, 0.7):
                flank.quad(a, 0.06, a + 0.1, 0.84, (190, 190, 190))
                flank.quad(a + 0.02, 0.3, a + 0.08, 0.8, GLASS, (88, 84, 64))
        if end is not None and start == 0.0:
            end.quad(0.0, 0.0, 1.0, 0.26, second)
            end.polygon(((0.06, 0.4), (0.14, 0.84), (0.86, 0.84), (0.94, 0.4)), GLASS, (40, 38, 30))
            end.quad(0.3, 0.87, 0.7, 0.96, (20, 20, 20), (255, 170, 40))
            if stand.view != "side":
                for a in (0.15, 0.85):
                    stand.beam(end, a, 0.14, 0.06, 0.035)
