"""COCO instance files, as labelling tools export them: `coco:FOLDER` with images and annotations.json."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from promptseg.data.defects import Defect, DefectError
from promptseg.data.file_sample import FileSample
from promptseg.data.formats.coco_json import by_image, category_classes, field, flag, image_key, is_coco, read_coco
from promptseg.data.formats.files import find_root
from promptseg.data.formats.objects import Outlines, drawn_sample, outline
from promptseg.data.formats.photos import Photos
from promptseg.data.formats.splits import SPLIT_OPTIONS, open_own, split_of
from promptseg.data.images import MAX_PIXELS
from promptseg.data.label_space import background_of
from promptseg.data.photo_pixels import photo_size
from promptseg.data.registry import DataFormat
from promptseg.data.sample import Dataset
from promptseg.files import read_json
from promptseg.spec import Spec

_POOLS = ("annotations.json", "result.json", "_annotations.coco.json")
"""Files that hold all images, whatever their split; the second is Label Studio's, the third Roboflow's."""
_INSTANCES, _ROBOFLOW = "instances_", "_annotations.coco.json"
_OTHERS = ("captions_", "person_keypoints_", "panoptic_", "image_info_", "stuff_")
"""Files that COCO has beside those of instances."""


@dataclass(frozen=True)
class _Source:
    """A file of annotations, and the subset that it is about; none if it holds all."""

    path: Path
    subset: str | None


def load_coco(spec: Spec) -> Dataset:
    """Open photos with COCO instance files; their categories in the order of their ids are the classes.

    Args:
        spec: names the folder. Its file of annotations is `annotations.json` or the only COCO file there; or there is
            one for each subset: `annotations/instances_SUBSET.json`, or Roboflow's `SUBSET/_annotations.coco.json`.
            Options: `annotations`, the files to read, with commas between; `background`, the class of unlabelled
            pixels; and those of the splits, see `split_ids`.

    Raises:
        PromptsegError: a part is missing, broken JSON, files of other categories or of which some seem to replace
            others, photos that cannot be told apart, or an unknown option or list.
    """
    spec.check_options(("annotations", "background", *SPLIT_OPTIONS))
    root = find_root(spec.where, ())
    sources = list(_sources(root, spec))
    contents = [read_coco(source.path) for source in sources]
    left_out, warnings = _unused_roots(root, contents)
    spaces = [
        category_classes(source.path, content["categories"], root.resolve().name, left_out)
        for source, content in zip(sources, contents, strict=True)
    ]
    for source, (space, _) in zip(sources, spaces, strict=True):
        if space.names != spaces[0][0].names:
            raise DefectError(source.path, f"has other categories than {sources[0].path.name}", "export them together")
    label_space, background, said = background_of(root, spec, spaces[0][0])
    photos, samples, subsets = Photos(root), dict[str, FileSample](), dict[str, list[str]]()
    for source, content, (_, classes) in zip(sources, contents, spaces, strict=True):
        objects, orphans = by_image(source.path, content)
        warnings += orphans
        _check_categories(source.path, content["annotations"], classes)
        for image in content["images"]:
            name = field(source.path, image, "file_name", str)
            photo = photos.of_subset(name, source.subset, f"{source.path}: image {image['id']}")
            id_ = photos.id_of(photo)
            if id_ in samples:
                raise DefectError(source.path, f"has two images named {id_}", "rename one of them")
            found = objects.get(image_key(source.path, image, "id"), [])
            draw = partial(_draw, source.path, photo, image, found, classes, background)
            samples[id_] = drawn_sample(id_, label_space, photo, source.path, draw)
            if source.subset is not None:
                subsets.setdefault(source.subset, []).append(id_)
    said += [*warnings, *photos.unclaimed()]
    return open_own("coco", root, spec, samples, label_space, said, subsets)


def _sources(root: Path, spec: Spec) -> Iterator[_Source]:
    """The files of annotations that clearly belong to the data set.

    Raises:
        PromptsegError: none, or several of which one seems to replace another.
    """
    if "annotations" in spec.options:
        for name in filter(None, spec.options["annotations"].split(",")):
            path = next((p for p in (root / name, root / "annotations" / name) if p.is_file()), None)
            if path is None:
                raise DefectError(root / name, "no such file of annotations", "name a file below the folder")
            yield _Source(path, _subset(path))
        return
    found = [
        [path for name in _POOLS if (path := root / name).is_file()],
        sorted(path for path in (root / "annotations").glob(f"{_INSTANCES}*.json")),
        sorted(path for path in root.glob(f"*/{_ROBOFLOW}")),
    ]
    kinds = [paths for paths in found if paths] or [paths for paths in [_unnamed(root)] if paths]
    if not kinds:
        raise DefectError(root, "has no annotations.json", "export COCO JSON there, with the photos in images/")
    paths = kinds[0]
    replaced = _pair(paths) if len(kinds) == 1 and paths[0].name not in _POOLS[:2] else None
    if len(kinds) > 1 or replaced or (paths[0].parent == root and len(paths) > 1):
        names = [str(path.relative_to(root)) for path in (replaced or [p for some in kinds for p in some])]
        mend = f"keep one of them, or write ?annotations={names[0]}"
        raise DefectError(root, f"has {', '.join(names[:6])}, which may hold the same labels", mend)
    yield from (_Source(path, _subset(path)) for path in paths)


def _unnamed(root: Path) -> list[Path]:
    """COCO files of other names."""
    places = [*root.glob("*.json"), *(root / "annotations").glob("*.json")]
    likely = sorted(p for p in places if p.name != "classes.json" and not p.name.startswith((".", *_OTHERS)))
    return [path for path in likely if is_coco(read_json(path))]


def _pair(paths: Sequence[Path]) -> list[Path] | None:
    """Two files that seem to be versions of one: their names differ in a number only, or they are of one split."""
    seen: dict[str, Path] = {}
    for path in paths:
        subset = _subset(path) or ""
        key = split_of(subset) or re.sub(r"\d+", "#", subset)
        other = seen.setdefault(key, path)
        if other is not path:
            return [other, path]
    return None


def _subset(path: Path) -> str | None:
    """The subset that a file is named after; CVAT calls what has none `default`."""
    if path.name == _ROBOFLOW:
        return path.parent.name
    name = path.stem.removeprefix(_INSTANCES)
    return name if path.stem != name and name != "default" else None


def _unused_roots(root: Path, contents: Sequence[Mapping[str, Any]]) -> tuple[set[str], list[Defect]]:
    """Categories that stand for the project only: above the others, and of no object; with a word about them."""
    above, named, in_use = set[str](), set[str](), set[str]()
    for content in contents:
        used = {id_ for a in content["annotations"] if isinstance(id_ := a.get("category_id"), int)}
        for category in content["categories"]:
            name, parent = category.get("name"), category.get("supercategory")
            if isinstance(name, str):
                named.add(name)
                in_use |= {name} if isinstance(category.get("id"), int) and category["id"] in used else set()
            above |= {parent} if isinstance(parent, str) and parent != name else set()
    unused = (above & named) - in_use
    reason = "the category {!r} is above the others and of no object, so it is no class"
    mend = "nothing, if it only names the project"
    return unused, [Defect(str(root), reason.format(name), mend, "warning") for name in sorted(unused)]


def _check_categories(path: Path, annotations: Sequence[dict[str, Any]], classes: Mapping[int, int]) -> None:
    for annotation in annotations:
        if field(path, annotation, "category_id", int) not in classes:
            raise DefectError(path, f"an annotation has the unknown category {annotation['category_id']}", "list it")


def _draw(
    path: Path,
    photo: Path,
    image: dict[str, Any],
    objects: list[dict[str, Any]],
    classes: dict[int, int],
    background: int | None,
) -> Outlines:
    """All objects of a photo, at the size that the file says the photo has."""
    size = photo_size(photo)
    if image.get("height") is not None and image.get("width") is not None:
        # Labels made for another size are told by the sample's check, not stretched.
        size = (field(path, image, "height", int), field(path, image, "width", int))
        if min(size) < 1 or size[0] * size[1] > MAX_PIXELS:
            raise DefectError(path, f"says that {photo.name} is {size[1]}x{size[0]} pixels", "export it again")
    outlines = []
    for record in objects:
        class_id, name = classes[record["category_id"]], f"object {record.get('id')} of {photo.name}"
        crowd, shape = flag(path, record, "iscrowd"), record.get("segmentation")
        outlines.append(outline(path, class_id, crowd, shape, size, name))
    return Outlines(outlines, size, background)


FORMAT = DataFormat(
    load_coco,
    "your own photos with COCO instance JSON; ?train=LIST&val=LIST&test=LIST name lists of splits/, ?val=20% holds "
    "out; ?background=NAME; ?annotations=FILE; semantic, instance and panoptic labels",
    "images/, annotations.json; or {train,val}2017/*.jpg, annotations/instances_{train,val}2017.json",
    "yours; COCO: labels CC BY 4.0, images Flickr terms",
    own=True,
)
