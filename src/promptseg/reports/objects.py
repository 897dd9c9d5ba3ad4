"""One object as pictures: its mask, and the photo with the mask and what pointed at it."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from promptseg.files import atomic_path
from promptseg.label_space import IGNORE, Color
from promptseg.models.capabilities import ObjectPrompt
from promptseg.reports.layout import legend, stack
from promptseg.reports.pictures import Picture, overlay

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
