"""Random trees of own data in whatever way tools write them: how they are drawn, written, and to be read."""

import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_objects import (
    IGNORE,
    NAMES,
    Picture,
    Thing,
    check_sample,
    painted,
    pictures,
    write_json,
    write_photo,
)
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask

from promptseg import PromptsegError, load_dataset
from promptseg.data.sample import Dataset, Sample

Drawn = tuple[list[Picture], int, dict[str, Any]]
"""Pictures, the number of classes, and how the tree is written."""


@contextmanager
def folder() -> Iterator[Path]:
    place = tempfile.mkdtemp(prefix="readers-")
    try:
        yield Path(place)
    finally:
        shutil.rmtree(place)


def in_splits(data: Dataset, found: list[Picture]) -> set[str]:
    """The photos that belong to a split: with a folder for train, not those outside the folders, and that is said."""
    names = {picture.name for picture in found}
    homes = {name for name in names if name.startswith(("train/", "val/"))}
    expected = homes if any(name.startswith("train/") for name in names) else names
    assert any("are in no split" in d.reason for d in data.warnings) == (expected != names)
    return expected


def samples_of(data: Dataset) -> dict[str, Sample]:
    return {sample.id: sample for split in (data.train, data.val, data.test) for sample in split}


# COCO


def segmentation(thing: Thing, size: tuple[int, int]) -> Any:
    top, bottom, left, right = thing.box
    whole = [left, top, right, top, right, bottom, left, bottom]
    if thing.form == "polygon" or (thing.form == "two polygons" and right - left < 2):
        return [whole]
    if thing.form == "two polygons":
        middle = (left + right) // 2
        return [
            [left, top, middle, top, middle, bottom, left, bottom],
            [middle, top, right, top, right, bottom, middle, bottom],
        ]
    mask = thing.mask(size)
    if thing.form == "text":
        runs = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
        return {"size": list(size), "counts": runs["counts"].decode()}
    columns = mask.T.ravel().astype(int)
    edges = np.flatnonzero(np.diff(columns)) + 1
    bounds = [0, *edges.tolist(), columns.size]
    lengths = np.diff(bounds).tolist()
    return {"size": list(size), "counts": [0, *lengths] if columns[0] else lengths}


@st.composite
def coco_trees(draw: Any) -> Drawn:
    classes = draw(st.integers(1, len(NAMES)))
    options = {
        "ids": draw(st.sampled_from(("number", "text", "mixed"))),
        "separator": draw(st.sampled_from(("/", "\\"))),
        "file": draw(
            st.sampled_from(("annotations.json", "result.json", "mine.json", "annotations/instances_default.json"))
        ),
        "images": draw(st.sampled_from(("images/", ""))),
        "sizes": draw(st.booleans()),
        "flags": draw(st.sampled_from((int, bool, str))),
        "first": draw(st.integers(0, 9)),
        "background": draw(st.sampled_from((None, "background", "other things"))),
        "suffix": draw(st.sampled_from((".png", ".PNG"))),
    }
    return draw(pictures(classes)), classes, options


def write_coco(root: Path, drawn: Drawn) -> str:
    found, classes, options = drawn
    images, annotations = [], []
    for number, picture in enumerate(found):
        write_photo(root / "images" / f"{picture.name}{options['suffix']}", picture.size, number)
        id_ = number + 1 if options["ids"] == "number" else str(number + 1)
        name = f"{options['images']}{picture.name}{options['suffix']}".replace("/", options["separator"])
        image = {"id": id_, "file_name": name}
        if options["sizes"]:
            image |= {"height": picture.size[0], "width": picture.size[1]}
        images.append(image)
        for thing in picture.things:
            annotations.append({
                "id": len(annotations), "image_id": number + 1 if options["ids"] == "mixed" else id_,
                "category_id": options["first"] + 3 * thing.class_id,
                "segmentation": segmentation(thing, picture.size), "iscrowd": options["flags"](int(thing.crowd)),
            })  # fmt: skip
    categories = [{"id": options["first"] + 3 * i, "name": NAMES[i]} for i in range(classes)]
    random.Random(len(annotations)).shuffle(categories)
    content = {"images": images, "annotations": annotations, "categories": categories}
    write_json(root / options["file"], content)
    return f"coco:{root}" + (f"?background={options['background']}" if options["background"] else "")


def check_objects(write: Callable[[Path, Drawn], str], drawn: Drawn) -> None:
    """What `write` wrote is read back: classes, photos by split, and every object."""
    found, classes, options = drawn
    with folder() as root:
        data = load_dataset(write(root, drawn))
        extra = options["background"] or ("background" if classes == 1 else None)
        assert data.label_space.names == (*NAMES[:classes], *((extra,) if extra else ()))
        read = samples_of(data)
        assert set(read) == in_splits(data, found)
        for picture in (p for p in found if p.name in read):
            check_sample(read[picture.name], picture, classes if extra else None)


