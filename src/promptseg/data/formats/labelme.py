"""LabelMe: `labelme:FOLDER`, where every photo has a JSON file of polygons beside it."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from promptseg.data.defects import Defect, DefectError
from promptseg.data.file_sample import FileSample
from promptseg.data.formats.classes_json import read_classes
from promptseg.data.formats.coco_json import field
from promptseg.data.formats.files import find_root, walk_files
from promptseg.data.formats.objects import Outlines, drawn_sample, outline
from promptseg.data.formats.photos import Photos
from promptseg.data.formats.splits import SPLIT_OPTIONS, open_own
from promptseg.data.images import MAX_PIXELS
from promptseg.data.label_space import background_of, classes_of, name_key
from promptseg.data.photo_pixels import photo_size
from promptseg.data.registry import DataFormat
from promptseg.data.sample import Dataset
from promptseg.files import read_json
from promptseg.label_space import IGNORE, LabelSpace
from promptseg.spec import Spec

VOID = "__ignore__"
"""Label of regions without a class."""
_MEND = "save it again with LabelMe"


def load_labelme(spec: Spec) -> Dataset:
    """Open a folder of LabelMe files; the classes are those of `classes.json`, else all labels in alphabetical order.

    Args:
        spec: names the folder, in which photos and JSON files lie side by side, in any subfolders. Options:
            `background`, the class of unlabelled pixels, and those of the splits, see `split_ids`.

    Raises:
        PromptsegError: no such files, a broken one, a photo that cannot be told, or an unknown option or list.
    """
    spec.check_options(("background", *SPLIT_OPTIONS))
    root = find_root(spec.where, ())
    files = [p for p in walk_files(root) if p.suffix.lower() == ".json" and p != root / "classes.json"]
    if not files:
        raise DefectError(root, "no JSON files of LabelMe below it", "save the annotations beside the photos")
    contents = {path: _content(path) for path in files}
    own, said = _classes(root, contents)
    label_space, background, more = background_of(root, spec, own)
    photos, samples = Photos(root), dict[str, FileSample]()
    for path, content in contents.items():
        photo = _photo(photos, path, content)
        draw = partial(_draw, path, photo, label_space.names, background)
        id_ = photos.id_of(photo)
        samples[id_] = drawn_sample(id_, label_space, photo, path, draw)
    return open_own("labelme", root, spec, samples, label_space, [*said, *more, *photos.unclaimed()])


def _content(path: Path) -> dict[str, Any]:
    """A file's content, without the photo that it may hold."""
    content = read_json(path)
    shapes = content.get("shapes") if isinstance(content, dict) else None
    if not isinstance(shapes, list) or not all(isinstance(shape, dict) for shape in shapes):
        raise DefectError(path, "has no list of shapes", _MEND)
    return {key: content.get(key) for key in ("shapes", "imagePath", "imageHeight", "imageWidth")}


def _classes(root: Path, contents: Mapping[Path, dict[str, Any]]) -> tuple[LabelSpace, list[Defect]]:
    """The classes, and a word about labels that were written in several ways."""
    if (root / "classes.json").is_file():
        return read_classes(root / "classes.json"), []
    spellings: dict[str, Counter[str]] = defaultdict(Counter)
    for path, content in contents.items():
        for shape in content["shapes"]:
            label = field(path, shape, "label", str)
            spellings[name_key(label)][label] += 1
    spellings.pop(name_key(VOID), None)
    if not spellings:
        raise DefectError(root, "no shape has a label", "draw and name some, or add classes.json")
    said, names = [], []
    for counts in spellings.values():
        (name, _), *_ = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        names.append(name.strip())
        if len(counts) > 1:
            reason = f"the labels {', '.join(map(repr, sorted(counts)))} are read as one class, {name.strip()!r}"
            said.append(Defect(str(root), reason, "write them alike, or other words for other things", "warning"))
    rows = [{"name": name, "kind": "thing"} for name in sorted(names)]
    return classes_of(root, rows, root.resolve().name), said


def _photo(photos: Photos, path: Path, content: dict[str, Any]) -> Path:
    """The photo that a file names; without a name, the one beside the file that is called alike."""
    name = content["imagePath"]
    if not isinstance(name, str) or not name:
        name = f"{path.stem}.jpg"
    found = photos.find(name, (path.parent,), str(path), near=path.parent)
    if not found.is_file():
        reason = f"names the photo {name}, which is not there{photos.near(found) or photos.near(path)}"
        raise DefectError(path, reason, "put it there, or mend imagePath")
    return found


def _draw(path: Path, photo: Path, names: tuple[str, ...], background: int | None) -> Outlines:
    """One object for each shape, or for all shapes of one label and `group_id`."""
    content, keys = _content(path), [name_key(name) for name in names]
    size = _stated_size(path, content) or photo_size(photo)
    parts: dict[object, tuple[int, list[list[float]]]] = {}
    for number, shape in enumerate(content["shapes"]):
        label, group = name_key(field(path, shape, "label", str)), shape.get("group_id")
        if label != name_key(VOID) and label not in keys:
            reason = f"shape {number} has the label {shape['label']!r}, which is no class"
            raise DefectError(path, reason, "add it to classes.json, or rename it")
        class_id = IGNORE if label == name_key(VOID) else keys.index(label)
        key = number if group is None else (label, str(group))
        parts.setdefault(key, (class_id, []))[1].append(_corners(path, shape, number))
    outlines = [outline(path, c, False, polygons, size, f"shape {key}") for key, (c, polygons) in parts.items()]
    return Outlines(outlines, size, background)


def _stated_size(path: Path, content: dict[str, Any]) -> tuple[int, int] | None:
    """(H, W) that the file says its photo has; labels made for another are told by the sample's check."""
    if content["imageHeight"] is None or content["imageWidth"] is None:
        return None
    height, width = (field(path, content, name, int) for name in ("imageHeight", "imageWidth"))
    if min(height, width) < 1 or height * width > MAX_PIXELS:
        raise DefectError(path, f"says that its photo is {width}x{height} pixels", _MEND)
    return height, width


def _corners(path: Path, shape: dict[str, Any], number: int) -> list[float]:
    """A polygon, or a rectangle of two corners, as [x, y, x, y, ...]."""
    kind, points = shape.get("shape_type", "polygon"), shape.get("points")
    try:
        corners = [(float(x), float(y)) for x, y in points or ()]
        if kind == "rectangle" and len(corners) == 2:
            (left, top), (right, bottom) = corners
            corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    except (TypeError, ValueError, OverflowError):
        corners = []
    if kind not in ("polygon", "rectangle") or len(corners) < 3:
        reason = f"shape {number} is a {kind} of {len(corners)} points, where polygons and rectangles are read"
        raise DefectError(path, reason, "draw it as a polygon")
    return [value for corner in corners for value in corner]


FORMAT = DataFormat(
    load_labelme,
    "your own photos with LabelMe polygons; ?train=LIST&val=LIST&test=LIST, ?val=20%, ?background=NAME; semantic, "
    "instance and panoptic labels",
    "PHOTO.jpg and PHOTO.json side by side, classes.json (optional), splits/LIST.txt (optional)",
    "yours",
    own=True,
)
