"""ACDC: `acdc:FOLDER?condition=fog`, or all four conditions without the option."""

from functools import cache, partial
from pathlib import Path
from typing import Any

from promptseg.data.defects import Defect, DefectError
from promptseg.data.file_sample import FileSample
from promptseg.data.formats.cityscapes import CITYSCAPES_19, LABEL_ID_TABLE, LABEL_IDS, TRAIN_ID_TABLE
from promptseg.data.formats.coco_json import field, read_coco, read_panoptic
from promptseg.data.formats.files import (
    files_ending,
    find_root,
    make_dataset,
    photos_ending,
    without_photo,
)
from promptseg.data.registry import DataFormat
from promptseg.data.sample import Dataset, PanopticLabels
from promptseg.label_space import IGNORE
from promptseg.spec import Spec

CONDITIONS = ("fog", "night", "rain", "snow")
_READERS = {"_gt_labelTrainIds.png": TRAIN_ID_TABLE, "_gt_labelIds.png": LABEL_ID_TABLE}
_CLASSES = dict.fromkeys(range(34), IGNORE) | {raw: i for i, raw in enumerate(LABEL_IDS)}


def load_acdc(spec: Spec) -> Dataset:
    """Open ACDC; the labels of its test split are not public, so that split is empty.

    Args:
        spec: names the folder with `rgb_anon` and `gt`, or `rgb_anon_trainvaltest` and `gt_trainval` around them;
            option `condition`: one of `CONDITIONS`, or all (default).

    Raises:
        PromptsegError: a part is missing, or an unknown option.
    """
    spec.check_options(("condition",))
    condition = spec.choice("condition", (*CONDITIONS, "all"), "all")
    root = find_root(spec.where, ())
    photos = _unpacked(root, "rgb_anon", "rgb_anon_trainvaltest")
    labels = _unpacked(root, "gt", "gt_trainval")
    panoptic = root / "gt_panoptic_trainval" if (root / "gt_panoptic_trainval").is_dir() else root / "gt_panoptic"
    splits: dict[str, list[FileSample]] = {"train": [], "val": []}
    warnings: list[Defect] = []
    for part in CONDITIONS if condition == "all" else (condition,):
        for split, samples in splits.items():
            found, orphans = _samples(photos, labels, panoptic, f"{part}/{split}")
            samples += found
            warnings += orphans
    return make_dataset("acdc", spec, CITYSCAPES_19, splits, tuple(warnings))


def _unpacked(root: Path, name: str, archive: str) -> Path:
    return find_root(str(root), (name,), (archive,)) / name


def _samples(photos: Path, labels: Path, panoptic: Path, part: str) -> tuple[list[FileSample], tuple[Defect, ...]]:
    """The samples of a condition's split, with label files that no photo belongs to."""
    found = photos_ending(photos / part, "_rgb_anon.png")
    there = {ending: files_ending(labels / part, ending) for ending in _READERS}
    ending = next((ending for ending, files in there.items() if files), None)
    if ending is None:
        raise DefectError(labels / part, f"no files *{next(iter(_READERS))} below it", "unpack gt_trainval.zip there")
    samples = []
    for name, photo in found.items():
        segments = partial(_read_segments, panoptic, Path(name).name) if panoptic.is_dir() else None
        path = labels / part / f"{name}{ending}"
        samples.append(FileSample(f"{part}/{name}", CITYSCAPES_19, photo, path, _READERS[ending], segments))
    return samples, without_photo(there[ending], found)


def _read_segments(panoptic: Path, stem: str) -> PanopticLabels:
    """The segments of a photo; the JSON files are found by what they hold, as their names differ."""
    name = f"{stem}_gt_panoptic.png"
    pictures, records = _index(panoptic)
    if name not in pictures or name not in records:
        reason = f"has no {'PNG' if name not in pictures else 'entry in a JSON file'} named {name}"
        raise DefectError(panoptic, reason, "unpack gt_panoptic_trainval.zip there")
    return read_panoptic(pictures[name], records[name], _CLASSES, CITYSCAPES_19)


@cache
def _index(panoptic: Path) -> tuple[dict[str, Path], dict[str, list[dict[str, Any]]]]:
    """Every panoptic PNG, and the segments of each, by the PNG's name (which holds clip and frame)."""
    pictures: dict[str, Path] = {}
    for path in files_ending(panoptic, "_gt_panoptic.png").values():
        if pictures.setdefault(path.name, path) is not path:
            raise DefectError(path, f"is there as {pictures[path.name]} too", "keep one of them")
    records: dict[str, list[dict[str, Any]]] = {}
    for path in files_ending(panoptic, ".json").values():
        for annotation in read_coco(path)["annotations"]:
            name = Path(field(path, annotation, "file_name", str)).name
            segments = field(path, annotation, "segments_info", list)
            if records.setdefault(name, segments) != segments:
                raise DefectError(path, f"has other segments of {name} than an entry before", "keep one of them")
    return pictures, records


FORMAT = DataFormat(
    load_acdc,
    "ACDC, 19 Cityscapes classes; ?condition=fog, night, rain, snow or all; semantic, instance and panoptic labels",
    "rgb_anon/CONDITION/{train,val}/CLIP/*_rgb_anon.png, gt/CONDITION/{train,val}/CLIP/*_gt_labelTrainIds.png, "
    "gt_panoptic/... (optional)",
    "ACDC terms, registration, no redistribution",
)
