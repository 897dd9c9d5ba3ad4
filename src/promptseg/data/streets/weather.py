"""Clear, fog, rain, snow and night as transforms of a photo that know its depth."""

from collections.abc import Callable

import numpy as np

from promptseg.data.streets.canvas import ROAD, SKY, VEGETATION, Dice, Floats
from promptseg.data.streets.photo import Photo, rgb, smooth_noise

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


def decay(x: Floats) -> Floats:
    """About exp(-x) for x >= 0 from basic arithmetic only: the same bits on every machine."""
    series = F(1.0) + x * (F(1.0) + x * (F(0.5) + x * (F(1.0 / 6.0) + x * F(1.0 / 24.0))))
    share: Floats = np.divide(F(1.0), series)
    return share


def haze(color: Floats, depth: Floats, air: Floats, visibility: float) -> Floats:
    """Koschmieder's law: light of the air replaces that of things; contrast is 5 % at `visibility` metres."""
    clear = decay(depth * F(3.0 / visibility))[..., None]
    hazy: Floats = air + (color - air) * clear
    return hazy


def grey(color: Floats, share: float) -> Floats:
    """Take away `share` of the saturation."""
    mean = (color[..., 0] * F(0.3) + color[..., 1] * F(0.59) + color[..., 2] * F(0.11))[..., None]
    faded: Floats = color + (mean - color) * F(share)
    return faded


def clear(photo: Photo, dice: Dice) -> Floats:
    """Daylight of varying strength and tint."""
    gain = dice.uniform(0.85, 1.12)
    warm = dice.uniform(-0.05, 0.05)
    return photo.color * rgb(gain + warm, gain, gain - warm)


def fog(photo: Photo, dice: Dice) -> Floats:
    """Fog of 80 to 300 m visibility."""
    tone = dice.uniform(185.0, 225.0)
    air = rgb(tone, tone + 2.0, tone + 5.0)
    return haze(grey(photo.color, 0.35) * F(0.92), photo.depth, air, dice.uniform(80.0, 300.0))


def rain(photo: Photo, dice: Dice) -> Floats:
    """A dark grey sky, a road that mirrors, haze, streaks and drops on the lens."""
    h, w = photo.depth.shape
    dim = dice.uniform(0.66, 0.85)
    tone = dice.uniform(125.0, 165.0)
    air = rgb(tone, tone + 4.0, tone + 9.0)
    color = grey(photo.color, 0.5) * F(dim)
    sky = (photo.classes == SKY)[..., None]
    color = np.where(sky, air + (color - air) * F(0.25), color)
    color = haze(color, photo.depth, air, dice.uniform(150.0, 400.0))
    color = _mirror(photo, color, dice)
    color = color + _streaks(dice, h, w)[..., None] * (rgb(190.0, 196.0, 204.0) - color)
    return _drops(color, dice)


def _mirror(photo: Photo, color: Floats, dice: Dice) -> Floats:
    """Wet ground shows what stands behind it upside down."""
    h, w = photo.depth.shape
    rows = np.arange(h, dtype=np.int32)[:, None]
    foot = np.maximum.accumulate(np.where(photo.flat, 0, rows), axis=0)
    wobble = (smooth_noise(dice, h, w, 40) * F(0.02 * h)).astype(np.int32)
    source = np.clip(2 * foot - rows + wobble, 0, h - 1)
    mirrored = color[source, np.arange(w)]
    puddle = np.clip(smooth_noise(dice, h, w, 9) * F(0.5) + F(0.5), 0.0, 1.0)
    wet = np.where(photo.classes == ROAD, F(0.62), F(0.3)) * puddle * photo.flat
    damp = color * (F(1.0) - F(0.22) * photo.flat[..., None])
    shining: Floats = damp * (F(1.0) - wet[..., None]) + mirrored * wet[..., None]
    return shining


