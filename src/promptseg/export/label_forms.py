"""The forms in which labels leave: COCO JSON, YOLO segmentation, LabelMe, Pascal VOC, areas as CSV, and label maps.

Every form but CSV brings the photos along, so the folder that is written stands for itself.
"""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from promptseg.data.formats.classes_json import class_rows
from promptseg.data.images import write_labels
from promptseg.export.answers import part_entries
from promptseg.export.labelled import Labelled, copy_photo
from promptseg.export.voc import write_voc
from promptseg.files import write_json, write_text
from promptseg.label_space import IGNORE, LabelSpace
from promptseg.tasks.answer_files import categories, image_entry
from promptseg.text import csv_rows


def _write_coco(photos: Iterable[Labelled], space: LabelSpace, out: Path) -> int:
    """`annotations.json` and `images`: polygons, and run lengths for crowds and for objects with holes."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, photo in enumerate(photos, 1):
        images.append(image_entry(number, copy_photo(photo.sample, out / "images").as_posix(), photo.size))
        annotations += part_entries(photo.objects(), photo.size, number, len(annotations) + 1)
    content = {"images": images, "annotations": annotations, "categories": categories(space)}
    write_text(out / "annotations.json", json.dumps(content))
    return len(annotations)


def _write_yolo(photos: Iterable[Labelled], space: LabelSpace, out: Path) -> int:
    """`images`, `labels` with a line for each object (class, then x and y in shares of the photo), and `data.yaml`."""
    objects = 0
    for photo in photos:
        copy_photo(photo.sample, out / "images")
        lines = []
        for part in photo.objects():
            corners = part.polygon() / photo.size[::-1]
            lines.append(f"{part.class_id} {' '.join(f'{value:.8g}' for value in corners.ravel())}\n")
        write_text(out / "labels" / f"{photo.sample.id}.txt", "".join(lines))
        objects += len(lines)
    # Strings of JSON are strings of YAML too.
    names = "".join(f"  {number}: {json.dumps(name, ensure_ascii=False)}\n" for number, name in enumerate(space.names))
    write_text(out / "data.yaml", f"path: .\ntrain: images\nval: images\nnames:\n{names}")
    return objects


def _write_labelme(photos: Iterable[Labelled], space: LabelSpace, out: Path) -> int:
    """A JSON file beside each photo, and `classes.json`."""
    objects = 0
    for photo in photos:
        file = copy_photo(photo.sample, out)
        shapes = [
            {
                "label": space.names[part.class_id],
                "points": part.polygon().tolist(),
                "group_id": None,
                "shape_type": "polygon",
                "flags": {},
            }
            for part in photo.objects()
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
        for number, part in enumerate(photo.objects(), 1):
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
        copy_photo(photo.sample, out / "images")
        write_labels(out / "labels" / f"{photo.sample.id}.png", photo.labels, space.colors)
        objects += sum(1 for _ in photo.objects())
    write_json(out / "classes.json", {"classes": class_rows(space)})
    return objects


FORMS: dict[str, Callable[[Iterable[Labelled], LabelSpace, Path], int]] = {
    "coco": _write_coco,
    "yolo": _write_yolo,
    "labelme": _write_labelme,
    "voc": write_voc,
    "csv": _write_csv,
    "folder": _write_folder,
}
"""The writers by name; each gives the number of objects."""

CROWDS = {"yolo": "written as objects", "labelme": "written as objects", "csv": "counted as objects", "voc": "void"}
"""What becomes of crowds in forms that do not know them."""
