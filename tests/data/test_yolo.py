"""YOLO segmentation folders, by hand and as the package's own export writes them, read back to the pixel."""

import numpy as np
import pytest
import trees
from own_files import SHAPE, ids, labelled

from promptseg import PromptsegError, load_dataset
from promptseg.export.labels import export_labels

LINE = "1 0.25 0.2 0.75 0.2 0.75 0.6 0.25 0.6"
"""Columns 3 to 8 and rows 2 to 5 of a photo of 12 x 10 pixels."""


def yolo(root, lines=LINE, names="[road, car]", photo="images/train/a.png", labels="labels/train/a.txt"):
    trees.photo(root / photo, len(photo), SHAPE)
    trees.write(root / labels, f"{lines}\n")
    trees.write(root / "data.yaml", f"names: {names}")
    return f"yolo:{root}"


@pytest.mark.parametrize("names", ["[road, car]", "{0: road, 1: car}"])
@pytest.mark.parametrize(
    ("photo", "labels"),
    [("images/train/a.png", "labels/train/a.txt"), ("train/images/a.jpg", "train/labels/a.txt")],
)
def test_an_outline_is_read_where_it_lies(tmp_path, names, photo, labels):
    data = load_dataset(yolo(tmp_path, names=names, photo=photo, labels=labels))
    assert data.label_space.names == ("road", "car") and ids(data) == {"train": ["train/a"], "val": [], "test": []}
    expected = np.full(SHAPE, 255)
    expected[2:6, 3:9] = 1
    assert np.array_equal(data.train[0].semantic(), expected)
    assert np.array_equal(data.train[0].objects().mask(0), expected == 1)


def test_what_the_export_writes_is_read_back(tmp_path):
    source = labelled(tmp_path / "mine", "train/a", "train/b", "val/c")
    export_labels(load_dataset(source).train, "yolo", tmp_path / "out")
    trees.photo(tmp_path / "out/images/train/later.png")
    data = load_dataset(f"yolo:{tmp_path / 'out'}")
    for given, read in zip(load_dataset(source).train, data.train, strict=True):
        assert given.id == read.id and np.array_equal(given.semantic(), read.semantic())
    assert any("1 of 3 photos have no labels, first train/later" in d.reason for d in data.warnings)


@pytest.mark.parametrize(
    ("lines", "names", "line"),
    [
        ("1 0.5 0.5 0.1 0.1", "[road, car]", "line 1 is a box, where an outline was expected"),
        (f"{LINE}\n2 0 0 1 0 1 1", "[road, car]", "line 2 has the class 2, where 0..1 was expected"),
        ("1 0 0 1 0 x 1", "[road, car]", "line 1 holds something else than numbers"),
        ("1 0 0 1 0", "[road, car]", "is a box"),
        ("1 0 0 1 0 1", "[road, car]", "line 1 has neither polygons nor run lengths"),
        ("1 0 0 1e9 0 1 nan", "[road, car]", "line 1 has neither polygons nor run lengths"),
        (LINE, "[]", "has no 1..254 names from 0 on"),
        (LINE, "{1: road, 2: car}", "has no 1..254 names from 0 on"),
        (LINE, "[", "not valid YAML"),
        (LINE, "[Car, car]", "one name to a text encoder"),
    ],
)
def test_faults_are_told_in_one_line(tmp_path, lines, names, line):
    with pytest.raises(PromptsegError) as error:
        load_dataset(yolo(tmp_path, lines, names)).train[0].semantic()
    assert line in str(error.value) and "\n" not in str(error.value)
