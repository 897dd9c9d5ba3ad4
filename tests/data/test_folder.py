"""Folders of photos: layouts, split lists, classes.json, and one line for everything that can be wrong."""

import json
import re
import shlex
from pathlib import Path
from urllib.parse import quote, urlencode

import numpy as np
import pytest
from PIL import Image
from places import ROOT

from promptseg import PromptsegError
from promptseg.cli.main import run
from promptseg.data.registry import load_dataset
from promptseg.label_space import default_colors

SHAPE = (8, 12)


def add(root, name, ids=0, suffix="png", shape=SHAPE):
    """One photo with its labels, every pixel of the id `ids` (or an array of ids)."""
    for folder in ("images", "labels"):
        (root / folder / name).parent.mkdir(parents=True, exist_ok=True)
    grey = sum(map(ord, name)) % 256
    Image.new("RGB", (shape[1], shape[0]), (grey, grey, 9)).save(root / "images" / f"{name}.{suffix}")
    Image.fromarray(np.broadcast_to(np.asarray(ids, np.uint8), shape).copy()).save(root / "labels" / f"{name}.png")


def lists(root, **names):
    (root / "splits").mkdir(exist_ok=True)
    for name, ids in names.items():
        (root / "splits" / f"{name}.txt").write_text("\n".join(ids) + "\n")


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "mine"
    for name in ("a", "b", "deep/er/c", "dotted.name"):
        add(folder, name)
    (folder / "classes.json").write_text('["road", "sky"]')
    return folder


def ids(split):
    return [s.id for s in split]


def test_a_flat_folder_is_all_training(root):
    data = load_dataset(str(root))
    assert ids(data.train) == ["a", "b", "deep/er/c", "dotted.name"]
    assert len(data.val) == len(data.test) == 0
    assert data.spec == f"folder:{root}" and data.train.dataset == "mine" and data.train.name == "train"


def test_samples_read_their_files_lazily(root):
    sample = load_dataset(str(root)).train[0]
    add(root, "a", np.eye(*SHAPE), shape=SHAPE)
    assert np.array_equal(sample.semantic(), np.eye(*SHAPE)) and sample.semantic().dtype == np.uint8
    assert sample.image().shape == (*SHAPE, 3) and (sample.image()[..., 0] == ord("a")).all()
    assert sample.label_space.names == ("road", "sky")


@pytest.mark.parametrize("suffix", ["jpg", "JPG", "jpeg", "png", "webp", "bmp", "tif", "TIFF"])
def test_photo_formats(root, suffix):
    add(root, "new", suffix=suffix)
    sample = next(s for s in load_dataset(str(root)).train if s.id == "new")
    assert sample.image().shape == (*SHAPE, 3) and sample.semantic().shape == SHAPE


def test_split_folders(root):
    for name in ("train/x/1", "train/2", "val/3"):
        add(root, name)
    data = load_dataset(str(root))
    assert ids(data.train) == ["train/2", "train/x/1"] and ids(data.val) == ["val/3"] and ids(data.test) == []


def test_lists_named_after_splits_go_before_folders(root):
    add(root, "train/1")
    add(root, "val/2")
    lists(root, train=["b", "a"])
    data = load_dataset(str(root))
    assert ids(data.train) == ["b", "a"] and ids(data.val) == ["val/2"]


def test_train_takes_what_val_and_test_leave(root):
    add(root, "test/1")
    lists(root, val=["b"])
    data = load_dataset(str(root))
    assert ids(data.train) == ["a", "deep/er/c", "dotted.name"]
    assert ids(data.val) == ["b"] and ids(data.test) == ["test/1"]


def test_options_name_lists_and_leave_other_splits_empty(root):
    lists(root, train=["a"], night=["b", "deep/er/c"], val=["dotted.name"])
    data = load_dataset(f"{root}?train=night")
    assert ids(data.train) == ["b", "deep/er/c"] and len(data.val) == len(data.test) == 0
    assert data.train.name == "night" and data.spec == f"folder:{root}?train=night"
    assert ids(load_dataset(f"{root}?test=night").test) == ["b", "deep/er/c"]
    for name in ("day+night", "50 % & more"):
        (root / f"splits/{name}.txt").write_text("b\n")
        data = load_dataset(f"{root}?test={quote(name, safe='+ ')}")
        assert ids(data.test) == ["b"]
        assert ids(load_dataset(data.spec).test) == ["b"]


