"""The JSON files of COCO: their parts, categories as classes, and segments of panoptic maps."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from promptseg.data.defects import DefectError
from promptseg.data.formats.classes_json import MAX_CLASSES, classes_of
from promptseg.data.formats.label_maps import decode_segments
from promptseg.data.images import read_channels
from promptseg.data.sample import PanopticLabels, Segment
from promptseg.files import read_json
from promptseg.label_space import IGNORE, LabelSpace

Record = dict[str, Any]
_MEND = "export it again as COCO JSON, with images, annotations and categories"


def read_coco(path: Path) -> dict[str, list[Record]]:
    """The lists `images`, `annotations` and `categories` of a file.

    Raises:
        PromptsegError: not such a file.
    """
    content = read_json(path)
    for key in ("images", "annotations", "categories"):
        part = content.get(key) if isinstance(content, dict) else None
        if not isinstance(part, list) or not all(isinstance(record, dict) for record in part):
            raise DefectError(path, f"has no list of {key}", _MEND)
    return {key: content[key] for key in ("images", "annotations", "categories")}


ID = (int, str)
"""Types of an image's id: COCO numbers images, Cityscapes names them."""


def field(path: Path, record: object, name: str, kind: type | tuple[type, ...]) -> Any:
    """The value of a record's field.

    Raises:
        PromptsegError: no record, or the field is missing or not of that type.
    """
    if not isinstance(record, dict):
        raise DefectError(path, f"has {record!r} where an entry with the field {name} was expected", _MEND)
    value = record.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise DefectError(path, f"an entry has the {name} {value!r} (its id: {record.get('id')!r})", _MEND)
    return value


def category_classes(path: Path, categories: Sequence[Record], name: str) -> tuple[LabelSpace, dict[int, int]]:
    """The categories in the order of their ids as classes, and the class id of each category id.

    A category without `isthing`, as in instance files, is a thing.

    Raises:
        PromptsegError: none or too many, without id or name, or two of one name or id.
    """
    if not 0 < len(categories) <= MAX_CLASSES:
        raise DefectError(path, f"has {len(categories)} categories, where 1..{MAX_CLASSES} were expected", _MEND)
    by_id = {int(field(path, c, "id", int)): c for c in categories}
    if len(by_id) < len(categories):
        raise DefectError(path, "two categories have one id", _MEND)
    rows = []
    for key in sorted(by_id):
        row: Record = {"name": field(path, by_id[key], "name", str)}
        row["kind"] = "thing" if by_id[key].get("isthing", 1) else "stuff"
        rows.append(row | ({"color": by_id[key]["color"]} if "color" in by_id[key] else {}))
    return classes_of(path, rows, name), {key: i for i, key in enumerate(sorted(by_id))}


def read_panoptic(
    path: Path, records: Sequence[Record], classes: Mapping[int, int], label_space: LabelSpace
) -> PanopticLabels:
    """Decode a panoptic PNG: segment id = R + 256 G + 65536 B, 0 is void.

    Args:
        path: the PNG.
        records: its `segments_info`.
        classes: class id by category id, 255 for categories to leave out.
        label_space: the classes.

    Raises:
        PromptsegError: an unknown category, or segments of the PNG and of the records that do not agree.
    """
    mend = "take the PNG and the JSON of one release"
    segments = {}
    for record in records:
        id_, category = field(path, record, "id", int), field(path, record, "category_id", int)
        if category not in classes:
            raise DefectError(path, f"segment {id_} has the unknown category {category}", mend)
        segments[id_] = Segment(id_, classes[category], bool(record.get("iscrowd", 0)))
    values = read_channels(path, "RGB").astype(np.int32) @ np.array([1, 256, 65536], np.int32)
    seen: set[int] = set()

    def describe(value: int) -> Segment | None:
        seen.add(value)
        if value and value not in segments:
            raise DefectError(path, f"holds segment {value}, which its JSON does not list", mend)
        return segments[value] if value and segments[value].class_id != IGNORE else None

    labels = decode_segments(values, describe, label_space.thing_ids, path)
    if missing := segments.keys() - seen:
        raise DefectError(path, f"has no pixel of segment {min(missing)}, which its JSON lists", mend)
    return labels
