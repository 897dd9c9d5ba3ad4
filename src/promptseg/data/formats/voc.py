"""Pascal VOC: `voc:FOLDER` with JPEGImages, SegmentationClass and SegmentationObject, as tools export it too."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from promptseg.data.defects import Defect, DefectError
from promptseg.data.file_sample import FileSample
from promptseg.data.formats.class_tables import CLASSES, ClassTable, read_table
from promptseg.data.formats.classes_json import packaged, stated_kinds
from promptseg.data.formats.files import DatasetError, find_root, walk_files, without_photo
from promptseg.data.formats.label_maps import decode_segments
from promptseg.data.formats.own_maps import MapReader
from promptseg.data.formats.photos import unlabelled
from promptseg.data.formats.splits import SPLIT_OPTIONS, open_own
from promptseg.data.images import IMAGE_SUFFIXES, has_colors, read_colors, read_values
from promptseg.data.label_space import BACKGROUND, name_key
from promptseg.data.registry import DataFormat
from promptseg.data.sample import Dataset, PanopticLabels, Segment
from promptseg.label_space import IGNORE, Color, LabelSpace
from promptseg.spec import Spec

PHOTOS, CLASS_MAPS, OBJECT_MAPS, LISTS = (
    "JPEGImages",
    "SegmentationClass",
    "SegmentationObject",
    "ImageSets/Segmentation",
)
_AROUND = ("VOCdevkit/VOC2012", "VOC2012", "VOCdevkit/VOC2007", "VOC2007")
_LABELME = "SegmentationClassPNG"
"""Where an older labelme2voc put the maps; its SegmentationClass holds arrays."""
VOID: Color = (224, 224, 192)
"""The colour of the index 255 in the palette of VOC."""
_NOBODY, _UNLABELLED = 0, -1
_GROUND = 2**24
"""Added to the class of what is of no object; larger than any object's number."""


def load_voc(spec: Spec) -> Dataset:
    """Open a folder in the form of Pascal VOC.

    The classes are those of `classes.json`, `labelmap.txt` (CVAT) or `class_names.txt` (labelme2voc), else the 21 of
    VOC, the background among them. Maps are palette or grey PNGs of indices, or RGB where the colours are known;
    255 is void. Splits are the lists in `ImageSets/Segmentation`.

    Args:
        spec: names the folder, or one around it; options are those of the splits, see `split_ids`.

    Raises:
        PromptsegError: a part is missing, broken classes, or an unknown option or list.
    """
    spec.check_options(SPLIT_OPTIONS)
    root = find_root(spec.where, (PHOTOS, CLASS_MAPS), _AROUND)
    table, said = _table(root)
    twins: list[Defect] = []
    photos = _by_id(root / PHOTOS, IMAGE_SUFFIXES, twins, said)
    maps = _by_id(root / (_LABELME if (root / _LABELME).is_dir() else CLASS_MAPS), (".png",), twins, said)
    objects = _by_id(root / OBJECT_MAPS, (".png",), twins, said)
    if not photos:
        raise DefectError(root / PHOTOS, "no photos there", "unpack the images there")
    reader, samples = MapReader(table), dict[str, FileSample]()
    for id_ in (id_ for id_ in photos if id_ in maps):
        segments = partial(_segments, reader, table.label_space, maps[id_], objects[id_]) if id_ in objects else None
        samples[id_] = FileSample(id_, table.label_space, photos[id_], maps[id_], reader, segments)
    if not samples:
        raise DefectError(root / CLASS_MAPS, f"none of {len(photos)} photos has a map there", "name them alike")
    left = [id_ for id_ in photos if id_ not in maps]
    said += [*without_photo(maps, photos), *unlabelled(root, left, len(photos)), *_without_objects(samples, objects)]
    dataset = open_own("voc", root, spec, samples, table.label_space, said, aside=left, lists=LISTS)
    if twins:
        raise DatasetError(twins, dataset)
    return dataset


def _table(root: Path) -> tuple[ClassTable, list[Defect]]:
    """The classes, their colours with that of void, and a word about classes that nobody named."""
    table, said = read_table(root), list[Defect]()
    if table is None:
        space, _ = packaged("pascal_voc")
        table = ClassTable(root, space, {info.color: number for number, info in enumerate(space.classes)})
        if not root.name.startswith("VOC20"):
            reason = f"has no {CLASSES} or labelmap.txt: its maps are read as the 21 classes of Pascal VOC"
            said.append(Defect(str(root), reason, "add one, if they are others", "warning"))
    said += table.said
    colors = {VOID: IGNORE, **table.colors} if table.colors else {}
    return replace(table, label_space=_with_things(root, table.label_space), colors=colors), said


def _with_things(root: Path, space: LabelSpace) -> LabelSpace:
    """Classes whose kind nobody states are things, as in VOC, but for the background."""
    stated = stated_kinds(root / CLASSES) if (root / CLASSES).is_file() else set()
    stated |= {name for name in space.names if name_key(name) == BACKGROUND}
    return replace(space, classes=tuple(c if c.name in stated else replace(c, is_thing=True) for c in space.classes))


