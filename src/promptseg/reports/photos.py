"""What prompts say about a photo: its label map, its overlay and its class shares."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from promptseg.data.formats.classes_json import default_colors
from promptseg.data.images import read_image
from promptseg.data.label_space import Color
from promptseg.engine.predict import predict
from promptseg.errors import PromptsegError
from promptseg.models.base import PromptableSegmenter
from promptseg.prompts import Prompts
from promptseg.reports.layout import legend, stack
from promptseg.reports.pictures import Picture, overlay, write_labels, write_picture


def class_colors(prompts: Prompts) -> tuple[Color, ...]:
    """Colours of the classes: those of the label space in the prompts' record, else `default_colors`."""
    count = len(prompts.class_names)
    space = prompts.record.get("label_space")
    if space is None:
        return default_colors(count)
    try:
        red_green_blue = np.array([entry["color"] for entry in space["classes"]])
        fits = red_green_blue.shape == (count, 3) and ((red_green_blue >= 0) & (red_green_blue <= 255)).all()
    except (KeyError, TypeError, ValueError):
        fits = False
    if not fits:
        raise PromptsegError(f"the record's label_space has no RGB color for each of the {count} classes: fit again")
    return tuple((int(r), int(g), int(b)) for r, g, b in red_green_blue)


def class_shares(labels: NDArray[np.uint8], names: tuple[str, ...]) -> dict[str, float]:
    """Share of the pixels of a label map (H, W) for each class that occurs, largest first; they add up to 1."""
    counts = np.bincount(labels.ravel(), minlength=len(names))
    order = np.argsort(-counts, kind="stable")
    return {names[i]: float(counts[i] / labels.size) for i in order if counts[i]}


def labelled_overlay(
    photo: Picture, labels: NDArray[np.uint8], names: tuple[str, ...], colors: tuple[Color, ...]
) -> Picture:
    """The photo under its label colours, with a legend of the classes that occur below it."""
    seen = [i for i in range(len(names)) if (labels == i).any()]
    width = photo.shape[1]
    strip = legend([names[i] for i in seen], [colors[i] for i in seen], max(width, 160), max(13, width // 70))
    return stack([overlay(photo, labels, colors), strip])


def label_photo(
    model: PromptableSegmenter,
    prompts: Prompts,
    photo_path: Path,
    colors: tuple[Color, ...],
    labels_path: Path,
    overlay_path: Path,
) -> dict[str, float]:
    """Label a photo, write its label map and its overlay, and return its class shares.

    Raises:
        PromptsegError: the photo cannot be read.
    """
    photo = read_image(photo_path)
    labels = predict(model, prompts, photo)
    write_labels(labels_path, labels, colors)
    write_picture(overlay_path, labelled_overlay(photo, labels, prompts.class_names, colors))
    return class_shares(labels, prompts.class_names)
