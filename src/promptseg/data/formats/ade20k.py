"""ADE20K, the benchmark of 150 classes: `ade20k:FOLDER` with images and annotations."""

from functools import partial
from pathlib import Path

import numpy as np

from promptseg.data.defects import Defect, DefectError
from promptseg.data.file_sample import FileSample
from promptseg.data.formats.classes_json import packaged
from promptseg.data.formats.files import (
    files_ending,
    find_root,
    make_dataset,
    photos_ending,
    without_photo,
)
from promptseg.data.formats.label_maps import IdTable, decode_segments
from promptseg.data.images import read_channels
from promptseg.data.registry import DataFormat
from promptseg.data.sample import Dataset, PanopticLabels, Segment
from promptseg.label_space import LabelSpace
from promptseg.spec import Spec

TABLE = IdTable(
    {i + 1: i for i in range(150)},
    (0,),
    "the files of annotations/ hold 1..150, and 0 for other objects; 255 is in copies that were shifted by one",
)


def load_ade20k(spec: Spec) -> Dataset:
    """Open ADE20K-150; instances come from `annotations_instance`, an archive of its own, where it is there.

    Raises:
        PromptsegError: a part is missing, or any option.
    """
    spec.check_options(())
    root = find_root(spec.where, ("images", "annotations"), ("ADEChallengeData2016",))
    space, _ = packaged("ade20k")
    splits, warnings = {}, list[Defect]()
    for split, folder in (("train", "training"), ("val", "validation")):
        photos = photos_ending(root / "images" / folder, ".jpg")
        splits[split] = [_sample(root, space, f"{folder}/{name}", photo) for name, photo in photos.items()]
        warnings += without_photo(files_ending(root / "annotations" / folder, ".png"), photos)
    return make_dataset("ade20k", spec, space, splits, tuple(warnings))


def _sample(root: Path, space: LabelSpace, id_: str, photo: Path) -> FileSample:
    labels, instances = root / "annotations" / f"{id_}.png", root / "annotations_instance" / f"{id_}.png"
    has_instances = instances.parent.is_dir()
    return FileSample(
        id_, space, photo, labels, TABLE, partial(_read_panoptic, space, labels, instances) if has_instances else None
    )


def _read_panoptic(space: LabelSpace, label_path: Path, instance_path: Path) -> PanopticLabels:
    """Stuff from the semantic map, instances pasted over it: R is 1..100 in the order of the things, G a number.

    Segment ids: class + 1 for stuff, (class + 1) * 256 + G for things. A thing's pixel without an instance is void,
    as in the panoptic maps that Mask2Former makes of these files.
    """
    things = np.array([0, *space.thing_ids])
    classes, numbered = TABLE(label_path), read_channels(instance_path, "RGB")
    category, number = numbered[..., 0], numbered[..., 1].astype(np.int32)
    if classes.shape != category.shape or category.max() >= len(things):
        reason = f"categories up to {category.max()} and the shape {category.shape}"
        expected = f"1..{len(things) - 1} and {classes.shape}"
        raise DefectError(instance_path, f"has {reason}, where {expected} was expected", "take it as published")
    is_stuff = np.isin(classes, [i for i, c in enumerate(space.classes) if not c.is_thing])
    values = np.where(category > 0, (things[category] + 1) * 256 + number, np.where(is_stuff, classes + 1, 0))

    def describe(value: int) -> Segment | None:
        return Segment(value, (value // 256 or value) - 1) if value else None

    return decode_segments(values, describe, space.thing_ids, instance_path)


FORMAT = DataFormat(
    load_ade20k,
    "ADE20K, 150 classes (SceneParse150); semantic, instance and panoptic labels",
    "images/{training,validation}/*.jpg, annotations/{training,validation}/*.png, annotations_instance/... (optional)",
    "non-commercial research and education, registration",
)
