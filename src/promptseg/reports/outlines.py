"""Regions on a photo that a person can tell apart: tinted, outlined, and labelled in their middle."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import binary_erosion, distance_transform_edt

from promptseg.label_space import Color
from promptseg.reports.layout import INK, PAPER
from promptseg.reports.pictures import Picture

READABLE_WIDTH = 960
"""Smaller photos are enlarged to about this width, pixels: labels need room."""
_OPACITY, _PAD = 0.4, 2

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Region:
    """A mask (H, W) bool with the colour and the text it is shown by."""

    mask: NDArray[np.bool_]
    color: Color
    text: str


def outlined(photo: Picture, regions: Sequence[Region], width: int = READABLE_WIDTH) -> Picture:
    """The photo with its regions, the first ones on top; enlarged by a whole factor if it is narrower than `width`."""
    factor = max(1, ceil(width / photo.shape[1]))
    size = (photo.shape[1] * factor, photo.shape[0] * factor)
    canvas = np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.BICUBIC)).astype(np.float32)
    masks = [_enlarged(region.mask, size) for region in regions]
    for region, mask in reversed(list(zip(regions, masks, strict=True))):
        canvas[mask] = (1 - _OPACITY) * canvas[mask] + _OPACITY * np.array(region.color, np.float32)
        canvas[mask & ~binary_erosion(mask, iterations=max(2, size[0] // 600))] = region.color
    picture = Image.fromarray(np.rint(canvas).astype(np.uint8))
    draw, taken = ImageDraw.Draw(picture), list[Box]()
    for region, mask in zip(regions, masks, strict=True):
        if mask.any():
            taken.append(_label(draw, region, mask, taken))
    return np.asarray(picture)


def _enlarged(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    grey = Image.fromarray(mask.astype(np.uint8) * 255)
    enlarged: NDArray[np.bool_] = np.asarray(grey.resize(size, Image.Resampling.BILINEAR)) >= 128
    return enlarged


def _label(draw: ImageDraw.ImageDraw, region: Region, mask: NDArray[np.bool_], taken: Sequence[Box]) -> Box:
    """Write the region's text where the mask is widest, or the nearest free line below or above; returns its box."""
    height = max(13, draw.im.size[0] // 80)
    font = ImageFont.load_default(height)
    # The border of the picture ends a mask as well.
    depth = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    size = (font.getlength(region.text), height)
    shifts = [0, *(sign * lines * (height + 3 * _PAD) for lines in range(1, 4) for sign in (1, -1))]
    boxes = [_box(size, (float(x), float(y) + shift), draw.im.size) for shift in shifts]
    box = next((box for box in boxes if not any(_meet(box, other) for other in taken)), boxes[0])
    draw.rectangle(box, fill=INK, outline=region.color)
    draw.text(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), region.text, fill=PAPER, font=font, anchor="mm")
    return box


def _box(text: tuple[float, float], centre: tuple[float, float], picture: tuple[int, int]) -> Box:
    """A box for a text of some width and height around a point, moved inside the picture (all x before y)."""
    half = [size / 2 + _PAD for size in text]
    x, y = (min(max(c, h), size - 1 - h) for c, h, size in zip(centre, half, picture, strict=True))
    return x - half[0], y - half[1], x + half[0], y + half[1]


def _meet(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
