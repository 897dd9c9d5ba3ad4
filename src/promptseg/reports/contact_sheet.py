"""A contact sheet of a data set: photos, their label maps laid over them, their objects, and a legend."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from promptseg.data.images import resize_image, resize_labels
from promptseg.data.sample import PanopticLabels, Sample
from promptseg.errors import PromptsegError
from promptseg.label_space import IGNORE, default_colors
from promptseg.reports.pictures import Picture, grid, legend, overlay, stack

_SHADES = 60
"""Colours for objects, in turn; more would look alike."""


def contact_sheet(samples: Sequence[Sample], cell_width: int = 400) -> Picture:
    """Photos in rows, each beside its classes and, where the data have them, its objects; a legend of what is seen.

    Args:
        samples: at least one, all of one label space.
        cell_width: width of every photo, pixels.

    Raises:
        PromptsegError: no samples, or a file that cannot be read.
    """
    if not samples:
        raise PromptsegError("a contact sheet of 0 photos: give at least one")
    space = samples[0].label_space
    rows: list[list[Picture]] = []
    seen = np.zeros(256, bool)
    for sample in samples:
        photo = _shrink(sample.image(), cell_width)
        labels = resize_labels(sample.semantic(), photo.shape[:2])
        seen[np.unique(labels)] = True
        objects = _objects(sample, photo.shape[:2])
        row = [photo, overlay(photo, labels, space.colors)]
        rows.append(row if objects is None else [*row, overlay(photo, objects, default_colors(_SHADES), 0.6)])
    columns = max(map(len, rows))
    blank = np.full((1, cell_width, 3), 255, np.uint8)
    rows = [row + [blank] * (columns - len(row)) for row in rows]
    sheet = grid(rows, ("photo", "classes", "objects")[:columns], cell_width)
    shown = [i for i in range(len(space)) if seen[i]]
    strip = legend([space.names[i] for i in shown], [space.colors[i] for i in shown], sheet.shape[1])
    return stack([sheet, strip])


def _shrink(photo: Picture, width: int) -> Picture:
    height = max(1, round(photo.shape[0] * width / photo.shape[1]))
    return resize_image(photo, (height, width))


def _objects(sample: Sample, size: tuple[int, int]) -> NDArray[np.uint8] | None:
    """A shade number for each object, 255 for stuff, crowds and void; None without instance labels."""
    try:
        panoptic = sample.panoptic()
    except PromptsegError:
        return None
    return resize_labels(_shades(panoptic, sample.label_space.thing_ids), size)


def _shades(panoptic: PanopticLabels, things: Sequence[int]) -> NDArray[np.uint8]:
    objects = [s.id for s in panoptic.segments if s.class_id in things and not s.is_crowd]
    ids = np.unique([0, *objects])
    shades = np.array([IGNORE, *(i % _SHADES for i in range(len(ids) - 1))], np.uint8)
    place = np.searchsorted(ids, panoptic.map).clip(max=len(ids) - 1)
    picked: NDArray[np.uint8] = np.where(ids[place] == panoptic.map, shades[place], IGNORE).astype(np.uint8)
    return picked
