"""The check of a data set: every defect in one line, and none hides another."""

import json

import numpy as np
import pytest
from PIL import Image

from promptseg import PromptsegError
from promptseg.data.check import check_dataset

SHAPE = (6, 10)


def paint(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def add(root, name, seed):
    """A photo of noise, and labels with both classes and one ignored row."""
    photo = np.random.default_rng(seed).integers(0, 256, (*SHAPE, 3), dtype=np.uint8)
    paint(root / "images" / f"{name}.png", photo)
    labels = np.zeros(SHAPE, np.uint8)
    labels[:2], labels[5] = 1, 255
    paint(root / "labels" / f"{name}.png", labels)


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "mine"
    for seed, name in enumerate(("train/a", "train/b", "val/c", "test/d")):
        add(folder, name, seed)
    (folder / "classes.json").write_text('["road", "sky"]')
    return folder


def lines(report):
    return [str(d) for d in report.defects]


def test_a_sound_folder(root):
    seen = []
    report = check_dataset(str(root), progress=lambda done, total: seen.append((done, total)))
    assert report.ok and report.defects == ()
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert {name: counts.images for name, counts in report.splits.items()} == {"train": 2, "val": 1, "test": 1}
    assert report.splits["train"].pixels == {"road": 60, "sky": 40} and report.splits["train"].unlabelled == 20


def test_the_report_is_json(root):
    (root / "labels" / "train" / "a.png").write_bytes(b"")
    content = json.loads(json.dumps(check_dataset(f"folder:{root}").to_json()))
    assert content["spec"] == f"folder:{root}" and content["ok"] is False
    assert content["splits"]["val"] == {"images": 1, "pixels": {"road": 30, "sky": 20}, "unlabelled": 10}
    (defect,) = content["defects"]
    assert defect["file"] == str(root / "labels/train/a.png") and defect["level"] == "error"
    assert defect["reason"] == "not an image that can be read" and defect["mend"]


def ids(*row):
    return np.broadcast_to(np.array(row, np.uint8), (SHAPE[0], len(row))).copy()


def write_list(root, name, text):
    (root / "splits").mkdir(exist_ok=True)
    (root / "splits" / f"{name}.txt").write_text(text)


def copy(root, source, target):
    target = root / "images" / target
    target.write_bytes((root / "images" / source).read_bytes())


def both_lists(root):
    write_list(root, "train", "train/a\ntrain/b")
    write_list(root, "val", "train/b")


def one_class(root):
    for name in ("a", "b"):
        paint(root / f"labels/train/{name}.png", ids(*[0] * 10))


# What is broken, the level, the file below the folder, and what its line must say.
BROKEN = [
    (lambda r: (r / "labels/train/a.png").unlink(), "warning", "", "1 of 4 photos have no labels, first train/a"),
    (lambda r: (r / "images/train/a.png").unlink(), "warning", "labels/train/a.png", "no photo"),
    (
        lambda r: paint(r / "labels/val/c.png", ids(0, 1)),
        "error",
        "labels/val/c.png",
        "2x6 pixels, but the photo c.png",
    ),
    (
        lambda r: paint(r / "labels/train/b.png", ids(0, 1, 2, 200, 0, 0, 0, 0, 0, 255)),
        "error",
        "labels/train/b.png",
        "12 pixels of the ids 2, 200, where 0..1 or 255 was expected",
    ),
    (lambda r: (r / "images/test/d.png").write_bytes(b"x"), "error", "images/test/d.png", "not an image"),
    (lambda r: (r / "labels/test/d.png").write_bytes(b""), "error", "labels/test/d.png", "not an image"),
    (
        lambda r: paint(r / "labels/val/c.png", np.zeros((*SHAPE, 3), np.uint8)),
        "error",
        "labels/val/c.png",
        "holds colours",
    ),
    (lambda r: copy(r, "train/a.png", "train/a.jpg"), "error", "images/train/a.png", "has the same name as a.jpg"),
    (lambda r: copy(r, "train/a.png", "train/a.heic"), "warning", "images/train/a.heic", "ignored, as only .jpg"),
    (lambda r: paint(r / "labels/train/a.webp", ids(0)), "warning", "labels/train/a.webp", "ignored, as only .png"),
    (
        lambda r: copy(r, "train/b.png", "val/c.png"),
        "error",
        "images/val/c.png",
        "same pixels as 'train/b' in train",
    ),
    (lambda r: copy(r, "val/c.png", "test/d.png"), "error", "images/test/d.png", "the same pixels as 'val/c' in val"),
    (lambda r: write_list(r, "val", "train/b"), "warning", "", "1 photos of train are listed for another split"),
    (both_lists, "error", "", "1 photos are in train and in val, first train/b"),
    (lambda r: write_list(r, "val", "val/c\nval/x"), "error", "splits/val.txt", "line 2 lists 'val/x', which has no"),
    (lambda r: write_list(r, "test", "\n"), "error", "splits/test.txt", "lists no photo"),
    (
        lambda r: write_list(r, "train", "train/a\ntrain/a"),
        "error",
        "splits/train.txt",
        "line 2 lists 'train/a' a",
    ),
    (one_class, "warning", None, "class 'sky' is in no training label"),
    (lambda r: (r / "images/val/c.png").unlink(), "warning", None, "the val split is empty"),
]


@pytest.mark.parametrize(("break_it", "level", "file", "said"), BROKEN)
def test_each_defect_is_one_line(root, break_it, level, file, said):
    break_it(root)
    report = check_dataset(str(root))
    expected = f"folder:{root}" if file is None else str(root / file)
    (defect,) = [d for d in report.defects if d.file == expected and said in d.reason]
    assert defect.level == level and "\n" not in str(defect)
    assert str(defect) == f"{defect.file}: {defect.reason}; {defect.mend}"
    assert report.ok is all(d.level == "warning" for d in report.defects)
    assert report.ok or level == "error"


def test_no_defect_hides_another(root):
    add(root, "train/e", 9)
    (root / "images/train/a.png").write_bytes(b"x")
    paint(root / "labels/train/a.png", ids(0, 7, 1))
    paint(root / "labels/train/b.png", ids(0, 9, 0))
    (root / "labels/val/c.png").unlink()
    report = check_dataset(str(root))
    assert report.splits["train"].images == 3 and report.splits["train"].pixels["sky"] == 26
    wrong = [(d.file.replace(str(root), "").removeprefix("/"), d.reason.split(",")[0]) for d in report.defects]
    assert wrong == [
        ("images/train/a.png", "not an image that can be read"),
        ("labels/train/a.png", "6 pixels of the ids 7"),
        ("labels/train/b.png", "6 pixels of the ids 9"),
        ("labels/train/b.png", "3x6 pixels"),
        ("", "1 of 5 photos have no labels"),
        ("folder:", "the val split is empty"),
    ]


def test_a_photo_of_two_splits_tells_its_own_defect_once(root):
    paint(root / "labels/train/a.png", ids(*[7] * 10))
    write_list(root, "train", "train/a")
    write_list(root, "val", "train/a")
    reasons = [d.reason[:12] for d in check_dataset(str(root)).defects]
    assert reasons.count("60 pixels of") == 1 and "1 photos are" in reasons


def test_an_empty_training_split_is_an_error(root):
    write_list(root, "night", "val/c")
    report = check_dataset(f"folder:{root}?val=night")
    assert not report.ok
    assert [(d.reason, d.level) for d in report.defects] == [
        ("the train split is empty", "error"),
        ("the test split is empty", "warning"),
    ]


def test_what_cannot_be_opened_is_raised(root):
    (root / "classes.json").unlink()
    with pytest.raises(PromptsegError, match=r"has no classes\.json"):
        check_dataset(str(root))


def test_generated_streets_are_sound():
    report = check_dataset("streets:fog")
    assert report.ok and all(counts.images > 0 for counts in report.splits.values()), lines(report)
