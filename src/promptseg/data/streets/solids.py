"""Boxes and upright cut-outs that stand on the street, in metres."""

from collections.abc import Callable, Sequence

from promptseg.data.streets.canvas import DARK, NEAREST, Canvas, Color, Pixel, Surface

Point = tuple[float, float]
Lights = tuple[float, float, float]
"""Brightness of the (left, near, right) faces of boxes."""


def shaded(color: Color, factor: float) -> Color:
    """`color` made darker or lighter."""
    r, g, b = color
    return min(255, int(r * factor)), min(255, int(g * factor)), min(255, int(b * factor))


class Face:
    """One upright or flat side of a box; (a, b) in [0, 1] run along and up."""

    def __init__(self, surface: Surface, at: Callable[[float, float], Pixel], light: float) -> None:
        self.surface = surface
        self._at = at
        self._light = light

    def polygon(self, points: Sequence[Point], color: Color, glow: Color = DARK) -> int:
        """Fill a polygon given in (a, b)."""
        return self.surface.polygon([self._at(a, b) for a, b in points], shaded(color, self._light), glow)

    def quad(self, a0: float, b0: float, a1: float, b1: float, color: Color, glow: Color = DARK) -> int:
        """Fill the rectangle between (a0, b0) and (a1, b1)."""
        return self.polygon(((a0, b0), (a1, b0), (a1, b1), (a0, b1)), color, glow)

    def glass(self) -> None:
        """Claim the whole face, leaving the colours of what is behind."""
        self.surface.glass([self._at(a, b) for a, b in ((0, 0), (1, 0), (1, 1), (0, 1))])

    def fill(self, color: Color) -> None:
        """Fill the whole face."""
        self.quad(0.0, 0.0, 1.0, 1.0, color)

    def wheel(self, a: float, b: float, ra: float, rb: float, color: Color) -> None:
        """An octagon around (a, b)."""
        p, q = 0.41 * ra, 0.41 * rb
        corners = ((-ra, -q), (-p, -rb), (p, -rb), (ra, -q), (ra, q), (p, rb), (-p, rb), (-ra, q))
        self.polygon([(a + da, b + db) for da, db in corners], color)

    def at(self, a: float, b: float) -> Pixel:
        """Pixel of a point of the face."""
        return self._at(a, b)

    def in_photo(self, a0: float, a1: float) -> bool:
        """Whether the strip between a0 and a1 overlaps the width of the photo."""
        u0, u1 = self._at(a0, 0.0)[0], self._at(a1, 0.0)[0]
        return min(u0, u1) < self.surface.canvas.camera.width and max(u0, u1) >= 0


class Block:
    """A box along the street: the `near` face, and the `side` face if the camera sees one.

    Args:
        lateral: (left, right) street offsets; `span`: (bottom, top) heights; `reach`: (near, far) distances.
        lights: brightness of the (left, near, right) faces.
    """

    def __init__(
        self,
        canvas: Canvas,
        class_id: int,
        lateral: Point,
        span: Point,
        reach: Point,
        lights: Lights,
        texture: tuple[float, float] = (0.03, 0.04),
        thing: int = 0,
    ) -> None:
        camera = canvas.camera
        (left, right), (low, high) = lateral, span
        z0, z1 = max(reach[0], NEAREST), max(reach[1], NEAREST + 0.1)

        def rise(b: float) -> float:
            return low + (high - low) * b

        near = canvas.surface(class_id, (1.0 / z0, 0.0, 0.0), texture, thing)
        self.near = Face(near, lambda a, b: camera.pixel(left + (right - left) * a, rise(b), z0), lights[1])
        self.side: Face | None = None
        self.top: Face | None = None
        edge, light = (left, lights[0]) if camera.across(left, z0) > 0 else (right, lights[2])
        (u0, _), (u1, _) = camera.pixel(edge, low, z0), camera.pixel(edge, low, z1)
        if (u1 < u0) if edge == left else (u1 > u0):
            b = (1.0 / z1 - 1.0 / z0) / (u1 - u0)
            side = canvas.surface(class_id, (1.0 / z0 - b * u0, b, 0.0), texture, thing)
            self.side = Face(side, lambda a, b: camera.pixel(edge, rise(b), z0 + (z1 - z0) * a), light)
        if high < camera.eye:
            self.top = Face(near, lambda a, b: camera.pixel(left + (right - left) * a, high, z0 + (z1 - z0) * b), 1.1)

    def fill(self, color: Color) -> None:
        """Paint all visible faces in one colour."""
        for face in (self.side, self.top, self.near):
            if face is not None:
                face.fill(color)


class CutOut:
    """An upright flat shape facing the camera: points in metres right of its foot and above the ground."""

    def __init__(
        self,
        canvas: Canvas,
        class_id: int,
        s: float,
        z: float,
        texture: tuple[float, float] = (0.04, 0.04),
        thing: int = 0,
        turn: float = 1.0,
    ) -> None:
        self.camera = canvas.camera
        self.s, self.z, self.turn = s, z, turn
        self.scale = canvas.camera.scale(z)
        self._foot = 0.5 * canvas.camera.width + self.scale * canvas.camera.across(s, z)
        self.surface = canvas.surface(class_id, (1.0 / z, 0.0, 0.0), texture, thing)

    def at(self, x: float, y: float) -> Pixel:
        """Pixel of a point of the shape; `turn` mirrors or narrows it."""
        u = self._foot + self.scale * self.turn * x
        v = self.camera.horizon + self.scale * (self.camera.eye - y)
        return int(u + 65536.5) - 65536, int(v + 65536.5) - 65536

    def polygon(self, points: Sequence[Point], color: Color, glow: Color = DARK) -> int:
        """Fill a polygon."""
        return self.surface.polygon([self.at(x, y) for x, y in points], color, glow)

    def rect(self, x0: float, y0: float, x1: float, y1: float, color: Color, glow: Color = DARK) -> int:
        """Fill an upright rectangle."""
        return self.polygon(((x0, y0), (x1, y0), (x1, y1), (x0, y1)), color, glow)

    def ellipse(self, x: float, y: float, rx: float, ry: float, color: Color, glow: Color = DARK) -> int:
        """Fill an ellipse around (x, y)."""
        (u0, v0), (u1, v1) = self.at(x - rx, y + ry), self.at(x + rx, y - ry)
        return self.surface.ellipse((min(u0, u1), v0, max(u0, u1), v1), color, glow)

    def limb(self, start: Point, end: Point, width: float, color: Color, thinnest: int = 1) -> None:
        """A stroke of `width` metres."""
        pixels = max(thinnest, int(width * self.scale + 0.5))
        self.surface.line(self.at(*start), self.at(*end), pixels, color)

    def glass(self, points: Sequence[Point]) -> None:
        """Claim a polygon for this shape, leaving the colours of what is behind."""
        self.surface.glass([self.at(x, y) for x, y in points])