def check_coco(drawn: Drawn) -> None:
    check_objects(write_coco, drawn)


# LabelMe

VOID_LABEL = "__ignore__"


def spelled(name: str, spelling: int) -> str:
    return (name, f" {name}  ", name.upper() if name.upper().lower() == name else name)[spelling]


@st.composite
def labelme_trees(draw: Any) -> Drawn:
    classes = draw(st.integers(1, 4))
    found = draw(pictures(classes + 1))  # the last class is void
    for thing in (t for picture in found for t in picture.things):
        thing.crowd = False
    options = {
        "classes": draw(st.booleans()),
        "path": draw(st.sampled_from(("name", "backslash", "missing"))),
        "background": draw(st.sampled_from((None, "rest"))),
        "suffix": draw(st.sampled_from((".jpg", ".JPG", ".png"))),
    }
    return found, classes, options


def write_labelme(root: Path, drawn: Drawn) -> str:
    found, classes, options = drawn
    suffix = ".jpg" if options["path"] == "missing" else options["suffix"]
    for number, picture in enumerate(found):
        photo = root / f"{picture.name}{suffix}"
        write_photo(photo, picture.size, number)
        shapes = []
        for group, thing in enumerate(picture.things):
            top, bottom, left, right = thing.box
            label = VOID_LABEL if thing.class_id == classes else spelled(NAMES[thing.class_id], thing.spelling)
            corners = [[left, top], [right, top], [right, bottom], [left, bottom]]
            if thing.form == "list":
                shapes.append(
                    {
                        "label": label,
                        "shape_type": "rectangle",
                        "points": [[right, bottom], [left, top]],
                        "group_id": None,
                    }
                )
            elif thing.form == "two polygons":  # two shapes of one group
                shapes += [{"label": label, "shape_type": "polygon", "points": corners, "group_id": group}] * 2
            else:
                shapes.append({"label": label, "points": corners, "flags": {}})
        path = {"name": photo.name, "backslash": f"C:\\photos\\{photo.name}", "missing": None}[options["path"]]
        content = {"shapes": shapes, "imagePath": path, "imageHeight": picture.size[0], "imageWidth": picture.size[1]}
        write_json(root / f"{picture.name}.json", content)
    if options["classes"]:
        write_json(root / "classes.json", [{"name": name, "kind": "thing"} for name in NAMES[:classes]])
    return f"labelme:{root}" + (f"?background={options['background']}" if options["background"] else "")


def check_labelme(drawn: Drawn) -> None:
    found, classes, options = drawn
    used = {t.class_id for picture in found for t in picture.things} - {classes}
    with folder() as root:
        spec = write_labelme(root, drawn)
        if not options["classes"] and not used:
            with pytest.raises(PromptsegError, match="no shape has a label"):
                load_dataset(spec)
            return
        data = load_dataset(spec)
        names = NAMES[:classes] if options["classes"] else data.label_space.names[: len(used)]
        if not options["classes"]:
            assert {n.strip().lower() for n in names} == {NAMES[i].lower() for i in used}
        extra = options["background"] or ("background" if len(names) == 1 else None)
        assert data.label_space.names == (*names, *((extra,) if extra else ()))
        new = {
            i: [n.strip().lower() for n in names].index(NAMES[i].lower())
            for i in ({*range(classes)} if options["classes"] else used)
        }
        read = samples_of(data)
        assert set(read) == in_splits(data, found)
        for picture in (p for p in found if p.name in read):
            for thing in picture.things:
                thing.class_id = new.get(thing.class_id, 200)
            check_sample(read[picture.name], picture, len(names) if extra else None, void=200)


# Panoptic


@st.composite
def panoptic_trees(draw: Any) -> Drawn:
    classes = draw(st.integers(2, len(NAMES)))
    found = draw(pictures(classes))
    ids = draw(st.lists(st.integers(1, 2**24 - 1), min_size=20, max_size=20, unique=True))
    return found, classes, {"ids": ids, "things": draw(st.lists(st.booleans(), min_size=6, max_size=6))}


