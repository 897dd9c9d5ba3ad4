"""Pictures as uint8 arrays: label maps and overlays, legends, grids and bars; and the writers of their files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from promptseg.data.images import palette
from promptseg.errors import PromptsegError
from promptseg.files import atomic_path
from promptseg.label_space import IGNORE, Color

Picture = NDArray[np.uint8]
"""(H, W, 3) uint8 RGB."""


def colorize(labels: NDArray[np.uint8], colors: Sequence[Color]) -> Picture:
    """Paint every pixel of a label map (H, W) in the colour of its class.

    Raises:
        PromptsegError: an id that is neither a class nor 255.
    """
    wrong = labels[(labels >= len(colors)) & (labels != IGNORE)]
    if wrong.size:
        raise PromptsegError(f"label id {int(wrong[0])}: expected 0..{len(colors) - 1} or {IGNORE} (ignored)")
    return palette(colors)[labels]


def overlay(photo: Picture, labels: NDArray[np.uint8], colors: Sequence[Color], opacity: float = 0.5) -> Picture:
    """Lay the colours of a label map over its photo; ignored pixels show the photo alone.

    Args:
        photo: (H, W, 3) uint8.
        labels: (H, W) uint8, of the same size.
        colors: colour of each class.
        opacity: share of the label colour, 0..1.
    """
    if photo.shape[:2] != labels.shape:
        raise PromptsegError(f"labels of size {labels.shape} over a photo of size {photo.shape[:2]}: sizes must match")
    share = np.where(labels == IGNORE, 0.0, opacity)[..., None]
    mixed = share * colorize(labels, colors) + (1 - share) * photo
    return np.rint(mixed).astype(np.uint8)


def write_picture(path: Path, picture: Picture) -> None:
    """Write an RGB picture atomically; the suffix of `path` names the format."""
    with atomic_path(path) as temporary:
        Image.fromarray(picture).save(temporary, quality=90)


PAPER: Color = (255, 255, 255)
INK: Color = (20, 20, 20)
_GAP = 4


def legend(names: Sequence[str], colors: Sequence[Color], width: int, font_size: int = 13) -> Picture:
    """A strip of colour swatches and class names, `width` pixels wide, as many lines as they need."""
    font = ImageFont.load_default(font_size)
    swatch, line_height = font_size, font_size + 2 * _GAP
    places: list[tuple[int, int]] = []
    x, y = _GAP, 0
    for name in names:
        entry = swatch + _GAP + int(font.getlength(name)) + 3 * _GAP
        if x + entry > width and x > _GAP:
            x, y = _GAP, y + line_height
        places.append((x, y))
        x += entry
    canvas = Image.new("RGB", (width, y + line_height), PAPER)
    draw = ImageDraw.Draw(canvas)
    for (left, top), name, color in zip(places, names, colors, strict=True):
        top += _GAP
        draw.rectangle((left, top, left + swatch - 1, top + swatch - 1), fill=color)
        draw.text((left + swatch + _GAP, top + swatch // 2), name, fill=INK, font=font, anchor="lm")
    return np.asarray(canvas)


def stack(pictures: Sequence[Picture]) -> Picture:
    """Pictures below each other, narrower ones filled up with paper on the right."""
    width = max(picture.shape[1] for picture in pictures)
    return np.concatenate([_fill(picture, width) for picture in pictures])


def grid(rows: Sequence[Sequence[Picture]], headers: Sequence[str], cell_width: int = 320) -> Picture:
    """Rows of pictures, one column per header, all shrunk or enlarged to one width.

    Args:
        rows: pictures (H, W, 3); within a row they are expected to share their aspect.
        headers: a title for each column.
        cell_width: width of every picture, pixels.
    """
    cells = [[_fit(picture, cell_width) for picture in row] for row in rows]
    gap = np.full((1, _GAP, 3), PAPER, np.uint8)
    titles = [_title(header, cell_width) for header in headers]
    lines = [_beside(titles, gap)]
    for row in cells:
        lines += [_beside(row, gap), np.full((_GAP, lines[0].shape[1], 3), PAPER, np.uint8)]
    return np.concatenate(lines[:-1])


def _beside(pictures: Sequence[Picture], gap: Picture) -> Picture:
    height = max(picture.shape[0] for picture in pictures)
    column = np.broadcast_to(gap, (height, *gap.shape[1:]))
    parts: list[Picture] = []
    for picture in pictures:
        parts += [_fill_height(picture, height), column]
    return np.concatenate(parts[:-1], axis=1)


def _title(text: str, width: int, font_size: int = 15) -> Picture:
    canvas = Image.new("RGB", (width, font_size + 2 * _GAP), PAPER)
    font = ImageFont.load_default(font_size)
    ImageDraw.Draw(canvas).text((width // 2, canvas.height // 2), text, fill=INK, font=font, anchor="mm")
    return np.asarray(canvas)


def _fit(picture: Picture, width: int) -> Picture:
    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS))


def _fill(picture: Picture, width: int) -> Picture:
    return np.pad(picture, ((0, 0), (0, width - picture.shape[1]), (0, 0)), constant_values=PAPER[0])


def _fill_height(picture: Picture, height: int) -> Picture:
    return np.pad(picture, ((0, height - picture.shape[0]), (0, 0), (0, 0)), constant_values=PAPER[0])


_BAR_LINE, _BAR_GAP, _BAR_FONT = 20, 6, 13


def bar_chart(
    names: Sequence[str],
    fractions: Sequence[float],
    colors: Sequence[Color],
    width: int = 640,
    values: Sequence[str] | None = None,
) -> Picture:
    """One horizontal bar for each name, from 0 at the left to 1 at the right, with its value behind it.

    Args:
        names: what stands before each bar, in order from the top.
        fractions: length of each bar, 0..1.
        colors: colour of each bar.
        width: of the picture, pixels.
        values: what stands behind each bar; none = the fractions.
    """
    values = [f"{fraction:.2f}" for fraction in fractions] if values is None else values
    font = ImageFont.load_default(_BAR_FONT)
    left = 2 * _BAR_GAP + int(max(font.getlength(name) for name in names))
    full = width - left - 2 * _BAR_GAP - int(max(map(font.getlength, values)))
    canvas = Image.new("RGB", (width, _BAR_LINE * len(names) + 2 * _BAR_GAP), PAPER)
    draw = ImageDraw.Draw(canvas)
    for index, (name, fraction, color, value) in enumerate(zip(names, fractions, colors, values, strict=True)):
        top = _BAR_GAP + index * _BAR_LINE
        end = left + round(full * fraction)
        draw.text((left - _BAR_GAP, top + _BAR_LINE // 2), name, fill=INK, font=font, anchor="rm")
        draw.rectangle((left, top + 2, end, top + _BAR_LINE - 3), fill=color)
        draw.text((end + _BAR_GAP, top + _BAR_LINE // 2), value, fill=INK, font=font, anchor="lm")
    return np.asarray(canvas)
