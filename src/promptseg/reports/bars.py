"""A bar chart of fractions, drawn with what the package has anyway."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from promptseg.label_space import Color
from promptseg.reports.layout import INK, PAPER
from promptseg.reports.pictures import Picture

_LINE, _GAP, _FONT_SIZE = 20, 6, 13


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
    font = ImageFont.load_default(_FONT_SIZE)
    left = 2 * _GAP + int(max(font.getlength(name) for name in names))
    full = width - left - 2 * _GAP - int(max(map(font.getlength, values)))
    canvas = Image.new("RGB", (width, _LINE * len(names) + 2 * _GAP), PAPER)
    draw = ImageDraw.Draw(canvas)
    for index, (name, fraction, color, value) in enumerate(zip(names, fractions, colors, values, strict=True)):
        top = _GAP + index * _LINE
        end = left + round(full * fraction)
        draw.text((left - _GAP, top + _LINE // 2), name, fill=INK, font=font, anchor="rm")
        draw.rectangle((left, top + 2, end, top + _LINE - 3), fill=color)
        draw.text((end + _GAP, top + _LINE // 2), value, fill=INK, font=font, anchor="lm")
    return np.asarray(canvas)
