"""PASCAL-Context, 59 classes: `pascal_context:FOLDER?order=alphabetical`."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from promptseg.data.defects import Defect, DefectError
from promptseg.data.file_sample import FileSample
from promptseg.data.formats.classes_json import packaged
from promptseg.data.formats.files import find_root, make_dataset, photos_ending
from promptseg.data.formats.label_maps import IdTable
from promptseg.data.registry import DataFormat
from promptseg.data.sample import Dataset
from promptseg.label_space import IGNORE, LabelSpace
from promptseg.spec import Spec

ORDERS = ("alphabetical", "fcn")
"""By the ids of the full 459 classes (mmseg, detectron2); or the 20 of VOC first (FCN, RefineNet)."""

_COMMON = ("sky", "grass", "tree", "wall", "building", "ground", "floor", "road", "water", "person")
_LISTS, _LABELS = "ImageSets/SegmentationContext", "SegmentationClassContext"
_SHIFTED = "annotations_ctx59"


def load_pascal_context(spec: Spec) -> Dataset:
    """Open PASCAL-Context as mmseg (VOC2010) or detectron2 (images, annotations_ctx59) lays it out.

    Args:
        spec: names VOC2010 or pascal_ctx_d2, or the folder around one of them; option `order`: the class order of the
            label files, one of `ORDERS`.

    Raises:
        PromptsegError: a part is missing, an unknown option, or a listed photo that is not there.
    """
    spec.check_options(("order",))
    order = spec.choice("order", ORDERS, ORDERS[0])
    space, rows = packaged("pascal_context")
    raw = {int(row["fcn"]) if order == "fcn" else i + 1: i for i, row in enumerate(rows)}
    outer = Path(spec.where).expanduser()
    if any((outer / inner / _SHIFTED).is_dir() for inner in (".", "pascal_ctx_d2")):
        root = find_root(spec.where, ("images", _SHIFTED), ("pascal_ctx_d2",))
        mend = f"maps of {_SHIFTED} hold 0..58, and 255 for the background"
        table = IdTable({value - 1: i for value, i in raw.items()}, (IGNORE,), mend)
        pairs = _in_folders(root)
    else:
        root = find_root(spec.where, ("JPEGImages", _LABELS, _LISTS), ("VOCdevkit/VOC2010", "VOC2010"))
        table = IdTable(raw, (0,), f"maps of {_LABELS} hold 1..59, and 0 for the background")
        pairs = _in_lists(root)
    splits: dict[str, list[FileSample]] = {}
    for split, photo, labels in pairs:
        splits.setdefault(split, []).append(FileSample(photo.stem, space, photo, labels, table))
    return make_dataset("pascal_context", spec, space, splits)


def _in_folders(root: Path) -> Iterator[tuple[str, Path, Path]]:
    """Split, photo and label map of each image."""
    for split, folder in (("train", "training"), ("val", "validation")):
        for name, photo in photos_ending(root / "images" / folder, ".jpg").items():
            yield split, photo, root / _SHIFTED / folder / f"{name}.png"


def _in_lists(root: Path) -> Iterator[tuple[str, Path, Path]]:
    paths = {split: root / _LISTS / f"{split}.txt" for split in ("train", "val")}
    if not any(path.is_file() for path in paths.values()):
        raise DefectError(root / _LISTS, "has neither train.txt nor val.txt", "put the lists of names there")
    for split, path in paths.items():
        names = path.read_text(encoding="utf-8").split() if path.is_file() else ()
        for name in dict.fromkeys(names):  # a list that circulates has one name twice
            yield split, root / "JPEGImages" / f"{name}.jpg", root / _LABELS / f"{name}.png"


def suspect_order(spec: Spec, label_space: LabelSpace, pixels: NDArray[np.int64]) -> Defect | None:
    """A warning where the pixels (256,) of the classes look more like the other class order.

    Told by the classes that fill most of all photos: in the right order they have far more pixels than in the other.
    """
    _, rows = packaged("pascal_context")
    is_fcn = spec.options.get("order") == "fcn"
    other = ORDERS[0] if is_fcn else ORDERS[1]
    fcn = {int(row["fcn"]): i for i, row in enumerate(rows)}
    # The class that a pixel of class i would be of, had its file been read in the other order.
    moved = [int(row["fcn"]) - 1 for row in rows] if is_fcn else [fcn[i + 1] for i in range(len(rows))]
    common = [label_space.names.index(name) for name in _COMMON]
    here = pixels[common].sum()
    there = pixels[[i for i, target in enumerate(moved) if target in common]].sum()
    if there <= 1.5 * here:
        return None
    reason = f"the classes fit the label files better with order={other}, so their order may be wrong"
    mend = f"look at `promptseg data preview`, and write ?order={other}"
    return Defect(spec.where, reason, mend, "warning")


FORMAT = DataFormat(
    load_pascal_context,
    "PASCAL-Context, 59 classes; ?order=alphabetical or fcn, the class order of the files; semantic labels",
    "JPEGImages/*.jpg, SegmentationClassContext/*.png, ImageSets/SegmentationContext/{train,val}.txt; "
    "or images/{training,validation}/*.jpg, annotations_ctx59/{training,validation}/*.png",
    "images: Flickr terms; labels: none stated",
    suspect=suspect_order,
)