def _streaks(dice: Dice, h: int, w: int) -> Floats:
    veil = np.zeros((h, w), dtype=np.float32)
    count = w * h * dice.integer(30, 80) // 10000
    length = max(4, h * dice.integer(6, 11) // 100)
    slant = dice.uniform(-0.35, 0.35)
    places = dice.field(count, 3)
    top, left = (places[:, 0] * F(h)).astype(np.int32), (places[:, 1] * F(w)).astype(np.int32)
    bright = places[:, 2] * F(0.24) + F(0.08)
    for i in range(length):
        y, x = top + i, left + int(slant * i + 16.0) - 16
        inside = (y < h) & (x >= 0) & (x < w)
        veil[y[inside], x[inside]] = bright[inside]
    return veil


def _drops(color: Floats, dice: Dice) -> Floats:
    """A few blurred drops: inside, the photo is seen upside down."""
    h, w = color.shape[:2]
    for _ in range(dice.integer(2, 7)):
        r = max(2, int(h * dice.uniform(0.02, 0.05)))
        v, u = dice.integer(r, h - r - 1), dice.integer(r, w - r - 1)
        y, x = np.mgrid[-r : r + 1, -r : r + 1]
        disc = (y * y + x * x <= r * r)[..., None]
        patch = color[v - r : v + r + 1, u - r : u + r + 1]
        color[v - r : v + r + 1, u - r : u + r + 1] = np.where(
            disc, (patch[::-1, ::-1] + patch + F(30.0)) * F(0.5), patch
        )
    return color


def snow(photo: Photo, dice: Dice) -> Floats:
    """Snow on the ground and on top of things, white haze and flakes."""
    h, w = photo.depth.shape
    tone = dice.uniform(190.0, 222.0)
    air = rgb(tone, tone + 2.0, tone + 6.0)
    white = rgb(226.0, 230.0, 238.0) * F(dice.uniform(0.85, 1.0))
    color = grey(photo.color, 0.3) * F(0.9)
    sky = (photo.classes == SKY)[..., None]
    color = np.where(sky, air + (color - air) * F(0.2), color)
    lumps = smooth_noise(dice, h, w, 20) * F(0.5) + smooth_noise(dice, h, w, 60) * F(0.35)
    depth_of_snow = (
        F(dice.uniform(0.25, 0.75)) - F(0.55) * (photo.classes == ROAD) - F(0.12) * (photo.classes == ROAD + 1)
    )
    cover = np.clip((lumps + depth_of_snow) * F(2.2), 0.0, F(0.92)) * photo.flat
    top = F(dice.uniform(0.4, 0.9)) * _tops(photo)
    leaves = (photo.classes == VEGETATION) * np.clip(lumps + F(0.35), 0.0, 1.0) * F(0.7)
    cover = np.maximum(np.maximum(cover, top), leaves)[..., None]
    color = color + (white - color) * cover
    color = haze(color, photo.depth, air, dice.uniform(150.0, 400.0))
    return _flakes(color, dice)


def _tops(photo: Photo) -> Floats:
    """1 where something much farther or another thing is a few pixels above: ledges that carry snow."""
    h = photo.depth.shape[0]
    step = max(1, h // 64)
    carried = np.zeros_like(photo.depth)
    for k in (1, step):
        above = photo.depth[:-k]
        carried[k:] = np.maximum(carried[k:], (above > photo.depth[k:] * F(1.3)) & ~photo.flat[k:])
    return carried


def _flakes(color: Floats, dice: Dice) -> Floats:
    h, w = color.shape[:2]
    count = w * h * dice.integer(60, 180) // 10000
    places = dice.field(count, 3)
    big = max(1, h // 100)
    for size, chosen in ((big, places), (2 * big, places[: count // 5])):
        y, x = (chosen[:, 0] * F(h - size)).astype(np.int32), (chosen[:, 1] * F(w - size)).astype(np.int32)
        strength = (chosen[:, 2] * F(0.5) + F(0.3))[:, None]
        for dy in range(size):
            for dx in range(size):
                color[y + dy, x + dx] += (F(245.0) - color[y + dy, x + dx]) * strength
    return color


CONDITIONS: dict[str, Callable[[Photo, Dice], Floats]] = {
    "clear": clear,
    "fog": fog,
    "night": night,
    "rain": rain,
    "snow": snow,
}
"""Weather by name."""