def write_panoptic(root: Path, drawn: Drawn) -> str:
    found, classes, options = drawn
    images, annotations = [], []
    for number, picture in enumerate(found):
        write_photo(root / "train" / f"{picture.name}.png", picture.size, number)
        map_ = painted(picture)
        ids = np.array([0, *options["ids"]])[map_]
        pixels = np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)
        path = root / "annotations/panoptic_train" / f"{picture.name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        infos = [
            {
                "id": options["ids"][i - 1],
                "category_id": picture.things[i - 1].class_id,
                "iscrowd": int(picture.things[i - 1].crowd),
            }
            for i in range(len(picture.things), 0, -1)
            if (map_ == i).any()
        ]
        images.append({"id": number, "file_name": f"{picture.name}.png"})
        annotations.append({"image_id": number, "file_name": f"{picture.name}.png", "segments_info": infos})
    categories = [{"id": i, "name": NAMES[i], "isthing": int(options["things"][i])} for i in range(classes)]
    write_json(
        root / "annotations/panoptic_train.json",
        {"images": images, "annotations": annotations, "categories": categories},
    )
    return f"coco_panoptic:{root}"


def check_panoptic(drawn: Drawn) -> None:
    found, _, options = drawn
    with folder() as root:
        data = load_dataset(write_panoptic(root, drawn))
        read = samples_of(data)
        assert set(read) == {f"train/{picture.name}" for picture in found}
        for picture in found:
            map_, labels = painted(picture), read[f"train/{picture.name}"].panoptic()
            segments = {s.id: s for s in labels.segments}
            for i, thing in enumerate(picture.things, 1):
                for id_ in set(labels.map[map_ == i].tolist()):
                    assert segments[id_].class_id == thing.class_id
                    if options["things"][thing.class_id]:
                        assert np.array_equal(labels.map == options["ids"][i - 1], map_ == i)
                        assert segments[id_].is_crowd == thing.crowd
            assert ((labels.map == 0) == (map_ == 0)).all()
            listed = [i for i in range(len(picture.things), 0, -1) if (map_ == i).any()]
            order = [options["ids"][i - 1] for i in listed if options["things"][picture.things[i - 1].class_id]]
            assert [s.id for s in labels.segments if s.id in order] == order


# Folders


@st.composite
def folder_trees(draw: Any) -> Drawn:
    classes = draw(st.integers(1, len(NAMES)))
    found = draw(pictures(classes))
    options = {
        "mode": draw(st.sampled_from(("L", "P", "I;16", "F", "bits"))),
        "ending": draw(st.sampled_from(("", "_mask", "_labels"))),
        "unlabelled": draw(st.lists(st.booleans(), min_size=4, max_size=4)),
        "first": draw(st.integers(0, 3)),
        "background": draw(st.booleans()),
    }
    return found, classes, options


def write_folder(root: Path, drawn: Drawn) -> str:
    found, classes, options = drawn
    for number, picture in enumerate(found):
        write_photo(root / "images" / f"{picture.name}.png", picture.size, number)
        if options["unlabelled"][number] and number:
            continue
        values = class_map(picture)
        values = np.where(values == IGNORE, IGNORE, values + options["first"])
        path = root / "labels" / f"{picture.name}{options['ending']}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_values(path, values, options["mode"])
    write_json(root / "classes.json", list(NAMES[:classes]))
    query = []
    if options["first"]:
        query.append("values=" + ",".join(str(options["first"] + i) for i in range(classes)))
    if options["background"]:
        query.append("background=rest")
    return f"folder:{root}?{'&'.join(query)}"


def class_map(picture: Picture) -> np.ndarray:
    classes = np.array([IGNORE, *(t.class_id for t in picture.things)])
    return classes[painted(picture)]


def write_values(path: Path, values: np.ndarray, mode: str) -> None:
    if mode == "F":
        Image.fromarray(values.astype(np.float32)).save(path.with_suffix(".tif"))
    elif mode == "I;16":
        Image.fromarray(values.astype(np.uint16)).save(path)
    elif mode == "P" or (mode == "bits" and values.max() < 16):
        picture = Image.fromarray(values.astype(np.uint8))
        picture.putpalette(np.random.default_rng(0).integers(0, 256, 768, dtype=np.uint8).tobytes())
        picture.save(path, **({"bits": 4} if mode == "bits" else {}))
    else:
        Image.fromarray(values.astype(np.uint8)).save(path)


def check_folder(drawn: Drawn) -> None:
    found, classes, options = drawn
    with folder() as root:
        data = load_dataset(write_folder(root, drawn))
        labelled = [p for n, p in enumerate(found) if not n or not options["unlabelled"][n]]
        read = samples_of(data)
        assert set(read) == in_splits(data, labelled)
        assert any("have no labels" in d.reason for d in data.warnings) == (len(labelled) < len(found))
        for picture in (p for p in labelled if p.name in read):
            expected = class_map(picture)
            if options["background"]:
                expected = np.where(expected == IGNORE, classes, expected)
            assert np.array_equal(read[picture.name].semantic(), expected)
