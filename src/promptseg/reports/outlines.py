"""Regions on a photo that a person can tell apart: tinted, outlined, and labelled or marked."""

from collections.abc import Sequence
from math import ceil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import binary_erosion, distance_transform_edt

from promptseg.data.images import resize_labels
from promptseg.files import atomic_path
from promptseg.label_space import IGNORE, Color, LabelSpace
from promptseg.models.capabilities import ObjectPrompt
from promptseg.reports.pictures import INK, PAPER, Picture, legend, overlay, stack
from promptseg.tasks.base import Drawing, Region
from promptseg.tasks.instances import window

READABLE_WIDTH = 960
"""Smaller photos are enlarged to about this width, pixels: labels need room."""
_OPACITY, _PAD = 0.4, 2

Box = tuple[float, float, float, float]


def drawn(photo: Picture, drawing: Drawing, label_space: LabelSpace) -> Picture:
    """A photo (h, w, 3) with an answer: tinted by its label map over a legend, or with its regions outlined.

    The answer may be of the photo before it was shrunk.
    """
    if drawing.labels is not None:
        labels = resize_labels(drawing.labels, (photo.shape[0], photo.shape[1]))
        return labelled_overlay(photo, labels, label_space.names, label_space.colors)
    return outlined(photo, drawing.regions)


def labelled_overlay(
    photo: Picture, labels: NDArray[np.uint8], names: tuple[str, ...], colors: tuple[Color, ...]
) -> Picture:
    """The photo under its label colours, with a legend of the classes that occur below it."""
    seen = [i for i in range(len(names)) if (labels == i).any()]
    width = photo.shape[1]
    strip = legend([names[i] for i in seen], [colors[i] for i in seen], max(width, 160), max(13, width // 70))
    return stack([overlay(photo, labels, colors), strip])


def outlined(photo: Picture, regions: Sequence[Region], width: int = READABLE_WIDTH) -> Picture:
    """The photo with its regions, the first ones on top; enlarged by a whole factor if it is narrower than `width`."""
    factor = max(1, ceil(width / photo.shape[1]))
    size = (photo.shape[1] * factor, photo.shape[0] * factor)
    canvas = np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.BICUBIC)).astype(np.float32)
    masks = [_resized(region.mask(), size) for region in regions]
    for region, mask in reversed(list(zip(regions, masks, strict=True))):
        place = window(mask)  # of hundreds of regions on a large photo most are small
        part, inside = canvas[place], mask[place]
        part[inside] = (1 - _OPACITY) * part[inside] + _OPACITY * np.array(region.color, np.float32)
        part[inside & ~binary_erosion(inside, iterations=max(2, size[0] // 600))] = region.color
    picture = Image.fromarray(np.rint(canvas).astype(np.uint8))
    draw, taken = ImageDraw.Draw(picture), list[Box]()
    for region, mask in zip(regions, masks, strict=True):
        if mask.any():
            taken.append(_label(draw, region, mask, taken))
    return np.asarray(picture)


def _resized(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    grey = Image.fromarray(mask.astype(np.uint8) * 255)
    resized: NDArray[np.bool_] = np.asarray(grey.resize(size, Image.Resampling.BILINEAR)) >= 128
    return resized


def _label(draw: ImageDraw.ImageDraw, region: Region, mask: NDArray[np.bool_], taken: Sequence[Box]) -> Box:
    """Write the region's text where the mask is widest, or the nearest free line below or above; returns its box."""
    height = max(13, draw.im.size[0] // 80)
    font = ImageFont.load_default(height)
    rows, columns = window(mask)
    # The border of the picture ends a mask as well.
    depth = distance_transform_edt(np.pad(mask[rows, columns], 1))[1:-1, 1:-1]
    y, x = np.add(np.unravel_index(depth.argmax(), depth.shape), (rows.start, columns.start))
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


OBJECT: Color = (255, 0, 200)
ON: Color = (0, 230, 60)
OFF: Color = (230, 0, 30)


def write_mask(path: Path, mask: NDArray[np.bool_]) -> None:
    """Write a mask (H, W) atomically as a grey PNG: 255 is the object, 0 is not."""
    with atomic_path(path) as temporary:
        Image.fromarray(mask.astype(np.uint8) * 255).save(temporary, format="PNG")


def marked_overlay(photo: Picture, mask: NDArray[np.bool_], prompt: ObjectPrompt) -> Picture:
    """The photo (H, W, 3) with the object tinted and everything that pointed at it drawn, its words below."""
    tinted = Image.fromarray(overlay(photo, np.where(mask, 0, IGNORE).astype(np.uint8), (OBJECT,)))
    pen, reach = ImageDraw.Draw(tinted), max(2, max(photo.shape) // 150)
    width = max(1, reach // 2)
    for box in prompt.boxes:
        pen.rectangle(box, outline=ON, width=width)
    for stroke in prompt.strokes:
        pen.line(list(stroke), fill=ON, width=2 * width)
    for color, places in ((ON, prompt.points), (OFF, prompt.negative)):
        for x, y in places:
            pen.ellipse((x - reach, y - reach, x + reach, y + reach), fill=color, outline="white")
    picture: Picture = np.asarray(tinted)
    if prompt.text is None:
        return picture
    strip = legend([prompt.text], [OBJECT], max(photo.shape[1], 160), max(13, photo.shape[1] // 70))
    return stack([picture, strip])
