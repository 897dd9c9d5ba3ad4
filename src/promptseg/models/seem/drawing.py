"""Places of a prompt as pixels, which is how SEEM takes them: a box is its area, a click a small square."""

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from promptseg.models.base import Size
from promptseg.models.capabilities import ObjectPrompt, Place

_PEN = 3
"""Width of a click or stroke, pixels: that of the kernel in SEEM's checkpoints that widens points."""


def prompt_masks(prompt: ObjectPrompt, canvas: Size) -> tuple[Tensor, Tensor]:
    """Pixels (1, H, W) of the canvas, bool: those that the prompt says are on the object, and those that are not."""
    inside = Image.new("1", (canvas[1], canvas[0]))
    outside = inside.copy()
    pen = ImageDraw.Draw(inside)
    for x0, y0, x1, y1 in prompt.boxes:
        pen.rectangle([int(x0), int(y0), int(x1), int(y1)], fill=1)
    for line in (*prompt.strokes, *((place,) for place in prompt.points)):
        _draw(pen, line)
    for place in prompt.negative:
        _draw(ImageDraw.Draw(outside), (place,))
    return _mask(inside), _mask(outside)


def _draw(pen: ImageDraw.ImageDraw, places: tuple[Place, ...]) -> None:
    """A line through places; one place alone is a dot."""
    pixels = [(int(x), int(y)) for x, y in places]
    pen.line(pixels, fill=1, width=_PEN)
    reach = _PEN // 2
    for x, y in pixels:
        pen.rectangle([x - reach, y - reach, x + reach, y + reach], fill=1)


def _mask(drawn: Image.Image) -> Tensor:
    pixels = torch.frombuffer(bytearray(drawn.convert("L").tobytes()), dtype=torch.uint8)
    return (pixels > 0).view(1, drawn.height, drawn.width)
