"""BDD100K, the 10K images with segmentation: `bdd100k:FOLDER` with images/10k and labels."""

from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from promptseg.data.defects import Defect
from promptseg.data.file_sample import FileSample
from promptseg.data.formats.cityscapes import CITYSCAPES_19, TRAIN_ID_TABLE
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
from promptseg.label_space import IGNORE, LabelSpace
from promptseg.spec import Spec

_MASKS, _BITMASKS = "labels/sem_seg/masks", "labels/pan_seg/bitmasks"
_CROWD, _IGNORED = 2, 1
"""Flags of a segment; neither kind is counted by the official evaluation, nor are hits on it mistakes."""


def load_bdd100k(spec: Spec) -> Dataset:
    """Open BDD100K.

    Args:
        spec: names the folder with `images` and `labels`, or the one around it; option `classes`: 19 (the semantic
            task, default) or 40 (the panoptic task: classes from pan_seg/bitmasks).

    Raises:
        PromptsegError: a part is missing, or an unknown option.
    """
    spec.check_options(("classes",))
    wide = spec.choice("classes", ("19", "40"), "19") == "40"
    labels = _BITMASKS if wide else _MASKS
    root = find_root(spec.where, ("images/10k", labels), ("bdd100k",))
    space, table = _forty() if wide else (CITYSCAPES_19, _nineteen())
    splits, warnings = {}, list[Defect]()
    for split in ("train", "val"):
        photos = photos_ending(root / "images/10k" / split, ".jpg")
        read = partial(_read_classes, table) if wide else TRAIN_ID_TABLE
        bitmasks = root / _BITMASKS / split
        splits[split] = [
            FileSample(
                f"{split}/{name}",
                space,
                photo,
                root / labels / split / f"{name}.png",
                read,
                partial(_read_segments, table, space, bitmasks / f"{name}.png") if bitmasks.is_dir() else None,
            )
            for name, photo in photos.items()
        ]
        warnings += without_photo(files_ending(root / labels / split, ".png"), photos)
    return make_dataset("bdd100k", spec, space, splits, tuple(warnings))


def _forty() -> tuple[LabelSpace, IdTable]:
    space, _ = packaged("bdd100k_40")
    return space, _table({i + 1: i for i in range(len(space))})


def _nineteen() -> IdTable:
    """Panoptic categories 1..40 to the 19 classes."""
    _, rows = packaged("bdd100k_40")
    return _table({int(row["id"]) + 1: int(row["train_id"]) for row in rows})


def _table(classes: dict[int, int]) -> IdTable:
    return IdTable(classes, (0,), "take the bitmasks of pan_seg, whose categories are 1..40")


def _read_classes(table: IdTable, path: Path) -> NDArray[np.uint8]:
    return table.apply(read_channels(path, "RGBA")[..., 0], path)


def _read_segments(table: IdTable, space: LabelSpace, path: Path) -> PanopticLabels:
    """Segments of a bitmask: R category, G flags, B * 256 + A the number, which becomes the segment id."""
    pixels = read_channels(path, "RGBA").astype(np.int64)
    values = pixels @ np.array([1 << 24, 1 << 16, 1 << 8, 1])

    def describe(value: int) -> Segment | None:
        category, flags, number = value >> 24, value >> 16 & 255, value & 0xFFFF
        class_id = table.class_of(category, path)
        if class_id == IGNORE:
            return None
        uncounted = bool(flags & (_CROWD | _IGNORED)) and space.classes[class_id].is_thing
        return Segment(number, class_id, uncounted)

    return decode_segments(values, describe, space.thing_ids, path)


FORMAT = DataFormat(
    load_bdd100k,
    "BDD100K 10K images, 19 classes, or ?classes=40 of the panoptic task; semantic, instance and panoptic labels",
    "images/10k/{train,val}/*.jpg, labels/sem_seg/masks/{train,val}/*.png, labels/pan_seg/bitmasks/{train,val}/*.png",
    "education, research and not-for-profit use, with the University of California's notice",
)
