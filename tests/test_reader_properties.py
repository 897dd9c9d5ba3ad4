"""Any COCO, LabelMe, panoptic or folder tree is read back exactly; any mutation of one is read, or refused in a line.

Trees are drawn from random objects whose masks are known as arrays, written in whatever way tools write them. What a
reader must give is worked out here, from the arrays alone.
"""

import json
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask

from promptseg import PromptsegError, load_dataset
from promptseg.data.check import check_dataset
from promptseg.data.sample import Dataset, Sample

QUICK, MANY = 40, 600
"""Examples of each property in the quick and in the slow suite."""
IGNORE = 255


@contextmanager
def folder() -> Iterator[Path]:
    place = tempfile.mkdtemp(prefix="readers-")
    try:
        yield Path(place)
    finally:
        shutil.rmtree(place)


def examples(number: int) -> Callable[[Any], Any]:
    health = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much)
    return settings(max_examples=number, deadline=None, derandomize=True, database=None, suppress_health_check=health)


# What is drawn


@dataclass
class Thing:
    """One object: the pixels top:bottom, left:right."""

    class_id: int
    box: tuple[int, int, int, int]
    crowd: bool = False
    form: str = "polygon"
    spelling: int = 0

    def mask(self, size: tuple[int, int]) -> np.ndarray:
        top, bottom, left, right = self.box
        mask = np.zeros(size, bool)
        mask[top:bottom, left:right] = True
        return mask


@dataclass
class Picture:
    """A photo's path below the folder of photos, its size, and its objects."""

    name: str
    size: tuple[int, int]
    things: list[Thing] = field(default_factory=list)


NAMES = ("car", "Straße", "traffic light", "café", "木", "road 2")
PHOTOS = ("a", "b c", "day/1", "night/1", "é", "Über/x.y", "train/3", "val/4", "train/day/5")


@st.composite
def things(draw: Any, size: tuple[int, int], classes: int) -> Thing:
    top, left = draw(st.integers(0, size[0] - 1)), draw(st.integers(0, size[1] - 1))
    bottom, right = draw(st.integers(top + 1, size[0])), draw(st.integers(left + 1, size[1]))
    form = draw(st.sampled_from(("polygon", "two polygons", "list", "text")))
    crowd = draw(st.booleans()) and form in ("list", "text")
    return Thing(draw(st.integers(0, classes - 1)), (top, bottom, left, right), crowd, form, draw(st.integers(0, 2)))


@st.composite
def pictures(draw: Any, classes: int, most: int = 4) -> list[Picture]:
    found = []
    for name in draw(st.lists(st.sampled_from(PHOTOS), min_size=1, max_size=4, unique=True)):
        size = (draw(st.integers(1, 9)), draw(st.integers(1, 9)))
        found.append(Picture(name, size, draw(st.lists(things(size, classes), max_size=most))))
    return found


