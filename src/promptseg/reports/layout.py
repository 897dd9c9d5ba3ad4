"""Pictures put together: a legend of classes, and a grid of pictures under headers."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from promptseg.label_space import Color
from promptseg.reports.pictures import Picture

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
