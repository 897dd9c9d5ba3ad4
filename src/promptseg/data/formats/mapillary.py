"""Mapillary Vistas v1.2 and v2.0 on the 19 classes of Cityscapes: `mapillary:FOLDER?version=1.2&mapping=cvrn`."""

from functools import partial
from pathlib import Path

from promptseg.data.defects import Defect
from promptseg.data.file_sample import FileSample
from promptseg.data.formats.cityscapes import CITYSCAPES_19
from promptseg.data.formats.classes_json import packaged_rows
from promptseg.data.formats.files import (
    files_ending,
    find_root,
    make_dataset,
    photos_ending,
    without_photo,
)
from promptseg.data.formats.label_maps import IdTable, decode_segments
from promptseg.data.images import read_values
from promptseg.data.registry import DataFormat
from promptseg.data.sample import Dataset, PanopticLabels, Segment
from promptseg.label_space import IGNORE
from promptseg.spec import Spec

MAPPINGS = {"1.2": ("cvrn", "robustnet", "openseg"), "2.0": ("proposed",)}
"""Tables to the 19 classes, the default first; docs/data-sets.md says where they come from and differ."""

_GROUPS = ("Person Group",)
"""Classes whose regions hold several objects that were not told apart."""


def load_mapillary(spec: Spec) -> Dataset:
    """Open Mapillary Vistas.

    Args:
        spec: names the folder with `training` and `validation`; options `version`: 1.2 or 2.0 (default: 1.2 where its
            labels are there) and `mapping`: one of `MAPPINGS`.

    Raises:
        PromptsegError: a part is missing, or an unknown option or value.
    """
    spec.check_options(("version", "mapping"))
    root = find_root(spec.where, ("training/images", "validation/images"))
    version = spec.choice("version", MAPPINGS, _version_there(root))
    mapping = spec.choice("mapping", MAPPINGS[version], MAPPINGS[version][0])
    rows = packaged_rows(f"mapillary_v{version}")
    mend = f"these are no ids of Mapillary v{version}: name the other version, ?version=..."
    table = IdTable({i: int(row[mapping]) for i, row in enumerate(rows)}, (), mend)
    groups = frozenset(i for i, row in enumerate(rows) if row["name"] in _GROUPS)
    splits, warnings = {}, list[Defect]()
    for split, folder in (("train", "training"), ("val", "validation")):
        photos = photos_ending(root / folder / "images", ".jpg")
        labels = _labels_folder(root / folder, version)
        splits[split] = [_sample(labels, f"{folder}/{name}", photo, table, groups) for name, photo in photos.items()]
        warnings += without_photo(files_ending(labels / "labels", ".png"), photos)
    return make_dataset("mapillary", spec, CITYSCAPES_19, splits, tuple(warnings))


def _version_there(root: Path) -> str:
    only_new = (root / "training/v2.0").is_dir() and not (root / "training/v1.2").is_dir()
    return "2.0" if only_new else "1.2"


def _labels_folder(split: Path, version: str) -> Path:
    """Where labels/ and instances/ are; older packages have them directly in the split."""
    inner = split / f"v{version}"
    place = split if version == "1.2" and not inner.is_dir() else inner
    return find_root(str(place), ("labels",))


def _sample(labels: Path, id_: str, photo: Path, table: IdTable, groups: frozenset[int]) -> FileSample:
    name = f"{photo.stem}.png"
    has_instances = (labels / "instances").is_dir()
    instances = partial(_read_instances, table, groups, labels / "instances" / name) if has_instances else None
    return FileSample(id_, CITYSCAPES_19, photo, labels / "labels" / name, table, instances)


def _read_instances(table: IdTable, groups: frozenset[int], path: Path) -> PanopticLabels:
    """Segments of a 16-bit map: label = value // 256, number = value % 256; the value becomes the segment id."""

    def describe(value: int) -> Segment | None:
        class_id = table.class_of(value // 256, path)
        return None if class_id == IGNORE else Segment(value, class_id, value // 256 in groups)

    return decode_segments(read_values(path), describe, CITYSCAPES_19.thing_ids, path)


FORMAT = DataFormat(
    load_mapillary,
    "Mapillary Vistas on the 19 Cityscapes classes; ?version=1.2 (mapping=cvrn, robustnet or openseg) or 2.0 "
    "(mapping=proposed); semantic, instance and panoptic labels",
    "{training,validation}/images/*.jpg, {training,validation}/{v1.2,v2.0}/{labels,instances}/*.png",
    "Mapillary research terms, registration, no redistribution",
)
