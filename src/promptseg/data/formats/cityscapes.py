"""Cityscapes: `cityscapes:FOLDER` with leftImg8bit and gtFine."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from promptseg.data.defects import Defect, DefectError
from promptseg.data.file_sample import FileSample
from promptseg.data.formats.cityscapes_ids import (
    LABEL_ID_TABLE,
    TRAIN_ID_TABLE,
    read_instance_classes,
    read_instances,
)
from promptseg.data.formats.data_format import DataFormat
from promptseg.data.formats.files import (
    check_options,
    files_ending,
    find_root,
    make_dataset,
    photos_ending,
    without_photo,
)
from promptseg.data.sample import Dataset
from promptseg.label_space import CITYSCAPES_19

_INSTANCES = "_gtFine_instanceIds.png"
_READERS: dict[str, Callable[[Path], NDArray[np.uint8]]] = {
    "_gtFine_labelIds.png": LABEL_ID_TABLE,
    "_gtFine_labelTrainIds.png": TRAIN_ID_TABLE,
    _INSTANCES: read_instance_classes,
}
"""Label files that give the classes, best first: train ids are made by a script, and not always the same."""


def load_cityscapes(where: str, options: dict[str, str]) -> Dataset:
    """Open Cityscapes; the labels of its test split are not public, so that split is empty.

    Raises:
        PromptsegError: a part is missing, or any option.
    """
    check_options("cityscapes", options, ())
    root = find_root(where, ("leftImg8bit", "gtFine"))
    parts = {split: _split(root, split) for split in ("train", "val")}
    splits = {name: samples for name, (samples, _) in parts.items()}
    warnings = tuple(defect for _, defects in parts.values() for defect in defects)
    return make_dataset("cityscapes", where, options, CITYSCAPES_19, splits, warnings)


def _split(root: Path, split: str) -> tuple[list[FileSample], tuple[Defect, ...]]:
    photos = photos_ending(root / "leftImg8bit" / split, "_leftImg8bit.png")
    folder = root / "gtFine" / split
    labels = {ending: files_ending(folder, ending) for ending in _READERS}
    ending = next((ending for ending, files in labels.items() if files), None)
    if ending is None:
        raise DefectError(folder, f"no files *{next(iter(_READERS))} below it", "unpack gtFine_trainvaltest.zip there")
    samples = []
    for name, photo in photos.items():
        instances = partial(read_instances, folder / f"{name}{_INSTANCES}") if labels[_INSTANCES] else None
        label_path = folder / f"{name}{ending}"
        samples.append(FileSample(f"{split}/{name}", CITYSCAPES_19, photo, label_path, _READERS[ending], instances))
    return samples, without_photo(labels[ending], photos)


FORMAT = DataFormat(
    load_cityscapes,
    "Cityscapes, 19 classes; semantic, instance and panoptic labels",
    "leftImg8bit/{train,val}/CITY/*_leftImg8bit.png, gtFine/{train,val}/CITY/*_gtFine_{labelIds,instanceIds}.png",
    "Cityscapes terms, registration, no redistribution",
)