def test_lists_may_have_blank_lines_windows_ends_and_a_mark(root):
    (root / "splits").mkdir()
    (root / "splits" / "train.txt").write_bytes(b"\xef\xbb\xbfb\r\n\r\n a \r\n")
    assert ids(load_dataset(str(root)).train) == ["b", "a"]


def test_hidden_and_system_files_are_no_photos(root):
    for name in (".DS_Store", "Thumbs.db", "._a.png", ".hidden/x.png"):
        (root / "images" / name).parent.mkdir(exist_ok=True)
        (root / "images" / name).write_bytes(b"x")
    data = load_dataset(str(root))
    assert len(data.train) == 4 and data.warnings == ()


def test_folders_that_are_links(root, tmp_path):
    (root / "images" / "deep").rename(tmp_path / "elsewhere")
    (root / "images" / "deep").symlink_to(tmp_path / "elsewhere")
    assert "deep/er/c" in ids(load_dataset(str(root)).train)


def test_no_instance_labels(root):
    with pytest.raises(PromptsegError, match=r"^a: has no instance labels"):
        load_dataset(str(root)).train[0].panoptic()


# classes.json

FULL = {
    "dataset": "town",
    "classes": [
        {"id": 1, "name": "sky", "color": [1, 2, 3], "kind": "stuff"},
        {"id": 0, "name": "car", "color": [4, 5, 6], "kind": "thing"},
    ],
}


def test_classes_with_ids_colours_and_kinds(root):
    (root / "classes.json").write_text(json.dumps(FULL))
    space = load_dataset(str(root)).label_space
    assert space.name == "town" and space.names == ("car", "sky")
    assert space.colors == ((4, 5, 6), (1, 2, 3)) and space.thing_ids == (0,)


@pytest.mark.parametrize(
    "content", [["road", "sky"], {"classes": ["road", "sky"]}, {"classes": [{"name": "road"}, "sky"]}]
)
def test_names_alone_get_default_colours(root, content):
    (root / "classes.json").write_text(json.dumps(content))
    space = load_dataset(str(root)).label_space
    assert space.name == "mine" and space.names == ("road", "sky") and space.colors == default_colors(2)


def test_default_colours_differ_and_do_not_depend_on_the_count():
    many = np.array(default_colors(254))
    assert len(np.unique(many, axis=0)) == 254
    few = np.array([*default_colors(20), (0, 0, 0), (255, 255, 255)])
    gaps = np.linalg.norm(few[:, None] - few[None], axis=-1)[~np.eye(22, dtype=bool)]
    assert gaps.min() > 90
    assert default_colors(20) == default_colors(254)[:20]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "not valid JSON"),
        ("3", "1..254 classes in a list were expected"),
        ("[]", "1..254 classes in a list were expected"),
        (json.dumps([str(i) for i in range(255)]), "1..254 classes in a list were expected"),
        ('["road", 3]', "3 is no class"),
        ('["road", " "]', "{'name': ' '} is no class"),
        ('["road", "road"]', "two classes are named 'road'; give each class its own name"),
        ('{"classes": [{"name": "a", "id": 1}, {"name": "b", "id": 2}]}', "the ids are [1, 2], where each of 0..1"),
        ('{"classes": [{"name": "a", "id": 0}, {"name": "b", "id": 0}]}', "the ids are [0, 0]"),
        ('{"classes": [{"name": "a", "id": 0}, "b"]}', "the ids are [0, None]"),
        ('{"classes": [{"name": "a", "color": [1, 2, 256]}]}', "class 'a' has the color [1, 2, 256]; write [r, g, b]"),
        ('{"classes": [{"name": "a", "color": "red"}]}', "class 'a' has the color 'red'"),
        ('{"classes": [{"name": "a", "kind": "car"}]}', "class 'a' has the kind 'car'"),
    ],
)
def test_bad_classes(root, content, said):
    (root / "classes.json").write_text(content)
    with pytest.raises(PromptsegError, match=re.escape(said)) as error:
        load_dataset(str(root))
    assert str(error.value).startswith(str(root / "classes.json")) and "\n" not in str(error.value)


# Broken folders


def without(name):
    return lambda root: (root / name).rename(root / "away")


def listed(*names):
    return lambda root: lists(root, day=names)


