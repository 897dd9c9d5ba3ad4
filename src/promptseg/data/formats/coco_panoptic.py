"""COCO panoptic, and whatever else is in its format: `coco_panoptic:FOLDER` with annotations/panoptic_SPLIT*.json."""

from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from promptseg.data.defects import Defect, DefectError
from promptseg.data.file_sample import FileSample
from promptseg.data.formats.coco_json import by_image, category_classes, field, image_key, read_coco, read_panoptic
from promptseg.data.formats.files import find_root, make_dataset
from promptseg.data.registry import DataFormat
from promptseg.data.sample import Dataset
from promptseg.label_space import LabelSpace
from promptseg.models.templates import clean_name
from promptseg.spec import Spec


def load_coco_panoptic(spec: Spec) -> Dataset:
    """Open a data set in COCO's panoptic format; its classes are the categories in the order of their ids.

    Names lose `-other`, `-merged` and `-stuff`, as SEEM does before it puts them into a prompt.

    Raises:
        PromptsegError: a part is missing, files of other categories, or any option.
    """
    spec.check_options(())
    root = find_root(spec.where, ("annotations",))
    files = {split: _json_file(root, split) for split in ("train", "val")}
    spaces: list[tuple[Path, LabelSpace]] = []
    splits, warnings = {}, list[Defect]()
    for split, path in files.items():
        if path is not None:
            label_space, splits[split], orphans = _samples(root, path)
            warnings += orphans
            spaces.append((path, label_space))
    if not spaces:
        raise DefectError(root / "annotations", "no panoptic_train*.json or panoptic_val*.json", "unpack them there")
    (first, label_space), (last, other) = spaces[0], spaces[-1]
    if other.names != label_space.names:
        raise DefectError(last, f"has other categories than {first.name}", "take both files of one release")
    return make_dataset("coco_panoptic", spec, label_space, splits, tuple(warnings))


def _json_file(root: Path, split: str) -> Path | None:
    found = sorted((root / "annotations").glob(f"panoptic_{split}*.json"))
    if len(found) > 1:
        raise DefectError(found[1], f"is there beside {found[0].name}", "keep one of them in annotations")
    return found[0] if found else None


def _samples(root: Path, path: Path) -> tuple[LabelSpace, list[FileSample], list[Defect]]:
    """The samples of one JSON file: PNGs beside it or below the root in a folder of its name, photos by the split."""
    content = read_coco(path)
    label_space, classes = category_classes(path, _prompt_names(content["categories"]), "coco-panoptic")
    split = path.stem.removeprefix("panoptic_")
    pictures = _first_folder(path, root / "annotations" / path.stem, root / path.stem)
    photos = _first_folder(path, root / split, root / "images" / split)
    annotations, warnings = by_image(path, content)
    samples = {}
    for image in content["images"]:
        name = _below(path, image)
        found = annotations.get(image_key(path, image, "id"), [])
        if len(found) != 1:
            reason = f"has {len(found) or 'no'} annotation{'s' * (len(found) > 1)} of the image {name}"
            raise DefectError(path, reason, "one was expected: take the file as it was published")
        labels = pictures / _below(path, found[0])
        decode = partial(read_panoptic, labels, field(path, found[0], "segments_info", list), classes, label_space)
        id_ = f"{split}/{name.with_suffix('')}"
        if id_ in samples:
            raise DefectError(path, f"has two images named {name}", "take the file as it was published")
        samples[id_] = FileSample(id_, label_space, photos / name, labels, None, decode)
    return label_space, list(samples.values()), warnings


def _below(path: Path, record: dict[str, Any]) -> PurePosixPath:
    """The path of a record's file below its folder; exports of Windows have other separators."""
    name = PurePosixPath(field(path, record, "file_name", str).replace("\\", "/"))
    if not name.name or name.is_absolute() or ".." in name.parts:
        raise DefectError(path, f"names the file {str(name)[:60]!r}", "write the path of a file below its folder")
    return name


def _first_folder(path: Path, *places: Path) -> Path:
    for place in places:
        if place.is_dir():
            return place
    raise DefectError(path, f"names files that are not here: no folder {' or '.join(map(str, places))}", "unpack them")


def _prompt_names(categories: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The categories with shorter names, where these still tell all of them apart."""
    shorter = []
    for category in categories:
        name = clean_name(str(category.get("name", "")))
        shorter.append({**category, "name": name})
    return shorter if len({c["name"] for c in shorter}) == len(categories) else categories


FORMAT = DataFormat(
    load_coco_panoptic,
    "COCO panoptic, 133 classes, or any data in its format; semantic, instance and panoptic labels",
    "{train,val}2017/*.jpg, annotations/panoptic_{train,val}2017.json, annotations/panoptic_{train,val}2017/*.png",
    "labels CC BY 4.0; images: Flickr terms, each its own Creative Commons licence",
)
