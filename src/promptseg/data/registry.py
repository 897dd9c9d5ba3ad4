"""Data formats by name, and data sets by spec: `cityscapes:FOLDER`, `folder:PATH?train=LIST`, or just a path."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from promptseg.data.defects import Defect
from promptseg.data.sample import Dataset
from promptseg.errors import PromptsegError, unknown_name
from promptseg.label_space import LabelSpace
from promptseg.registry import Registry
from promptseg.spec import Spec, read_spec


@dataclass(frozen=True)
class DataFormat:
    """A way to open data, and what `promptseg data list` tells of it.

    Attributes:
        load: opens the data set of a spec; its `where` is what stands behind the colon, as `FOLDER`.
        about: the data set, its classes, its options.
        layout: paths below the folder that the spec names.
        licence: of the data.
        in_folder: whether a spec names a folder, which the environment variable PROMPTSEG_NAME may do in its place.
        own: whether these are people's own photos, who choose the splits themselves.
        suspect: takes a spec, its classes and the pixels (256,) of each id in all labels; says why these probably mean
            other classes than they are read as, None if nothing looks so.
    """

    load: Callable[[Spec], Dataset]
    about: str
    layout: str
    licence: str
    in_folder: bool = True
    own: bool = False
    suspect: Callable[[Spec, LabelSpace, NDArray[np.int64]], Defect | None] | None = None


_ROOM = "promptseg.data.formats"
FORMATS: Registry[DataFormat] = Registry(
    "data format",
    "promptseg.formats",
    "promptseg.data.registry:DataFormat",
    {
        "streets": "promptseg.data.streets.dataset:FORMAT",
        "folder": f"{_ROOM}.folder:FORMAT",
        "coco": f"{_ROOM}.coco:FORMAT",
        "labelme": f"{_ROOM}.labelme:FORMAT",
        "yolo": f"{_ROOM}.yolo:FORMAT",
        "cvat": f"{_ROOM}.cvat:FORMAT",
        "voc": f"{_ROOM}.voc:FORMAT",
        "cityscapes": f"{_ROOM}.cityscapes:FORMAT",
        "bdd100k": f"{_ROOM}.bdd100k:FORMAT",
        "mapillary": f"{_ROOM}.mapillary:FORMAT",
        "ade20k": f"{_ROOM}.ade20k:FORMAT",
        "pascal_context": f"{_ROOM}.pascal_context:FORMAT",
        "acdc": f"{_ROOM}.acdc:FORMAT",
        "coco_panoptic": f"{_ROOM}.coco_panoptic:FORMAT",
    },
)


def load_dataset(spec: str) -> Dataset:
    """Open the data set that `spec` names; images are read later, when a sample is asked for them.

    Args:
        spec: `FORMAT:WHERE?key=value&...` with a format of `FORMATS`, or the path of a folder. Without WHERE, the
            environment variable PROMPTSEG_FORMAT (in capitals) says where the data are.

    Raises:
        PromptsegError: unknown format or option, or what it names is not there.
    """
    name, parts = parse_spec(spec)
    data_format = FORMATS[name]
    if data_format.in_folder and not parts.where:
        where = os.environ.get(variable(name), "")
        if not where:
            raise PromptsegError(f"{name}: names no folder; write {name}:FOLDER, or set {variable(name)}=FOLDER")
        parts = Spec(parts.text, where, parts.options)
    return data_format.load(parts)


def parse_spec(spec: str) -> tuple[str, Spec]:
    """The format of a spec, and the spec with what stands behind the colon as its `where`; a path is a `folder`.

    Raises:
        PromptsegError: neither a known format nor a path that is there.
    """
    parts = read_spec(str(spec))
    name, colon, rest = parts.where.partition(":")
    if name in FORMATS and (colon or not Path(parts.where).exists()):
        return name, Spec(parts.text, rest, parts.options)
    if Path(parts.where).exists():
        return "folder", parts
    if colon:
        raise unknown_name("data format", name, FORMATS)
    raise PromptsegError(
        f"{parts.where}: no such folder; give a path, or one of {', '.join(f'{n}:...' for n in sorted(FORMATS))}"
    )


def variable(name: str) -> str:
    """The environment variable that says where the data of a format are."""
    return f"PROMPTSEG_{name.upper()}"
