"""CVAT's own form: `cvat:FOLDER` with annotations.xml ("CVAT for images 1.1") and the photos in `images`."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError, iterparse

from promptseg.data.defects import Defect, DefectError
from promptseg.data.file_sample import FileSample
from promptseg.data.formats.class_tables import CLASSES
from promptseg.data.formats.classes_json import read_classes
from promptseg.data.formats.cvat_shapes import AREAS, Shape, drawn
from promptseg.data.formats.files import find_root
from promptseg.data.formats.objects import Outlines, drawn_sample, united
from promptseg.data.formats.photos import Photos
from promptseg.data.formats.splits import SPLIT_OPTIONS, open_own
from promptseg.data.images import MAX_PIXELS
from promptseg.data.label_space import background_of, classes_of, name_key
from promptseg.data.registry import DataFormat
from promptseg.data.sample import Dataset
from promptseg.label_space import MAX_CLASSES, LabelSpace
from promptseg.spec import Spec

_FILE = "annotations.xml"
_NO_AREA = ("tag", "points", "polyline", "cuboid", "skeleton")
"""Types of labels, and shapes, that are no areas."""
_MEND = "export it again as CVAT for images 1.1"


@dataclass(frozen=True)
class _Image:
    """An image of the file, (H, W) pixels."""

    number: str
    name: str
    subset: str | None
    size: tuple[int, int]
    shapes: tuple[Shape, ...]


@dataclass
class _Content:
    """What a file holds: labels with their colour and type, and images."""

    labels: list[dict[str, str]] = field(default_factory=list)
    images: list[_Image] = field(default_factory=list)


def load_cvat(spec: Spec) -> Dataset:
    """Open photos with an XML file of CVAT; the classes are those of `classes.json`, else its labels in their order.

    Args:
        spec: names the folder. Subsets of a project are splits by their names. Options: `annotations`, the XML file;
            `background`, the class of unlabelled pixels; and those of the splits, see `split_ids`.

    Raises:
        PromptsegError: no such file or several, broken XML, labels that are missing, photos that cannot be told apart,
            or an unknown option or list.
    """
    spec.check_options(("annotations", "background", *SPLIT_OPTIONS))
    root = find_root(spec.where, ())
    path = _file(root, spec)
    content = _read(path)
    own, said = _classes(root, path, content)
    label_space, background, more = background_of(root, spec, own)
    photos, samples, subsets = Photos(root), dict[str, FileSample](), dict[str, list[str]]()
    for image in content.images:
        photo = photos.of_subset(image.name, image.subset, f"{path}: image {image.number}")
        id_ = photos.id_of(photo)
        if id_ in samples:
            raise DefectError(path, f"has two images named {id_}", "rename one of them")
        samples[id_] = drawn_sample(
            id_, label_space, photo, path, partial(_draw, path, image, label_space.names, background)
        )
        if image.subset is not None:
            subsets.setdefault(image.subset, []).append(id_)
    said += [*more, *photos.unclaimed(), *_bare(path, content)]
    return open_own("cvat", root, spec, samples, label_space, said, subsets)


def _file(root: Path, spec: Spec) -> Path:
    name = spec.options.get("annotations", _FILE)
    if (root / name).is_file():
        return root / name
    found = [] if "annotations" in spec.options else sorted(p for p in root.glob("*.xml") if p.name[0] != ".")
    if len(found) > 1:
        names = ", ".join(path.name for path in found[:6])
        raise DefectError(root, f"has {names}", f"name one: ?annotations={found[0].name}")
    if not found:
        raise DefectError(root / name, "no such file", "export CVAT for images 1.1 there, with the photos in images/")
    return found[0]


def _read(path: Path) -> _Content:
    """The labels and images of a file, which is never held whole."""
    content, above = _Content(), list[Element]()
    try:
        for event, element in iterparse(path, events=("start", "end")):
            if event == "start":
                above.append(element)
                continue
            above.pop()
            if element.tag == "track":
                raise DefectError(path, "holds tracks of a video", _MEND)
            if element.tag == "meta":
                content.labels += _labels(element)
            elif element.tag == "image":
                content.images.append(_image(path, element))
            if len(above) == 1:
                above[0].remove(element)
    except ParseError as error:
        raise DefectError(path, f"not valid XML ({error})", _MEND) from None
    except (OSError, LookupError, ValueError) as error:  # unreadable, or of an encoding that nobody knows
        raise DefectError(path, f"cannot be read ({' '.join(str(error).split())})", _MEND) from None
    if not content.images:
        raise DefectError(path, "lists no image", _MEND)
    return content


def _labels(meta: Element) -> Iterator[dict[str, str]]:
    for label in meta.iter("label"):
        found = {child.tag: (child.text or "").strip() for child in label}
        if "parent" not in found:  # the points of a skeleton have one
            yield found


def _image(path: Path, element: Element) -> _Image:
    number, name = element.get("id", "?"), element.get("name", "")
    sides = [element.get(key, "") for key in ("height", "width")]
    if not all(side.isascii() and side.isdigit() and 0 < len(side) < 9 for side in sides):
        raise DefectError(path, f"image {number} has the sides {sides}", _MEND)
    height, width = map(int, sides)
    if min(height, width) < 1 or height * width > MAX_PIXELS:
        raise DefectError(path, f"says that {name or 'an image'} is {width}x{height} pixels", _MEND)
    shapes = [Shape(child.tag, f"shape {i} of image {number}", child.attrib) for i, child in enumerate(element)]
    kept = tuple(shape for shape in shapes if shape.kind != "tag")
    subset = element.get("subset")
    return _Image(number, name, subset if subset not in ("", "default") else None, (height, width), kept)


def _classes(root: Path, path: Path, content: _Content) -> tuple[LabelSpace, list[Defect]]:
    """The classes, and a word about labels that are none."""
    if (root / CLASSES).is_file():
        return read_classes(root / CLASSES), []
    used = Counter(shape.fields.get("label") for image in content.images for shape in image.shapes)
    lines = [label for label in content.labels if label.get("type") in _NO_AREA and not used[label.get("name")]]
    rows: list[dict[str, Any]] = []
    for label in (label for label in content.labels if label not in lines):
        color = label.get("color", "")
        levels = _levels(color) if color else None
        row: dict[str, Any] = {"name": label.get("name", ""), "kind": "thing"}
        rows.append(row | ({"color": levels} if levels else {}))
    if not 0 < len(rows) <= MAX_CLASSES:
        mend = f"write the names into {CLASSES}, or export it again"
        raise DefectError(path, f"names {len(rows)} labels, where 1..{MAX_CLASSES} were expected", mend)
    names = ", ".join(repr(label.get("name")) for label in lines[:4])
    reason = f"the labels {names} are for tags, points or lines, so they are no classes"
    said = [Defect(str(path), reason, "nothing, if that is meant", "warning")] if lines else []
    return classes_of(path, rows, root.resolve().name), said


def _levels(color: str) -> list[int] | None:
    """Red, green and blue of `#rrggbb`."""
    try:
        levels = list(bytes.fromhex(color.removeprefix("#")))
    except ValueError:
        return None
    return levels if len(levels) == 3 else None


def _bare(path: Path, content: _Content) -> list[Defect]:
    """A word about images without a shape, which CVAT lists whether they are finished or not."""
    bare = [image.name for image in content.images if not image.shapes]
    if not bare:
        return []
    reason = (
        f"{len(bare)} of {len(content.images)} images have no shapes, first {bare[0]}: they are read as showing none"
    )
    return [Defect(str(path), reason, "leave out by lists in splits/ what is not labelled yet", "warning")]


def _draw(path: Path, image: _Image, names: tuple[str, ...], background: int | None) -> Outlines:
    """One object for each shape, or for all shapes of one label and group."""
    keys: Mapping[str, int] = {name_key(name): number for number, name in enumerate(names)}
    parts: dict[object, list[Any]] = {}
    for place, shape in enumerate(image.shapes):
        label = shape.fields.get("label", "")
        class_id = keys.get(name_key(label))
        if class_id is None:
            raise DefectError(path, f"{shape.name} has the label {label!r}, which is no class", f"add it to {CLASSES}")
        if shape.kind not in AREAS:
            reason = f"{shape.name} is a {shape.kind}, where {', '.join(AREAS)} are read"
            raise DefectError(path, reason, "draw it as a polygon, or remove it")
        group = shape.fields.get("group_id", "0")
        key = place if group in ("", "0") else (class_id, group)
        parts.setdefault(key, []).append(drawn(path, shape, class_id, image.size))
    return Outlines([united(found) for found in parts.values()], image.size, background)


FORMAT = DataFormat(
    load_cvat,
    "your own photos with CVAT's XML for images 1.1; ?train=LIST&val=LIST&test=LIST name lists or subsets, ?val=20% "
    "holds out; ?background=NAME; ?annotations=FILE; semantic, instance and panoptic labels",
    "annotations.xml, images/, classes.json (optional), splits/LIST.txt (optional)",
    "yours",
    own=True,
)
