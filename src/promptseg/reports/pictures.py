"""Label maps as pictures: pure functions on uint8 arrays, and the writers of their files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from promptseg.errors import PromptsegError
from promptseg.files import atomic_path
from promptseg.label_space import IGNORE, Color

Picture = NDArray[np.uint8]
"""(H, W, 3) uint8 RGB."""

UNLABELLED: Color = (0, 0, 0)
"""Colour of ignored pixels."""


def palette(colors: Sequence[Color]) -> NDArray[np.uint8]:
    """All 256 label colours, (256, 3) uint8: classes first, every other id as `UNLABELLED`."""
    table = np.full((256, 3), UNLABELLED, np.uint8)
    table[: len(colors)] = np.asarray(colors, np.uint8).reshape(-1, 3)
    return table


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


def write_labels(path: Path, labels: NDArray[np.uint8], colors: Sequence[Color]) -> None:
    """Write a label map atomically as a palette PNG: the values are the ids, viewers show the colours."""
    image = Image.fromarray(labels)
    image.putpalette(palette(colors).tobytes())
    with atomic_path(path) as temporary:
        image.save(temporary, format="PNG")
