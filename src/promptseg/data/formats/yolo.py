"""YOLO segmentation: `yolo:FOLDER` with data.yaml, photos in `images` folders and text files in `labels` folders."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from promptseg.data.defects import DefectError
from promptseg.data.file_sample import FileSample
from promptseg.data.formats.files import find_root, walk_files
from promptseg.data.formats.objects import Outline, Outlines, drawn_sample, outline
from promptseg.data.formats.photos import unlabelled
from promptseg.data.formats.splits import SPLIT_OPTIONS, open_own
from promptseg.data.images import IMAGE_SUFFIXES
from promptseg.data.label_space import background_of, classes_of
from promptseg.data.photo_pixels import photo_size
from promptseg.data.registry import DataFormat
from promptseg.data.sample import Dataset
from promptseg.label_space import MAX_CLASSES, LabelSpace
from promptseg.spec import Spec

_NAMES = ("data.yaml", "data.yml", "dataset.yaml")


def load_yolo(spec: Spec) -> Dataset:
    """Open a folder in the form of YOLO segmentation; the classes are the names of `data.yaml`, in their order.

    Args:
        spec: names the folder. Beside each photo in `images/...` lies a text file in `labels/...`, with a line for each
            object: its class, then x and y of its corners in shares of the photo. Splits are the folders, as
            `images/train` or `train/images`. Options: `background` and those of the splits, see `split_ids`.

    Raises:
        PromptsegError: no names, no labels, or an unknown option or list.
    """
    spec.check_options(("background", *SPLIT_OPTIONS))
    root = find_root(spec.where, ())
    path = next((root / name for name in _NAMES if (root / name).is_file()), None)
    if path is None:
        raise DefectError(root, "has no data.yaml", "write one with the names of the classes: names: [road, car]")
    label_space, background, said = background_of(root, spec, _classes(path))
    samples: dict[str, FileSample] = {}
    left: dict[str, None] = {}
    for id_, photo, labels in _pairs(root):
        if id_ in samples or id_ in left:
            raise DefectError(photo, f"has the name {id_}, as another photo", "rename or remove one of them")
        if not labels.is_file():
            left[id_] = None
            continue
        draw = partial(_draw, labels, photo, len(label_space), background)
        samples[id_] = drawn_sample(id_, label_space, photo, labels, draw)
    if not samples:
        raise DefectError(root, f"none of {len(left)} photos in images has a file in labels", "export both together")
    said += unlabelled(root, list(left), len(left) + len(samples))
    return open_own("yolo", root, spec, samples, label_space, said, aside=list(left))


def _classes(path: Path) -> LabelSpace:
    try:
        content = yaml.safe_load(path.read_bytes())
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DefectError(path, f"not valid YAML ({error})", "export it again") from None
    names: Any = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, dict) and sorted(names, key=str) == sorted(range(len(names)), key=str):
        names = [names[number] for number in range(len(names))]
    fits = isinstance(names, list) and 0 < len(names) <= MAX_CLASSES and all(isinstance(n, str) for n in names)
    if not fits:
        raise DefectError(path, f"has no 1..{MAX_CLASSES} names from 0 on", "write names: [road, car]")
    return classes_of(path, [{"name": name, "kind": "thing"} for name in names], path.resolve().parent.name)


def _pairs(root: Path) -> Iterator[tuple[str, Path, Path]]:
    """Id, photo and file of labels: where the photo has `images` in its path, the labels have `labels`."""
    for photo in walk_files(root):
        parts = photo.relative_to(root).parts
        if photo.suffix.lower() in IMAGE_SUFFIXES and "images" in parts[:-1]:
            place = parts[:-1].index("images")
            below = (*parts[:place], *parts[place + 1 :])
            labels = root.joinpath(*parts[:place], "labels", *parts[place + 1 :]).with_suffix(".txt")
            yield Path(*below).with_suffix("").as_posix(), photo, labels


def _draw(path: Path, photo: Path, classes: int, background: int | None) -> Outlines:
    size, outlines = photo_size(photo), []
    for number, line in enumerate(path.read_bytes().decode("utf-8", "replace").splitlines(), 1):
        if line.strip():
            outlines.append(_outline(path, f"line {number}", line.split(), size, classes))
    return Outlines(outlines, size, background)


def _outline(path: Path, name: str, words: list[str], size: tuple[int, int], classes: int) -> Outline:
    """The object of a line: its class, then x and y of its corners in shares of the photo's `size` (H, W)."""
    try:
        class_id, shares = int(words[0]), [float(word) for word in words[1:]]
    except ValueError:
        raise DefectError(path, f"{name} holds something else than numbers", "export it again") from None
    if not 0 <= class_id < classes:
        reason = f"{name} has the class {class_id}, where 0..{classes - 1} was expected"
        raise DefectError(path, reason, "name it in data.yaml")
    if len(shares) == 4:
        raise DefectError(path, f"{name} is a box, where an outline was expected", "export it for segmentation")
    corners = [share * size[1 - place % 2] for place, share in enumerate(shares)]
    return outline(path, class_id, False, [corners], size, name)


FORMAT = DataFormat(
    load_yolo,
    "your own photos with YOLO segmentation labels; ?train=LIST&val=LIST&test=LIST, ?val=20%, ?background=NAME; "
    "semantic, instance and panoptic labels",
    "data.yaml, images/{train,val}/*.jpg, labels/{train,val}/*.txt; or {train,val}/images, {train,val}/labels",
    "yours",
    own=True,
)
