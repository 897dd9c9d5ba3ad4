"""Night: little light from the sky, much from lamps."""

import numpy as np

from promptseg.data.streets.classes import SKY
from promptseg.data.streets.dice import Dice, Floats
from promptseg.data.streets.photo import Photo, rgb

F = np.float32


def night(photo: Photo, dice: Dice) -> Floats:
    """Dim bluish light, pools below street lamps, own headlights, lit windows, halos and noise."""
    across, ahead = photo.across, photo.depth
    ambient = dice.uniform(0.15, 0.25)
    light = np.empty_like(photo.color)
    light[:] = rgb(0.82, 0.92, 1.2) * F(ambient)
    side = across / (F(2.5) + F(0.22) * ahead)
    beam = F(dice.uniform(0.25, 0.5)) / (F(1.0) + side * side) / (F(1.0) + ahead * ahead * F(1.0 / 500.0))
    light += beam[..., None] * rgb(1.0, 0.95, 0.8)
    for lamp in photo.lamps:
        if lamp.reach > 5.0:
            dx, dz = across - F(lamp.place[0]), ahead - F(lamp.place[1])
            pool = F(0.45) / (F(1.0) + (dx * dx + dz * dz) * F(1.0 / (lamp.reach * lamp.reach)))
            light += pool[..., None] * rgb(*lamp.color) * F(1.0 / 255.0)
    sky = (photo.classes == SKY)[..., None]
    dark = rgb(dice.uniform(18.0, 34.0), dice.uniform(20.0, 34.0), dice.uniform(34.0, 54.0))
    color = np.where(sky, dark + photo.color * F(0.05), photo.color * light)
    color = np.maximum(color, photo.glow * F(0.95))
    for lamp in photo.lamps:
        _halo(color, lamp.at, max(2.0, lamp.radius), rgb(*lamp.color))
    noise = dice.field(*photo.color.shape) - F(0.5)
    exposed: Floats = color * F(dice.uniform(0.9, 1.1)) + noise * F(dice.uniform(10.0, 24.0))
    return exposed


def _halo(color: Floats, at: tuple[int, int], radius: float, light: Floats) -> None:
    h, w = color.shape[:2]
    r = int(2.5 * radius) + 1
    u, v = at
    left, right, top, low = max(0, u - r), min(w, u + r + 1), max(0, v - r), min(h, v + r + 1)
    if left >= right or top >= low:
        return
    x = np.arange(left - u, right - u, dtype=np.float32)
    y = np.arange(top - v, low - v, dtype=np.float32)[:, None]
    square = (x * x + y * y) * F(1.0 / (radius * radius))
    strength = np.clip(F(0.7) / (F(1.0) + F(4.0) * square) - F(0.7 / 26.0), 0.0, 1.0)
    color[top:low, left:right] += strength[..., None] * light