BROKEN = [
    (without("images"), {}, "has no images; lay the folder out as"),
    (without("labels"), {}, "has no labels; lay the folder out as"),
    (without("classes.json"), {}, "has no classes.json; lay the folder out as"),
    (lambda root: root.rename(root.with_name("gone")), {}, "mine: no such folder"),
    (
        lambda root: (root / "images").rename(root / "x") and (root / "images").mkdir(),
        {},
        "no photos there; put",
    ),
    (lambda root: add(root, "a", suffix="jpg"), {}, "a.png: has the same name as a.jpg; rename or remove"),
    (listed("a"), {"trian": "day"}, "trian=day: 'trian': choose one of background"),
    (listed("a"), {"train": "night"}, "unknown split list 'night': choose one of day"),
    (listed("a"), {"train": ""}, "unknown split list '': choose one of day"),
    (lambda root: None, {"train": "day"}, "splits: no lists there, but 'day' was asked; write day.txt"),
    (listed("a", "z"), {"train": "day"}, "day.txt: line 2 lists 'z', which has no photo"),
    (listed("a.png"), {"train": "day"}, "day.txt: line 1 lists 'a.png', which has no photo; write the path below"),
    (listed("a", "b", "a"), {"train": "day"}, "day.txt: line 3 lists 'a' a second time; remove one"),
    (listed("x", "y", "z"), {"train": "day"}, "(and 2 more, which `promptseg data check` lists)"),
    (listed(""), {"val": "day"}, "day.txt: lists no photo"),
]


@pytest.mark.parametrize(("break_it", "options", "said"), BROKEN)
def test_broken_folders_are_told_at_opening(root, break_it, options, said):
    break_it(root)
    with pytest.raises(PromptsegError, match=re.escape(said)) as error:
        load_dataset(f"folder:{root}?{urlencode(options)}")
    assert "\n" not in str(error.value)


def repaint(ids, shape=SHAPE):
    return lambda root: Image.fromarray(np.broadcast_to(np.asarray(ids), shape).copy()).save(root / "labels" / "a.png")


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (repaint(np.uint8([0] * 11 + [2])), "a.png: 8 pixels of the ids 2, where 0..1 or 255 was expected; add the"),
        (repaint(np.uint8(range(12))), "80 pixels of the ids 2, 3, 4, 5, 6, 7, 8, 9, ..., where"),
        (
            repaint(np.uint8(0), (8, 11)),
            "a.png: 11x8 pixels, but the photo a.png is 12x8 pixels; give both",
        ),
        (
            repaint(np.uint8(0), (12, 8)),
            "a.png: 8x12 pixels, but the photo a.png is 12x8 pixels; the photo may be",
        ),
        (repaint(np.uint8([9, 9, 9]), (*SHAPE, 3)), "a.png: holds colours, and nothing says which"),
        (lambda root: (root / "labels" / "a.png").write_bytes(b"?"), "labels/a.png: not an image"),
    ],
)
def test_broken_labels_are_told_when_read(root, break_it, said):
    break_it(root)
    sample = load_dataset(str(root)).train[0]
    with pytest.raises(PromptsegError, match=re.escape(said)) as error:
        sample.semantic()
    assert "\n" not in str(error.value)
    assert sample.image().shape == (*SHAPE, 3)


def test_ignored_pixels_are_no_defect(root):
    repaint(np.uint8([0] * 6 + [255] * 6))(root)
    assert (load_dataset(str(root)).train[0].semantic() == 255).sum() == 48


def test_every_command_of_the_guide_runs(tmp_path, monkeypatch, capsys):
    guide = (ROOT / "docs/your-own-photos.md").read_text()
    monkeypatch.chdir(tmp_path)
    Path("coloured").mkdir()
    Image.new("RGB", (3, 2), (70, 130, 180)).save("coloured/sky.png")
    for language, code in re.findall(r"```(\w+)\n(.*?)```", guide, re.DOTALL):
        if language == "python":
            exec(code, {})
            if (sky := Path("photos/labels/sky.png")).exists():
                assert (np.array(Image.open(sky)) == 1).all()
                sky.unlink()
        elif language == "sh":
            assert run(shlex.split(code)[1:]) == 0
        else:
            Path("photos/classes.json").write_text(code)
            assert load_dataset("photos").label_space.names == ("road", "sky", "car")
    assert "0 errors, 1 warnings" in capsys.readouterr().out  # there is no test split
