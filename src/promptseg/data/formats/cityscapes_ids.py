"""The label ids of Cityscapes (0..33), which ACDC shares, and the instance maps made of them."""

from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from promptseg.data.formats.id_table import IdTable
from promptseg.data.formats.segments import decode_segments
from promptseg.data.images import read_values
from promptseg.data.sample import PanopticLabels, Segment
from promptseg.label_space import CITYSCAPES_19, IGNORE

LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""Label id of each of the 19 classes."""

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


def _segment(path: Path, value: int) -> Segment | None:
    is_group = value < 1000
    class_id = LABEL_ID_TABLE.class_of(value if is_group else value // 1000, path)
    if class_id == IGNORE:
        return None
    return Segment(value, class_id, is_group and CITYSCAPES_19.classes[class_id].is_thing)
