"""From the map of parts to a photo by daylight, with what the weather needs to know."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from promptseg.data.streets.canvas import SKY, Camera, Canvas, Dice, Floats, Lamp

FARTHEST = 400.0
"""Depth in metres given to the sky."""
GRAIN = 64
"""Side of the table of random numbers that ground textures repeat after."""


@dataclass
class Photo:
    """A scene before the weather.

    `color` and `glow` (light sent out at night) are (H, W, 3) 0..255; `depth` and `across` (camera x) are (H, W) in
    metres; `flat` marks the ground; `classes` and `things` (instance, 0 = none) are the labels.
    """

    color: Floats
    glow: Floats
    depth: Floats
    flat: NDArray[np.bool_]
    classes: NDArray[np.uint8]
    things: NDArray[np.int32]
    lamps: list[Lamp]
    across: Floats


def rgb(r: float, g: float, b: float) -> Floats:
    """A colour as (3,) float32."""
    return np.array((r, g, b), dtype=np.float32)


def smooth_noise(dice: Dice, height: int, width: int, cells: int) -> Floats:
    """Bilinear noise in [-1, 1], (H, W), about `cells` lumps across the width."""
    rows = max(2, cells * height // width)
    grid = dice.field(rows + 1, cells + 1) * np.float32(2.0) - np.float32(1.0)
    y = np.arange(height, dtype=np.float32) * np.float32(rows / height)
    x = np.arange(width, dtype=np.float32) * np.float32(cells / width)
    i, j = y.astype(np.intp), x.astype(np.intp)
    fy, fx = (y - i.astype(np.float32))[:, None], x - j.astype(np.float32)
    across = grid[:, j] + (grid[:, j + 1] - grid[:, j]) * fx
    noise: Floats = across[i] + (across[i + 1] - across[i]) * fy
    return noise


def develop(canvas: Canvas, dice: Dice) -> Photo:
    """Look up colour, glow, depth and labels of every pixel and add texture, shadows and clouds."""
    camera = canvas.camera
    h, w = camera.height, camera.width
    parts = canvas.parts()
    seen = canvas.seen_parts(parts)
    owner = np.array(canvas.part_surface, dtype=np.int32)
    rows = np.array([row[2:7] for row in canvas.surface_rows], dtype=np.float32)
    flags = np.array([(row[0], row[1], row[7]) for row in canvas.surface_rows], dtype=np.int32)
    surface, label = owner[seen], owner[parts]
    u, v = np.arange(w, dtype=np.float32), np.arange(h, dtype=np.float32)[:, None]
    table = rows[surface]
    inverse = table[..., 0] + table[..., 1] * u + table[..., 2] * v
    depth = np.float32(1.0) / np.clip(inverse, np.float32(1.0 / FARTHEST), np.float32(0.7))
    flat = flags[surface, 2] != 0
    color = np.array(canvas.part_color, dtype=np.float32)[seen]
    across = (u - np.float32(0.5 * w)) * depth / np.float32(camera.focal)
    coarse = smooth_noise(dice, h, w, 14) + np.float32(0.6) * smooth_noise(dice, h, w, 48)
    fine = dice.field(h, w) * np.float32(2.0) - np.float32(1.0)
    fine = np.where(flat, _ground_grain(dice, across, depth), fine)
    light = np.float32(1.0) + fine * table[..., 3] + coarse * table[..., 4]
    light *= np.where(
        flat, np.float32(1.0) - canvas.shadows().astype(np.float32) * np.float32(0.45 / 110), np.float32(1.0)
    )
    color *= light[..., None]
    _paint_clouds(color, flags[surface, 0] == SKY, dice, camera)
    return Photo(
        color=color,
        glow=np.array(canvas.part_glow, dtype=np.float32)[seen],
        depth=depth,
        flat=flat,
        classes=flags[label, 0].astype(np.uint8),
        things=flags[label, 1],
        lamps=[lamp for lamp in canvas.lamps if _is_seen(lamp, seen)],
        across=across,
    )


def _is_seen(lamp: Lamp, parts: NDArray[np.int32]) -> bool:
    u, v = lamp.at
    h, w = parts.shape
    u0, v0 = max(0, min(w - 1, u)), max(0, min(h - 1, v))
    return (
        abs(u0 - u) < w // 8
        and v0 - v < h // 2
        and bool((parts[max(0, v0 - 1) : v0 + 2, max(0, u0 - 1) : u0 + 2] == lamp.part).any() or v < 0)
    )


def _ground_grain(dice: Dice, across: Floats, depth: Floats) -> Floats:
    """Noise fixed to the ground in cells of 0.25 x 0.5 m."""
    table = dice.field(GRAIN, GRAIN) * np.float32(2.0) - np.float32(1.0)
    i = (across * np.float32(4.0) + np.float32(4096.0)).astype(np.int32) & (GRAIN - 1)
    j = (depth * np.float32(2.0)).astype(np.int32) & (GRAIN - 1)
    grain: Floats = table[j, i]
    return grain


def _paint_clouds(color: Floats, sky: NDArray[np.bool_], dice: Dice, camera: Camera) -> None:
    """Lighter towards the horizon, with clouds."""
    h, w = sky.shape
    rise = np.arange(h, dtype=np.float32)[:, None] / np.float32(camera.horizon)
    cover, strength = dice.uniform(-0.3, 0.5), dice.uniform(0.2, 0.8)
    noise = smooth_noise(dice, h, w, 6) + np.float32(0.5) * smooth_noise(dice, h, w, 16)
    cloud = np.clip((noise + np.float32(cover)) * np.float32(1.5), 0.0, 1.0) * np.float32(strength)
    haze = np.clip(cloud + np.float32(0.5) * rise, 0.0, 1.0)[..., None]
    white = np.array((236.0, 238.0, 240.0), dtype=np.float32)
    np.copyto(color, color + (white - color) * haze, where=sky[..., None])
