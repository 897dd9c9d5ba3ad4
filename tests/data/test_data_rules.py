"""Class names, sizes, splits, draws, broken JSON and words of the check: the right answer to each, or the line."""

import numpy as np
import pytest
import trees
from own_files import annotation, box, ids, labelled, one_photo, said
from shapes import SHAPES
from tiny import tiny_segmenter

from promptseg import PromptsegError, draw_shots, load_dataset
from promptseg.data.check import grouped
from promptseg.data.defects import Defect
from promptseg.data.few_shot import restore_shots
from promptseg.data.sample import Split
from promptseg.engine.defaults import default_prompts
from promptseg.files import read_json
from promptseg.label_space import ClassInfo, LabelSpace
from promptseg.models.images import short_side_size
from promptseg.models.templates import clean_name

# 8. Class names


@pytest.mark.parametrize(
    "names", [("Car", "car"), ("café", "cafe\u0301"), ("a  b", "a b"), ("car", "car\u200b"), ("x ", "x")]
)
def test_names_that_are_one_to_a_text_encoder_are_refused(tmp_path, names):
    trees.write(tmp_path / "classes.json", list(names))
    trees.photo(tmp_path / "images/a.png")
    trees.paint(tmp_path / "labels/a.png", np.zeros(trees.SHAPE, np.uint8))
    with pytest.raises(PromptsegError, match=r"one name to a text encoder|two classes are named"):
        load_dataset(str(tmp_path))


def test_names_that_are_cut_to_the_same_are_refused():
    long = " ".join(["word"] * 200)
    space = LabelSpace("x", (ClassInfo(f"{long} one", (0, 0, 0)), ClassInfo(f"{long} two", (9, 9, 9))))
    with pytest.raises(PromptsegError, match="alike: give the classes names of other words"):
        default_prompts(tiny_segmenter(), space)


@pytest.mark.parametrize(
    ("name", "clean"),
    [("wall-other-merged", "wall"), ("non-stuffed toy", "non-stuffed toy"), ("door-stuff", "door")],
)  # fmt: skip
def test_cleaning_takes_whole_endings_only(name, clean):
    assert clean_name(name) == clean


# 9. Sizes


@pytest.mark.parametrize(
    ("size", "expected"),
    [((1, 4000), (1, 512)), ((32, 1024), (16, 512)), ((4000, 1), (512, 1)), ((100, 400), (128, 512))],
)
def test_the_longer_side_is_bounded(size, expected):
    assert short_side_size(size, 128) == expected


# 10. Leakage


def test_a_list_takes_photos_out_of_the_folder_of_train(tmp_path):
    spec = labelled(tmp_path, "train/a", "train/b", "train/c")
    trees.write(tmp_path / "splits/val.txt", "train/b")
    assert ids(load_dataset(spec)) == {"train": ["train/a", "train/c"], "val": ["train/b"], "test": []}
    assert any("1 photos of train are listed for another split, first train/b" in line for line in said(spec))


def test_all_is_what_the_others_leave(tmp_path):
    spec = labelled(tmp_path, "a", "b", "c")
    trees.write(tmp_path / "splits/val.txt", "b")
    assert ids(load_dataset(f"{spec}?train=all&val=val")) == {"all": ["a", "c"], "val": ["b"], "test": []}
    trees.write(tmp_path / "splits/all.txt", "a\nb\nc")
    with pytest.raises(PromptsegError, match="1 photos are in train and in val, first b"):
        load_dataset(f"{spec}?train=all&val=val")


def test_a_part_is_held_out_by_a_seed(tmp_path):
    spec = labelled(tmp_path, *"abcdefghij")
    one, other = (ids(load_dataset(f"{spec}?val=30%&seed={seed}")) for seed in (0, 1))
    assert (
        len(one["30%"]) == 3 and sorted(one["train"] + one["30%"]) == list("abcdefghij") and one["30%"] != other["30%"]
    )
    assert ids(load_dataset(f"{spec}?val=30%")) == one  # seed 0, and the same every time
    with pytest.raises(PromptsegError, match="^[^\n]*val=30% is a part of train, which has no photos; name its list$"):
        load_dataset(f"{spec}?test=all&val=30%")
    trees.write(tmp_path / "splits/val.txt", "b")
    with pytest.raises(PromptsegError, match="there are photos for val already"):
        load_dataset(f"{spec}?val=30%")


def test_copies_in_two_splits_are_told_by_their_content(tmp_path):
    spec = labelled(tmp_path, "train/a", "val/b")
    (tmp_path / "images/val/b.png").write_bytes((tmp_path / "images/train/a.png").read_bytes())
    assert any("has the same pixels as 'train/a' in train" in line for line in said(spec))


# 11. Crowds in draws, and the data set of a record


def test_crowds_count_as_shown_for_label_maps_only(tmp_path):
    data = load_dataset(one_photo(tmp_path, [annotation(1, iscrowd=1), annotation(2, 1, 2, box(6, 1, 9, 5))]))
    available = {
        task: draw_shots(data.train, 1, task=task).draw.available for task in ("semantic", "instance", "panoptic")
    }
    assert available == {
        "semantic": {"car": 1, "road": 1}, "instance": {"car": 0, "road": 1}, "panoptic": {"car": 0, "road": 1}
    }  # fmt: skip


def test_a_record_knows_its_data_set():
    shots = draw_shots(Split(SHAPES, "one town?val=20%", "train"), 1)
    assert restore_shots(Split(SHAPES, "one town", "train"), shots.draw).ids == shots.ids
    with pytest.raises(PromptsegError, match=r"drawn of 'one town\?val=20%', not of 'another town'"):
        restore_shots(Split(SHAPES, "another town", "train"), shots.draw)


# 12. Deep or huge JSON


@pytest.mark.parametrize(
    ("text", "line"),
    [("[" * 200_000, "too deep"), ("9" * 6000, "Exceeds the limit"), ("{", "Expecting"), ("\xff", "not valid JSON")],
)
def test_every_fault_of_json_is_one_line(tmp_path, text, line):
    (tmp_path / "a.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(PromptsegError, match="not valid JSON") as error:
        read_json(tmp_path / "a.json")
    assert line in str(error.value) and "\n" not in str(error.value)


def test_a_byte_order_mark_is_no_fault(tmp_path):
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_json(tmp_path / "a.json") == {"a": 1}


# 13. Words of the check


def test_defects_of_one_kind_are_told_in_groups():
    alike = [
        Defect(f"/d/{n}.png", f"{n} pixels of the ids {n}, {n + 1}, where 0..1 was expected", "mend it")
        for n in range(9)
    ]
    shown = grouped([*alike, Defect("/d/x", "no such file", "put it there")])
    assert [(str(defect), more) for defect, more in shown] == [
        *((str(defect), 0) for defect in alike[:2]), (str(alike[2]), 6), ("/d/x: no such file; put it there", 0)
    ]  # fmt: skip


def test_no_class_is_called_unseen_after_labels_that_could_not_be_read(tmp_path):
    spec = labelled(tmp_path, "train/a")
    (tmp_path / "labels/train/a.png").write_bytes(b"x")
    assert not any("is in no training label" in line for line in said(spec))
