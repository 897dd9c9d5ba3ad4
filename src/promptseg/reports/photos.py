"""What prompts say of photos, as files: labels for programs and overlays for people, each task in its own form."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from promptseg.data.sample import PanopticLabels
from promptseg.files import write_json
from promptseg.label_space import Color, LabelSpace, default_colors
from promptseg.reports.outlines import Region, outlined
from promptseg.reports.pictures import Picture, legend, overlay, stack, write_labels, write_picture
from promptseg.tasks.answer_files import (
    categories,
    image_entry,
    instance_entries,
    segment_entries,
    write_segment_ids,
)
from promptseg.tasks.base import Instances

OVERLAYS, LABELS, PANOPTIC = "overlays", "labels", "panoptic"
FOLDERS = (OVERLAYS, LABELS, PANOPTIC)
"""Where pictures are written; below them, nothing is taken for a photo."""
SHOWN_SCORE = 0.5
"""Objects less sure than this are in the JSON, but not in the overlay: they would hide the photo."""
_HEADLINE_ITEMS = 3


class PhotoWriter(Protocol):
    """Writes the answers for one photo after the other."""

    @property
    def files(self) -> tuple[Path, ...]:
        """What is written, beside the overlays."""

    def add(self, name: str, file_name: str, photo: Picture, answer: Any) -> str:
        """Write the files of a photo and return a line about it.

        Args:
            name: what the files are called, without suffix.
            file_name: what the photo is called.
            photo: its pixels.
            answer: of the writer's task.
        """

    def finish(self) -> None:
        """Write what is told about all photos together."""


class SemanticWriter:
    """Label maps, overlays with a legend, and the share of every class."""

    def __init__(self, out: Path, label_space: LabelSpace) -> None:
        self._out, self._space = out, label_space
        self._shares: dict[str, Mapping[str, float]] = {}
        self.files = (out / LABELS, out / "shares.json")

    def add(self, name: str, file_name: str, photo: Picture, answer: NDArray[np.uint8]) -> str:
        """Write label map and overlay."""
        names, colors = self._space.names, self._space.colors
        write_labels(self._out / LABELS / f"{name}.png", answer, colors)
        write_picture(self._out / OVERLAYS / f"{name}.jpg", labelled_overlay(photo, answer, names, colors))
        shares = self._shares[name] = class_shares(answer, names)
        return ", ".join(f"{name} {100 * share:.0f} %" for name, share in list(shares.items())[:_HEADLINE_ITEMS])

    def finish(self) -> None:
        """Write `shares.json`."""
        write_json(self._out / "shares.json", {"classes": list(self._space.names), "images": self._shares})


class InstanceWriter:
    """All objects in one JSON that COCO's tools read, and overlays of the sure ones."""

    def __init__(self, out: Path, label_space: LabelSpace) -> None:
        self._out, self._space = out, label_space
        self._images: list[dict[str, Any]] = []
        self._objects: list[dict[str, Any]] = []
        self.files = (out / "instances.json",)

    def add(self, name: str, file_name: str, photo: Picture, answer: Instances) -> str:
        """Note the objects and write the overlay."""
        number = len(self._images) + 1
        self._images.append(image_entry(number, file_name, photo.shape))
        self._objects += instance_entries(answer, number, len(self._objects) + 1)
        sure = answer.scores >= SHOWN_SCORE
        shown = Instances(answer.class_ids[sure], answer.scores[sure], answer.masks[sure])
        write_picture(self._out / OVERLAYS / f"{name}.jpg", outlined(photo, instance_regions(shown, self._space)))
        return _counted((self._space.names[i] for i in shown.class_ids.tolist()), "objects")

    def finish(self) -> None:
        """Write `instances.json`."""
        content = {"images": self._images, "annotations": self._objects, "categories": categories(self._space)}
        write_json(self._out / "instances.json", content)


class PanopticWriter:
    """Maps of segment ids with their JSON, as COCO panoptic has them, and overlays."""

    def __init__(self, out: Path, label_space: LabelSpace) -> None:
        self._out, self._space = out, label_space
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self.files = (out / PANOPTIC, out / "panoptic.json")

    def add(self, name: str, file_name: str, photo: Picture, answer: PanopticLabels) -> str:
        """Write map and overlay."""
        number = len(self._images) + 1
        self._images.append(image_entry(number, file_name, photo.shape))
        entry = {"image_id": number, "file_name": f"{name}.png", "segments_info": segment_entries(answer)}
        self._annotations.append(entry)
        write_segment_ids(self._out / PANOPTIC / f"{name}.png", answer)
        write_picture(self._out / OVERLAYS / f"{name}.jpg", outlined(photo, panoptic_regions(answer, self._space)))
        return _counted((self._space.names[segment.class_id] for segment in answer.segments), "segments")

    def finish(self) -> None:
        """Write `panoptic.json`."""
        content = {"images": self._images, "annotations": self._annotations, "categories": categories(self._space)}
        write_json(self._out / "panoptic.json", content)


WRITERS: dict[str, Callable[[Path, LabelSpace], PhotoWriter]] = {
    "semantic": SemanticWriter,
    "instance": InstanceWriter,
    "panoptic": PanopticWriter,
}
"""The writers by name of their task."""


def instance_regions(found: Instances, label_space: LabelSpace) -> list[Region]:
    """Every object in a colour of its own, with its class and score."""
    things = zip(found.class_ids.tolist(), found.scores.tolist(), found.masks.cpu().numpy(), strict=True)
    colors = default_colors(len(found))
    return [
        Region(mask, color, f"{label_space.names[class_id]} {score:.2f}")
        for color, (class_id, score, mask) in zip(colors, things, strict=True)
    ]


def panoptic_regions(labels: PanopticLabels, label_space: LabelSpace) -> list[Region]:
    """Stuff in the colour of its class, every object in a colour of its own."""
    things, colors = set(label_space.thing_ids), default_colors(len(labels.segments))
    return [
        Region(
            labels.map == segment.id,
            color if segment.class_id in things else label_space.colors[segment.class_id],
            label_space.names[segment.class_id],
        )
        for segment, color in zip(labels.segments, colors, strict=True)
    ]


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


def _counted(names: Iterable[str], what: str) -> str:
    """How many there are, and of what: `5 objects: 3 car, 2 person`."""
    counts = Counter(names)
    listed = ", ".join(f"{count} {name}" for name, count in counts.most_common(_HEADLINE_ITEMS))
    return f"{counts.total()} {what}" + (f": {listed}" if listed else "")
