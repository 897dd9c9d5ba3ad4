"""COCO instance files, as labelling tools export them: `coco:FOLDER` with images and annotations.json."""

from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from promptseg.data.defects import DefectError
from promptseg.data.file_sample import FileSample
from promptseg.data.formats.coco_json import ID, category_classes, field, read_coco
from promptseg.data.formats.files import find_root, make_dataset
from promptseg.data.formats.outlines import outline, paint
from promptseg.data.formats.splits import split_ids
from promptseg.data.images import MAX_PIXELS, image_size
from promptseg.data.registry import DataFormat
from promptseg.data.sample import Dataset, PanopticLabels
from promptseg.label_space import LabelSpace
from promptseg.spec import Spec

_POOLS = ("annotations.json", "result.json", "annotations/instances_default.json")
"""Files that hold all images, whatever their split; the second is Label Studio's, the third CVAT's."""
_ONE_SPLIT = {"train": ("train",), "val": ("val", "valid"), "test": ("test",)}
"""What file and folder names call each split; `valid` is Roboflow's."""


def load_coco(spec: Spec) -> Dataset:
    """Open photos with a COCO instance file; its categories in the order of their ids are the classes.

    Args:
        spec: names the folder. With `annotations.json`, the splits are made as those of a folder of photos: lists in
            `splits/`, or `images/train`, `images/val`. Else `annotations/instances_train*.json` and so on are read.
            Options `train`, `val`, `test`: names of lists in `splits/`, with one file of annotations.

    Raises:
        PromptsegError: a part is missing, broken JSON, files of other categories, or an unknown option or list.
    """
    root = find_root(spec.where, ())
    pool = next((root / name for name in _POOLS if (root / name).is_file()), None)
    if pool is None:
        spec.check_options(())
        return _in_files(root, spec)
    label_space, samples = _samples(root, pool, "")
    ids, defects = split_ids(root, spec.options, samples)
    for defect in defects:
        raise DefectError(defect.file, defect.reason, defect.mend)
    splits = {split: [samples[i] for i in names] for split, names in ids.items()}
    return make_dataset("coco", spec, label_space, splits)


def _in_files(root: Path, spec: Spec) -> Dataset:
    """One file of annotations for each split."""
    splits: dict[str, list[FileSample]] = {}
    spaces: list[LabelSpace] = []
    for split, names in _ONE_SPLIT.items():
        found = next((found for name in names for found in _files_of(root, name)), None)
        if found is None:
            continue
        label_space, samples = _samples(root, *found)
        splits[split] = list(samples.values())
        spaces.append(label_space)
        if label_space.names != spaces[0].names:
            raise DefectError(found[0], "has other categories than the file of another split", "export them together")
    if not spaces:
        raise DefectError(root, "has no annotations.json", "export COCO JSON there, with the photos in images/")
    return make_dataset("coco", spec, spaces[0], splits)


def _files_of(root: Path, name: str) -> Iterator[tuple[Path, str]]:
    """Files of annotations of one split, each with the folder of its photos; the second kind is Roboflow's."""
    for path in sorted((root / "annotations").glob(f"instances_{name}*.json")):
        yield path, path.stem.removeprefix("instances_")
    if (path := root / name / "_annotations.coco.json").is_file():
        yield path, name


def _samples(root: Path, path: Path, split: str) -> tuple[LabelSpace, dict[str, FileSample]]:
    """The samples of a file of annotations by id: the photo's name, below its split's folder if there is one."""
    content = read_coco(path)
    label_space, classes = category_classes(path, content["categories"], root.resolve().name)
    objects = defaultdict(list)
    for annotation in content["annotations"]:
        if field(path, annotation, "category_id", int) not in classes:
            raise DefectError(path, f"an annotation has the unknown category {annotation['category_id']}", "list it")
        objects[field(path, annotation, "image_id", ID)].append(annotation)
    samples = {}
    for image in content["images"]:
        name = field(path, image, "file_name", str)
        photo = _photo(root, split, name)
        found = objects.get(field(path, image, "id", ID), [])
        decode = partial(_read_objects, path, photo, image, found, classes)
        id_ = "/".join(filter(None, (split, Path(name.removeprefix("images/")).with_suffix("").as_posix())))
        if id_ in samples:
            raise DefectError(path, f"has two images named {id_}", "rename one of them")
        samples[id_] = FileSample(id_, label_space, photo, path, None, decode)
    return label_space, samples


def _photo(root: Path, split: str, name: str) -> Path:
    """Where a photo is; where it should be, if it is nowhere."""
    folders = [root / split, root / "images" / split] if split else [root / "images", root, root / "images/default"]
    return next((f / name for f in folders if (f / name).is_file()), folders[0] / name)


def _read_objects(
    path: Path, photo: Path, image: dict[str, Any], objects: list[dict[str, Any]], classes: dict[int, int]
) -> PanopticLabels:
    """All objects of a photo in one map, at the size that the file says the photo has."""
    size = image_size(photo)
    if "height" in image and "width" in image:
        # Labels made for another size are told by the sample's check, not stretched.
        size = (field(path, image, "height", int), field(path, image, "width", int))
        if min(size) < 1 or size[0] * size[1] > MAX_PIXELS:
            raise DefectError(path, f"says that {photo.name} is {size[1]}x{size[0]} pixels", "export it again")
    outlines = [
        outline(
            path,
            classes[o["category_id"]],
            bool(o.get("iscrowd", 0)),
            o.get("segmentation"),
            size,
            f"object {o.get('id')} of {photo.name}",
        )
        for o in objects
    ]
    return paint(outlines, size)


FORMAT = DataFormat(
    load_coco,
    "your own photos with COCO instance JSON; ?train=LIST&val=LIST&test=LIST name lists of splits/; semantic, "
    "instance and panoptic labels",
    "images/, annotations.json; or {train,val}2017/*.jpg, annotations/instances_{train,val}2017.json",
    "yours; COCO: labels CC BY 4.0, images Flickr terms",
    own=True,
)
