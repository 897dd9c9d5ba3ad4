"""Cityscapes: `cityscapes:FOLDER` with leftImg8bit and gtFine. Its 19 classes and label ids serve other data too."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from promptseg.data.defects import Defect, DefectError
from promptseg.data.file_sample import FileSample
from promptseg.data.formats.files import files_ending, find_root, make_dataset, photos_ending, without_photo
from promptseg.data.formats.label_maps import IdTable, decode_segments
from promptseg.data.images import read_values
from promptseg.data.registry import DataFormat
from promptseg.data.sample import Dataset, ObjectLabels, PanopticLabels, Segment
from promptseg.label_space import IGNORE, ClassInfo, LabelSpace
from promptseg.spec import Spec

# Names, order and colours as the Cityscapes benchmark publishes them (shared by BDD100K and ACDC).
_STUFF = (
    ("road", (128, 64, 128)),
    ("sidewalk", (244, 35, 232)),
    ("building", (70, 70, 70)),
    ("wall", (102, 102, 156)),
    ("fence", (190, 153, 153)),
    ("pole", (153, 153, 153)),
    ("traffic light", (250, 170, 30)),
    ("traffic sign", (220, 220, 0)),
    ("vegetation", (107, 142, 35)),
    ("terrain", (152, 251, 152)),
    ("sky", (70, 130, 180)),
)
_THINGS = (
    ("person", (220, 20, 60)),
    ("rider", (255, 0, 0)),
    ("car", (0, 0, 142)),
    ("truck", (0, 0, 70)),
    ("bus", (0, 60, 100)),
    ("train", (0, 80, 100)),
    ("motorcycle", (0, 0, 230)),
    ("bicycle", (119, 11, 32)),
)

CITYSCAPES_19 = LabelSpace(
    "cityscapes-19",
    tuple(ClassInfo(name, color, rows is _THINGS) for rows in (_STUFF, _THINGS) for name, color in rows),
)

LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""Label id of each of the 19 classes."""

_NUMBERED = 999
"""Stands for what is numbered but of no class; no label id is as large."""

LABEL_ID_TABLE = IdTable(
    {raw: i for i, raw in enumerate(LABEL_IDS)},
    (*range(34), IGNORE),
    "these are no Cityscapes label ids: take *_labelIds.png as published",
)
TRAIN_ID_TABLE = IdTable(
    {i: i for i in range(19)},
    (IGNORE,),
    "ids up to 33 look like Cityscapes label ids: take the map of train ids (0..18, 255), not that of label ids",
)


def read_instance_classes(path: Path) -> NDArray[np.uint8]:
    """Class ids (H, W) from a map of instance ids."""
    values = read_values(path).astype(np.int32)
    return LABEL_ID_TABLE.apply(np.where(values >= 1000, values // 1000, values), path)


def read_instances(path: Path) -> PanopticLabels:
    """Panoptic labels from a 16-bit map of instance ids, which stay the segment ids.

    A value from 1000 on is label id * 1000 + number. A smaller one is the label id: stuff, or a group of things
    that nobody could tell apart, which is a crowd (as in createPanopticImgs.py of cityscapesScripts).
    """
    return decode_segments(read_values(path), partial(_segment, path), CITYSCAPES_19.thing_ids, path)


def read_whole_instances(path: Path) -> ObjectLabels:
    """Labels of instances, as the official evaluation reads them.

    They differ from the panoptic ones in what is ignored but numbered, such as a trailer: void is a value below 1000
    there, so a detection on a trailer is a mistake.
    """
    labels, values = ObjectLabels.of(read_instances(path)), read_values(path)
    labels.map[(labels.map == 0) & (values >= 1000)] = _NUMBERED
    return labels


def _segment(path: Path, value: int) -> Segment | None:
    is_group = value < 1000
    class_id = LABEL_ID_TABLE.class_of(value if is_group else value // 1000, path)
    if class_id == IGNORE:
        return None
    return Segment(value, class_id, is_group and CITYSCAPES_19.classes[class_id].is_thing)


_INSTANCES = "_gtFine_instanceIds.png"
_READERS: dict[str, Callable[[Path], NDArray[np.uint8]]] = {
    "_gtFine_labelIds.png": LABEL_ID_TABLE,
    "_gtFine_labelTrainIds.png": TRAIN_ID_TABLE,
    _INSTANCES: read_instance_classes,
}
"""Label files that give the classes, best first: train ids are made by a script, and not always the same."""


def load_cityscapes(spec: Spec) -> Dataset:
    """Open Cityscapes; the labels of its test split are not public, so that split is empty.

    Raises:
        PromptsegError: a part is missing, or any option.
    """
    spec.check_options(())
    root = find_root(spec.where, ("leftImg8bit", "gtFine"))
    parts = {split: _split(root, split) for split in ("train", "val")}
    splits = {name: samples for name, (samples, _) in parts.items()}
    warnings = tuple(defect for _, defects in parts.values() for defect in defects)
    return make_dataset("cityscapes", spec, CITYSCAPES_19, splits, warnings)


def _split(root: Path, split: str) -> tuple[list[FileSample], tuple[Defect, ...]]:
    photos = photos_ending(root / "leftImg8bit" / split, "_leftImg8bit.png")
    folder = root / "gtFine" / split
    labels = {ending: files_ending(folder, ending) for ending in _READERS}
    ending = next((ending for ending, files in labels.items() if files), None)
    if ending is None:
        raise DefectError(folder, f"no files *{next(iter(_READERS))} below it", "unpack gtFine_trainvaltest.zip there")
    samples = []
    for name, photo in photos.items():
        path, read = folder / f"{name}{ending}", _READERS[ending]
        instances = folder / f"{name}{_INSTANCES}"
        segments = (partial(read_instances, instances), partial(read_whole_instances, instances))
        readers = segments if labels[_INSTANCES] else ()
        samples.append(FileSample(f"{split}/{name}", CITYSCAPES_19, photo, path, read, *readers))
    return samples, without_photo(labels[ending], photos)


FORMAT = DataFormat(
    load_cityscapes,
    "Cityscapes, 19 classes; semantic, instance and panoptic labels",
    "leftImg8bit/{train,val}/CITY/*_leftImg8bit.png, gtFine/{train,val}/CITY/*_gtFine_{labelIds,instanceIds}.png",
    "Cityscapes terms, registration, no redistribution",
)
