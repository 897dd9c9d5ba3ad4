"""The JSON files of COCO: their parts, categories as classes, and segments of panoptic maps."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from promptseg.data.defects import Defect, DefectError
from promptseg.data.formats.label_maps import decode_segments
from promptseg.data.images import read_channels
from promptseg.data.label_space import classes_of
from promptseg.data.sample import PanopticLabels, Segment
from promptseg.files import read_json
from promptseg.label_space import IGNORE, MAX_CLASSES, LabelSpace

Record = dict[str, Any]
_MEND = "export it again as COCO JSON, with images, annotations and categories"
_FLAGS = {"0": False, "1": True, "false": False, "true": True}
"""What writers put for a no or yes, as text or not."""


def is_coco(content: object) -> bool:
    """Whether this has the three lists of a COCO file."""
    return isinstance(content, dict) and all(
        isinstance(content.get(key), list) for key in ("images", "annotations", "categories")
    )


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


def flag(path: Path, record: Record, name: str, default: bool = False) -> bool:
    """A yes or no: 0, 1, true, false, as text too; `default` where it is missing or null.

    Raises:
        PromptsegError: anything else.
    """
    value = record.get(name)
    if value is None:
        return default
    known = _FLAGS.get(str(value).lower())
    if known is None:
        raise DefectError(path, f"an entry has the {name} {value!r} (its id: {record.get('id')!r})", "write 0 or 1")
    return known


def image_key(path: Path, record: Record, name: str) -> str:
    """The id of an image as text: writers give numbers and names, and the number 1 as "1" or 1.0 too.

    Raises:
        PromptsegError: no number or text.
    """
    value = field(path, record, name, (int, str, float))
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def by_image(path: Path, content: Mapping[str, list[Record]]) -> tuple[dict[str, list[Record]], list[Defect]]:
    """The annotations of each image by the image's id, and a warning of annotations whose image is not there.

    Raises:
        PromptsegError: two images of one id.
    """
    names: dict[str, object] = {}
    for image in content["images"]:
        key, name = image_key(path, image, "id"), image.get("file_name")
        if key in names:
            reason = f"gives the images {names[key]} and {name} one id, {key}: nobody can tell whose labels are whose"
            raise DefectError(path, reason, "export it again, or give each image its own id")
        names[key] = name
    found: dict[str, list[Record]] = defaultdict(list)
    for annotation in content["annotations"]:
        found[image_key(path, annotation, "image_id")].append(annotation)
    orphans = [key for key in found if key not in names]
    if not orphans:
        return found, []
    count = sum(len(found.pop(key)) for key in orphans)
    reason = f"has {count} annotations of images that it does not list, first of the image_id {orphans[0]!r}"
    return found, [Defect(str(path), f"{reason}: they are left out", "list the images, or export it again", "warning")]


def category_classes(
    path: Path, categories: Sequence[Record], name: str, left_out: Collection[str] = ()
) -> tuple[LabelSpace, dict[int, int]]:
    """The categories in the order of their ids as classes, and the class id of each category id.

    A category without `isthing`, as in instance files, is a thing. Those named in `left_out` are no classes.

    Raises:
        PromptsegError: none or too many, without id or name, or two of one name or id.
    """
    by_id = {int(field(path, c, "id", int)): c for c in categories}
    if len(by_id) < len(categories):
        raise DefectError(path, "two categories have one id", _MEND)
    kept = [key for key in sorted(by_id) if field(path, by_id[key], "name", str) not in left_out]
    if not 0 < len(kept) <= MAX_CLASSES:
        raise DefectError(path, f"has {len(kept)} categories, where 1..{MAX_CLASSES} were expected", _MEND)
    rows = []
    for key in kept:
        row: Record = {"name": by_id[key]["name"], "kind": "stuff"}
        if flag(path, by_id[key], "isthing", default=True):
            row["kind"] = "thing"
        rows.append(row | ({"color": by_id[key]["color"]} if by_id[key].get("color") is not None else {}))
    return classes_of(path, rows, name), {key: i for i, key in enumerate(kept)}


def read_panoptic(
    path: Path, records: Sequence[Record], classes: Mapping[int, int], label_space: LabelSpace
) -> PanopticLabels:
    """Decode a panoptic PNG: segment id = R + 256 G + 65536 B, 0 is void; segments come in the order of the records.

    Args:
        path: the PNG.
        records: its `segments_info`.
        classes: class id by category id, 255 for categories to leave out.
        label_space: the classes.

    Raises:
        PromptsegError: an unknown category, two records of one segment, or segments of the PNG and of the records that
            do not agree.
    """
    mend = "take the PNG and the JSON of one release"
    segments: dict[int, Segment] = {}
    for record in records:
        id_, category = field(path, record, "id", int), field(path, record, "category_id", int)
        if category not in classes:
            raise DefectError(path, f"segment {id_} has the unknown category {category}", mend)
        if id_ in segments:
            raise DefectError(path, f"its JSON lists segment {id_} twice", mend)
        segments[id_] = Segment(id_, classes[category], flag(path, record, "iscrowd"))
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
    places = {id_: place for place, id_ in enumerate(segments)}
    return PanopticLabels(labels.map, tuple(sorted(labels.segments, key=lambda segment: places[segment.id])))
