"""Labels in the forms of other tools: COCO JSON, YOLO segmentation, LabelMe, CSV of areas, and a folder of label maps.

Every form but CSV brings the photos along, so the folder that is written stands for itself. An object is a connected
part of a class: label maps know no others.
"""

import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from promptseg.data.formats.classes_json import class_rows
from promptseg.data.images import write_labels
from promptseg.data.sample import Sample
from promptseg.errors import PromptsegError, unknown_name
from promptseg.export.answers import part_entries
from promptseg.export.parts import parts
from promptseg.files import atomic_path, write_json, write_text
from promptseg.label_space import IGNORE, LabelSpace
from promptseg.reports.pictures import write_picture
from promptseg.tasks.answer_files import categories, image_entry
from promptseg.text import csv_rows


@dataclass(frozen=True)
class Labelled:
    """A photo to write: its sample, and its class ids (H, W) uint8, 255 = not labelled."""

    sample: Sample
    labels: NDArray[np.uint8]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, pixels."""
        return self.labels.shape[0], self.labels.shape[1]


@dataclass(frozen=True)
class Exported:
    """What was written: the folder, and how many photos and objects it holds."""

    folder: Path
    photos: int
    objects: int


def export_labels(samples: Sequence[Sample], to: str, out: Path) -> Exported:
    """Write the labels of some photos in another form; one photo is in memory at a time.

    Args:
        samples: photos with semantic labels, all of one label space.
        to: a name of `FORMS`.
        out: a folder that is empty or does not exist.

    Raises:
        PromptsegError: an unknown form, no photos, a folder that holds files, or labels that cannot be read.
    """
    if to not in FORMS:
        raise unknown_name("label format", to, FORMS)
    if not samples:
        raise PromptsegError("there are no labelled photos to export: label some, or name another list")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise PromptsegError(f"{out} is not empty: choose a new folder")
    objects = FORMS[to]((Labelled(sample, sample.semantic()) for sample in samples), samples[0].label_space, out)
    return Exported(out, len(samples), objects)


def _write_coco(photos: Iterable[Labelled], space: LabelSpace, out: Path) -> int:
    """`annotations.json` and `images`: polygons, and run lengths for objects with holes."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, photo in enumerate(photos, 1):
        images.append(image_entry(number, _copy(photo.sample, out / "images").as_posix(), photo.size))
        annotations += part_entries(photo.labels, number, len(annotations) + 1)
    content = {"images": images, "annotations": annotations, "categories": categories(space)}
    write_text(out / "annotations.json", json.dumps(content))
    return len(annotations)


def _write_yolo(photos: Iterable[Labelled], space: LabelSpace, out: Path) -> int:
    """`images`, `labels` with a line for each object (class, then x and y in shares of the photo), and `data.yaml`."""
    objects = 0
    for photo in photos:
        _copy(photo.sample, out / "images")
        lines = []
        for part in parts(photo.labels):
            corners = part.polygon() / photo.size[::-1]
            lines.append(f"{part.class_id} {' '.join(f'{value:.8g}' for value in corners.ravel())}\n")
        write_text(out / "labels" / f"{photo.sample.id}.txt", "".join(lines))
        objects += len(lines)
    # Strings of JSON are strings of YAML too.
    names = "".join(f"  {number}: {json.dumps(name)}\n" for number, name in enumerate(space.names))
    write_text(out / "data.yaml", f"path: .\ntrain: images\nval: images\nnames:\n{names}")
    return objects


def _write_labelme(photos: Iterable[Labelled], space: LabelSpace, out: Path) -> int:
    """A JSON file beside each photo, and `classes.json`."""
    objects = 0
    for photo in photos:
        file = _copy(photo.sample, out)
        shapes = [
            {
                "label": space.names[part.class_id],
                "points": part.polygon().tolist(),
                "group_id": None,
                "shape_type": "polygon",
                "flags": {},
            }
            for part in parts(photo.labels)
        ]
        about: dict[str, Any] = {"version": "5.5.0", "flags": {}, "imagePath": file.name, "imageData": None}
        size = {"imageHeight": photo.size[0], "imageWidth": photo.size[1]}
        write_json((out / file).with_suffix(".json"), about | size | {"shapes": shapes})
        objects += len(shapes)
    write_json(out / "classes.json", {"classes": class_rows(space)})
    return objects


def _write_csv(photos: Iterable[Labelled], space: LabelSpace, out: Path) -> int:
    """`classes.csv`: pixels and share of every class on every photo; `objects.csv`: the same of every object."""
    classes, objects = [], []
    for photo in photos:
        counts = np.bincount(photo.labels.ravel(), minlength=IGNORE + 1)
        for number, name in enumerate((*space.names, "")):
            pixels = int(counts[number] if name else counts[IGNORE])
            row = {"photo": photo.sample.id, "class": name or "(not labelled)", "pixels": pixels}
            classes.append(row | {"share": round(pixels / photo.labels.size, 6)})
        for number, part in enumerate(parts(photo.labels), 1):
            rows, columns = np.nonzero(part.mask)
            x, y, width, height = part.box
            row = {"photo": photo.sample.id, "object": number, "class": space.names[part.class_id], "pixels": part.area}
            place = {"share": round(part.area / photo.labels.size, 6), "x": x, "y": y, "width": width, "height": height}
            middle = {"middle_x": round(x + columns.mean() + 0.5, 2), "middle_y": round(y + rows.mean() + 0.5, 2)}
            objects.append(row | place | middle)
    for file, found in (("classes.csv", classes), ("objects.csv", objects)):
        write_text(out / file, csv_rows(found, found[0] if found else ["photo"]))
    return len(objects)


def _write_folder(photos: Iterable[Labelled], space: LabelSpace, out: Path) -> int:
    """`images`, `labels` and `classes.json`, as `promptseg fit` reads them."""
    objects = 0
    for photo in photos:
        _copy(photo.sample, out / "images")
        write_labels(out / "labels" / f"{photo.sample.id}.png", photo.labels, space.colors)
        objects += sum(1 for _ in parts(photo.labels))
    write_json(out / "classes.json", {"classes": class_rows(space)})
    return objects


FORMS: dict[str, Callable[[Iterable[Labelled], LabelSpace, Path], int]] = {
    "coco": _write_coco,
    "yolo": _write_yolo,
    "labelme": _write_labelme,
    "csv": _write_csv,
    "folder": _write_folder,
}
"""The writers by name; each gives the number of objects."""


def _copy(sample: Sample, folder: Path) -> Path:
    """Bring a photo along, the way up that its labels are; gives its path below the folder.

    Its own file is copied, unless it is stored turned, or is no file: then it becomes a PNG.
    """
    source = getattr(sample, "image_path", None)
    if source is not None and _is_upright(source):
        target = Path(f"{sample.id}{source.suffix}")
        with atomic_path(folder / target) as temporary:
            shutil.copyfile(source, temporary)
        return target
    target = Path(f"{sample.id}.png")
    write_picture(folder / target, sample.image())
    return target


def _is_upright(path: Path) -> bool:
    with Image.open(path) as picture:
        return int(picture.getexif().get(0x0112, 1)) == 1