def _by_id(folder: Path, suffixes: tuple[str, ...], twins: list[Defect], said: list[Defect]) -> dict[str, Path]:
    """Pictures by their path below a folder without suffix; second ones of a name, and other pictures, are noted."""
    found: dict[str, Path] = {}
    for path in walk_files(folder):
        if path.suffix.lower() in suffixes:
            other = found.setdefault(path.relative_to(folder).with_suffix("").as_posix(), path)
            if other is not path:
                twins.append(Defect(str(path), f"has the same name as {other.name}", "rename or remove one of them"))
        elif path.suffix.lower() in IMAGE_SUFFIXES:
            reason = f"ignored, as only {', '.join(suffixes)} are read here"
            said.append(Defect(str(path), reason, "save it as PNG where it was drawn", "warning"))
    return found


def _without_objects(samples: Mapping[str, FileSample], objects: Mapping[str, Path]) -> Iterator[Defect]:
    lacking = [sample for id_, sample in samples.items() if id_ not in objects]
    if objects and lacking:
        reason = f"{len(lacking)} of {len(samples)} maps have none in {OBJECT_MAPS}, first {lacking[0].id}"
        mend = "add it, or use the task semantic"
        yield Defect(str(lacking[0].label_path), reason, mend, "warning")


def _segments(reader: MapReader, space: LabelSpace, class_map: Path, object_map: Path) -> PanopticLabels:
    """Objects of both maps, each held against the other.

    Raises:
        PromptsegError: maps of two sizes, an object of two classes or of none, or pixels of a thing in no object.
    """
    ids, numbers = reader(class_map), _numbers(object_map)
    if ids.shape != numbers.shape:
        sizes = [f"{shape[1]}x{shape[0]} pixels" for shape in (numbers.shape, ids.shape)]
        raise DefectError(object_map, f"{sizes[0]}, but {CLASS_MAPS} has {sizes[1]}", "give both the same size")
    strange = ids[(ids >= len(space)) & (ids != IGNORE)]
    if strange.size:
        raise DefectError(class_map, f"{strange.size} pixels of the id {strange[0]}", f"add the class to {CLASSES}")
    _check_owned(space, ids, numbers, object_map)
    classes = _classes_of(space, ids, numbers, object_map)
    alone = (numbers == _NOBODY) & (ids != IGNORE)
    values = np.where(alone, _GROUND + ids.astype(np.int32), numbers)
    values[(ids == IGNORE) & (numbers == _NOBODY)] = _UNLABELLED

    def describe(number: int) -> Segment | None:
        if number == _UNLABELLED:
            return None
        return Segment(number, number - _GROUND if number >= _GROUND else classes[number])

    return decode_segments(values, describe, space.thing_ids, object_map)


def _check_owned(space: LabelSpace, ids: NDArray[np.uint8], numbers: NDArray[np.int32], object_map: Path) -> None:
    """Refuse pixels of things that are of no object, and of any class that are void to the objects."""
    things = np.isin(ids, space.thing_ids)
    for lost, where in ((things & (numbers == _NOBODY), "in no object"), ((numbers == _UNLABELLED), "void")):
        classes = ids[lost & (ids != IGNORE)]
        if classes.size:
            name = space.names[classes[0]]
            reason = f"{(classes == classes[0]).sum()} pixels of {name!r} in {CLASS_MAPS} are {where} here"
            raise DefectError(object_map, reason, f'mend one of the maps, or write "kind": "stuff" into {CLASSES}')


def _classes_of(
    space: LabelSpace, ids: NDArray[np.uint8], numbers: NDArray[np.int32], object_map: Path
) -> dict[int, int]:
    """The one class of each object's pixels.

    Raises:
        PromptsegError: an object of two classes, or of void or background.
    """
    found: dict[int, list[int]] = {}
    for pair in np.unique(numbers.astype(np.int64) * (IGNORE + 1) + ids).tolist():
        number, class_id = divmod(pair, IGNORE + 1)
        if number > 0:
            found.setdefault(number, []).append(class_id)
    nothing = {IGNORE, *(i for i, name in enumerate(space.names) if name_key(name) == BACKGROUND)}
    for number, classes in found.items():
        if len(classes) > 1 or classes[0] in nothing:
            words = " and ".join(repr(space.names[i]) if i != IGNORE else "void" for i in classes)
            raise DefectError(object_map, f"object {number} lies on {words} of {CLASS_MAPS}", "mend one of the maps")
    return {number: classes[0] for number, classes in found.items()}


def _numbers(path: Path) -> NDArray[np.int32]:
    """Numbers of objects (H, W): 0 for none, -1 for void; of an RGB map, the colours as numbers."""
    if has_colors(path):
        numbers = read_colors(path).astype(np.int32) @ np.array([65536, 256, 1], np.int32)
        void = VOID[0] << 16 | VOID[1] << 8 | VOID[2]
    else:
        numbers, void = read_values(path).astype(np.int32), IGNORE
    numbers[numbers == void] = _UNLABELLED
    return numbers


FORMAT = DataFormat(
    load_voc,
    "Pascal VOC, or your own photos in its form (CVAT's segmentation masks, labelme2voc); ?train=LIST&val=LIST name "
    "lists, ?val=20% holds out; semantic labels, instance and panoptic with SegmentationObject",
    "JPEGImages/*.jpg, SegmentationClass/*.png, SegmentationObject/*.png (optional), "
    "ImageSets/Segmentation/{train,val}.txt (optional), classes.json or labelmap.txt (optional)",
    "VOC: Flickr terms; yours",
    own=True,
)
