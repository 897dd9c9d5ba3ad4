"""LabelMe: `labelme:FOLDER`, where every photo has a JSON file of polygons beside it."""

from functools import partial
from pathlib import Path
from typing import Any

from promptseg.data.defects import DefectError
from promptseg.data.file_sample import FileSample
from promptseg.data.formats.classes_json import classes_of, read_classes
from promptseg.data.formats.coco_json import field
from promptseg.data.formats.files import files_ending, find_root, make_dataset
from promptseg.data.formats.outlines import outline, paint
from promptseg.data.formats.splits import split_ids
from promptseg.data.images import IMAGE_SUFFIXES, image_size
from promptseg.data.registry import DataFormat
from promptseg.data.sample import Dataset, PanopticLabels
from promptseg.files import read_json
from promptseg.label_space import IGNORE, LabelSpace
from promptseg.spec import Spec

VOID = "__ignore__"
"""Label of regions without a class."""
_MEND = "save it again with LabelMe"


def load_labelme(spec: Spec) -> Dataset:
    """Open a folder of LabelMe files; the classes are those of `classes.json`, else all labels in alphabetical order.

    Args:
        spec: names the folder, in which photos and JSON files lie side by side, in any subfolders.
            Options `train`, `val`, `test`: names of lists in `splits/`.

    Raises:
        PromptsegError: no such files, a broken one, or an unknown option or list.
    """
    root = find_root(spec.where, ())
    found = {i: path for i, path in files_ending(root, ".json").items() if i != "classes"}
    if not found:
        raise DefectError(root, "no JSON files of LabelMe below it", "save the annotations beside the photos")
    label_space = _classes(root, found)
    samples = {}
    for id_, path in found.items():
        photo = next((p for s in IMAGE_SUFFIXES if (p := path.with_suffix(s)).is_file()), path.with_suffix(".jpg"))
        decode = partial(_read_shapes, path, photo, label_space.names)
        samples[id_] = FileSample(id_, label_space, photo, path, None, decode)
    ids, defects = split_ids(root, spec.options, samples)
    for defect in defects:
        raise DefectError(defect.file, defect.reason, defect.mend)
    splits = {split: [samples[i] for i in names] for split, names in ids.items()}
    return make_dataset("labelme", spec, label_space, splits)


def _classes(root: Path, files: dict[str, Path]) -> LabelSpace:
    if (root / "classes.json").is_file():
        return read_classes(root / "classes.json")
    labels = {field(path, shape, "label", str) for path in files.values() for shape in _shapes(path)} - {VOID}
    if not labels:
        raise DefectError(root, "no shape has a label", "draw and name some, or add classes.json")
    return classes_of(root, [{"name": label, "kind": "thing"} for label in sorted(labels)], root.resolve().name)


def _shapes(path: Path) -> list[dict[str, Any]]:
    content = read_json(path)
    shapes = content.get("shapes") if isinstance(content, dict) else None
    if not isinstance(shapes, list) or not all(isinstance(shape, dict) for shape in shapes):
        raise DefectError(path, "has no list of shapes", _MEND)
    return shapes


def _read_shapes(path: Path, photo: Path, names: tuple[str, ...]) -> PanopticLabels:
    """One object for each shape, or for all shapes of one label and `group_id`."""
    size = image_size(photo)
    parts: dict[object, tuple[int, list[list[float]]]] = {}
    for number, shape in enumerate(_shapes(path)):
        label, group = field(path, shape, "label", str), shape.get("group_id")
        if label != VOID and label not in names:
            reason = f"shape {number} has the label {label!r}, which is no class"
            raise DefectError(path, reason, "add it to classes.json, or rename it")
        class_id = IGNORE if label == VOID else names.index(label)
        key = number if group is None else (label, str(group))
        parts.setdefault(key, (class_id, []))[1].append(_corners(path, shape, number))
    outlines = [outline(path, c, False, polygons, size, f"shape {key}") for key, (c, polygons) in parts.items()]
    return paint(outlines, size)


def _corners(path: Path, shape: dict[str, Any], number: int) -> list[float]:
    """A polygon, or a rectangle of two corners, as [x, y, x, y, ...]."""
    kind, points = shape.get("shape_type", "polygon"), shape.get("points")
    try:
        corners = [(float(x), float(y)) for x, y in points or ()]
        if kind == "rectangle" and len(corners) == 2:
            (left, top), (right, bottom) = corners
            corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    except (TypeError, ValueError):
        corners = []
    if kind not in ("polygon", "rectangle") or len(corners) < 3:
        reason = f"shape {number} is a {kind} of {len(corners)} points, where polygons and rectangles are read"
        raise DefectError(path, reason, "draw it as a polygon")
    return [value for corner in corners for value in corner]


FORMAT = DataFormat(
    load_labelme,
    "your own photos with LabelMe polygons; ?train=LIST&val=LIST&test=LIST; semantic, instance and panoptic labels",
    "PHOTO.jpg and PHOTO.json side by side, classes.json (optional), splits/LIST.txt (optional)",
    "yours",
    own=True,
)