def write_photo(path: Path, size: tuple[int, int], seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


# What must be read


def painted(picture: Picture, void: int = -1) -> np.ndarray:
    """(H, W) places of the objects on top, from 1: crowds lowest, smaller over larger, later over earlier."""
    order = sorted(
        range(len(picture.things)),
        key=lambda i: (not picture.things[i].crowd, -int(picture.things[i].mask(picture.size).sum())),
    )
    map_ = np.zeros(picture.size, np.int64)
    for i in order:
        map_[picture.things[i].mask(picture.size)] = i + 1 if picture.things[i].class_id != void else 0
    return map_


def check_sample(sample: Sample, picture: Picture, background: int | None, void: int = -1) -> None:
    kept = [t for t in picture.things if t.class_id != void]
    objects = sample.objects()
    assert [(s.class_id, s.is_crowd) for s in objects.segments] == [(t.class_id, t.crowd) for t in kept]
    for index, thing in enumerate(kept):
        assert np.array_equal(objects.mask(index), thing.mask(picture.size))
    map_, panoptic = painted(picture, void), sample.panoptic()
    classes = np.full(picture.size, IGNORE if background is None else background, np.int64)
    for i, thing in enumerate(picture.things, 1):
        classes[map_ == i] = thing.class_id
    if void >= 0 and background is not None:
        classes[voided(picture, void)] = IGNORE
    assert np.array_equal(sample.semantic(), classes)
    by_id = {s.id: s for s in panoptic.segments}
    assert set(by_id) == set(np.unique(panoptic.map).tolist()) - {0}
    for i, thing in enumerate(picture.things, 1):
        own = map_ == i
        if own.any():
            (id_,) = set(panoptic.map[own].tolist())
            assert np.array_equal(panoptic.map == id_, own)
            assert (by_id[id_].class_id, by_id[id_].is_crowd) == (thing.class_id, thing.crowd)


def voided(picture: Picture, void: int) -> np.ndarray:
    """Pixels whose topmost object is void."""
    map_ = painted(picture)
    numbers = [i for i, t in enumerate(picture.things, 1) if t.class_id == void]
    return np.isin(map_, numbers)


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
def coco_trees(draw: Any) -> tuple[list[Picture], int, dict[str, Any]]:
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


def write_coco(root: Path, drawn: tuple[list[Picture], int, dict[str, Any]]) -> str:
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


def check_coco(drawn: tuple[list[Picture], int, dict[str, Any]]) -> None:
    found, classes, options = drawn
    with folder() as root:
        data = load_dataset(write_coco(root, drawn))
        extra = options["background"] or ("background" if classes == 1 else None)
        assert data.label_space.names == (*NAMES[:classes], *((extra,) if extra else ()))
        read = samples_of(data)
        assert set(read) == in_splits(data, found)
        for picture in (p for p in found if p.name in read):
            check_sample(read[picture.name], picture, classes if extra else None)


# LabelMe

VOID_LABEL = "__ignore__"


def spelled(name: str, spelling: int) -> str:
    return (name, f" {name}  ", name.upper() if name.upper().lower() == name else name)[spelling]


@st.composite
def labelme_trees(draw: Any) -> tuple[list[Picture], int, dict[str, Any]]:
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


def write_labelme(root: Path, drawn: tuple[list[Picture], int, dict[str, Any]]) -> str:
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


def check_labelme(drawn: tuple[list[Picture], int, dict[str, Any]]) -> None:
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
def panoptic_trees(draw: Any) -> tuple[list[Picture], int, dict[str, Any]]:
    classes = draw(st.integers(2, len(NAMES)))
    found = draw(pictures(classes))
    ids = draw(st.lists(st.integers(1, 2**24 - 1), min_size=20, max_size=20, unique=True))
    return found, classes, {"ids": ids, "things": draw(st.lists(st.booleans(), min_size=6, max_size=6))}


def write_panoptic(root: Path, drawn: tuple[list[Picture], int, dict[str, Any]]) -> str:
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


def check_panoptic(drawn: tuple[list[Picture], int, dict[str, Any]]) -> None:
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
def folder_trees(draw: Any) -> tuple[list[Picture], int, dict[str, Any]]:
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


def write_folder(root: Path, drawn: tuple[list[Picture], int, dict[str, Any]]) -> str:
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


def check_folder(drawn: tuple[list[Picture], int, dict[str, Any]]) -> None:
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


TREES = {
    "coco": (coco_trees(), write_coco, check_coco),
    "labelme": (labelme_trees(), write_labelme, check_labelme),
    "panoptic": (panoptic_trees(), write_panoptic, check_panoptic),
    "folder": (folder_trees(), write_folder, check_folder),
}


@pytest.mark.parametrize("kind", TREES)
@pytest.mark.parametrize("number", [QUICK, pytest.param(MANY, marks=pytest.mark.slow)])
def test_any_tree_is_read_back_exactly(kind: str, number: int) -> None:
    trees, _, check = TREES[kind]
    examples(number)(given(trees)(check))()


# Mutations

JUNK = st.sampled_from([
    None, True, False, 0, -1, 1, 2, 255, 10**30, 1e308, -0.5, float("nan"), float("inf"),
    "", "0", "1", "x", "../a", "a\0b", [], {}, [[]], [1, 2], {"id": 1},
])  # fmt: skip


def places(content: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value in JSON content."""
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [before, *(place for key, value in inner for place in places(value, (*before, key)))]


def mutate_json(path: Path, draw: Any) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    where = draw(st.sampled_from(places(content)))
    if not where:
        path.write_text(json.dumps(draw(JUNK)))
        return
    parent = content
    for key in where[:-1]:
        parent = parent[key]
    action = draw(st.sampled_from(("replace", "remove", "double")))
    if action == "replace":
        parent[where[-1]] = draw(JUNK)
    elif action == "remove":
        del parent[where[-1]]
    elif isinstance(parent, list):
        parent.append(parent[where[-1]])
    else:
        parent[f"{where[-1]}2"] = parent[where[-1]]
    path.write_text(json.dumps(content), encoding="utf-8")


TEXTS = (
    "[" * 100_000,
    '{"shapes": ' * 50_000,
    "9" * 6000,
    '{"images": [' + "9" * 5000 + "]}",
    "\ufeff[]",
    "{'a': 1}",
    "nul",
)


def mutate(root: Path, draw: Any) -> None:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    path = draw(st.sampled_from(files))
    ways = ["cut", "flip", "remove", "rename", "text", "folder", "link"]
    way = draw(st.sampled_from([*ways, *(["json"] * 8 if path.suffix == ".json" else ())]))
    data = path.read_bytes()
    if way == "json":
        mutate_json(path, draw)
    elif way == "cut":
        path.write_bytes(data[: draw(st.integers(0, len(data)))])
    elif way == "flip" and data:
        place = draw(st.integers(0, len(data) - 1))
        path.write_bytes(data[:place] + bytes([draw(st.integers(0, 255))]) + data[place + 1 :])
    elif way == "remove":
        path.unlink()
    elif way == "rename":
        path.rename(path.with_name(draw(st.sampled_from(("zz" + path.suffix, path.name.upper(), "._" + path.name)))))
    elif way == "text":
        path.write_text(draw(st.sampled_from(TEXTS)), encoding="utf-8")
    elif way == "folder":
        path.unlink()
        path.mkdir()
    else:
        with suppress(FileExistsError):
            (path.parent / "loop").symlink_to(root, target_is_directory=True)


def check_mutation(kind: str, drawn: Any, data: Any) -> None:
    _, write, _ = TREES[kind]
    with folder() as root:
        spec = write(root, drawn)
        for _ in range(data.draw(st.integers(1, 2))):
            mutate(root, data.draw)
        with one_line():
            report = check_dataset(spec)
            assert all("\n" not in str(defect) and len(str(defect)) < 2000 for defect in report.defects)
        with one_line():
            opened = load_dataset(spec)
            for sample in samples_of(opened).values():
                read_all(sample, len(opened.label_space))


@contextmanager
def one_line() -> Iterator[None]:
    """Let through what is right, and what is refused in one line."""
    try:
        yield
    except PromptsegError as error:
        line = str(error)
    else:
        return
    assert "\n" not in line and line.strip() and len(line) < 2000


def read_all(sample: Sample, classes: int) -> None:
    with one_line():
        size = sample.image().shape[:2]
        with one_line():
            labels = sample.semantic()
            assert labels.shape == size and set(np.unique(labels).tolist()) <= {*range(classes), IGNORE}
        with one_line():
            panoptic = sample.panoptic()
            assert panoptic.map.shape == size
            assert set(np.unique(panoptic.map).tolist()) - {0} == {s.id for s in panoptic.segments}
        with one_line():
            objects = sample.objects()
            assert objects.map.shape == size and all(0 <= s.class_id < classes for s in objects.segments)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL", "ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("kind", TREES)
@pytest.mark.parametrize("number", [2 * QUICK, pytest.param(2 * MANY, marks=pytest.mark.slow)])
def test_any_mutation_is_read_or_refused_in_one_line(kind: str, number: int) -> None:
    trees = TREES[kind][0]
    examples(number)(given(trees, st.data())(lambda drawn, data: check_mutation(kind, drawn, data)))()
