"""Faults of annotation files, each with the right answer or the line that is told: parts, overlaps, names."""

import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import trees
from own_files import SHAPE, annotation, box, coco, ids, one_photo, said
from pycocotools import mask as coco_mask
from tiny import tiny_segmenter

from promptseg import PromptsegError, draw_shots, fit, load_dataset
from promptseg.data.formats.objects import Outline, mask_outline, run_lengths
from promptseg.data.label_space import name_key
from promptseg.tasks.registry import build_task

# 1. Parts of a file that are never held against each other

RUNS = {"size": list(SHAPE)}
FLAGS = [
    (0, False),
    (1, True),
    (False, False),
    (True, True),
    ("0", False),
    ("1", True),
    (None, False),
    ("false", False),
]


@pytest.mark.parametrize(("flag", "crowd"), FLAGS)
def test_flags_mean_what_they_say(tmp_path, flag, crowd):
    (segment,) = load_dataset(one_photo(tmp_path, [annotation(1, iscrowd=flag)])).train[0].objects().segments
    assert segment.is_crowd is crowd


def missing_flag():
    entry = annotation(1)
    del entry["iscrowd"]
    return entry


HIDING = [annotation(i, 1, 2, box(0, 4 * i - 8, 9, 4 * i - 3)) for i in (2, 3)]
HELD_AGAINST = [
    ([annotation(1, segmentation=RUNS | {"counts": [10, 5]})], "the runs do not fill the photo: 15 pixels, where 120"),
    ([annotation(1, segmentation=RUNS | {"counts": [130]})], "the runs do not fill the photo: 130 pixels"),
    ([annotation(1, segmentation=RUNS | {"counts": [121, -1]})], "a run is no length"),
    ([annotation(1, segmentation=RUNS | {"counts": [60, 60.0]})], "a run is no length"),
    ([annotation(1, segmentation=RUNS | {"counts": ""})], "the runs do not fill the photo: 0 pixels"),
    ([annotation(1, segmentation=RUNS | {"counts": "Z1"})], "broken run lengths"),
    ([annotation(1, segmentation=RUNS | {"counts": "o"})], "the text ends within a number"),
    ([annotation(1, segmentation=RUNS | {"counts": "\u20ac"})], "is no part of compressed run lengths"),
    ([annotation(1, segmentation={"size": [9, 12], "counts": [108]})], "neither polygons nor run lengths within 12x10"),
    ([annotation(1), annotation(2, image=7)], "has 1 annotations of images that it does not list, first of"),
    ([annotation(1, iscrowd="maybe")], "an entry has the iscrowd 'maybe'"),
    ([annotation(1), annotation(2)], "object 1 of a.png and object 2 of a.png have the same outline"),
    ([annotation(1), annotation(1)], "object 1 of a.png and object 1 of a.png have the same outline"),
    ([annotation(1, segmentation=box(3, 3, 3, 3))], "object 1 of a.png without a pixel"),
    ([annotation(1, iscrowd=1)], "all 1 objects of the class 'car' are crowds"),
    ([annotation(1, segmentation=box(0, 0, 9, 9)), *HIDING], "object 1 of a.png hidden by others"),
]  # fmt: skip


@pytest.mark.parametrize(("annotations", "line"), HELD_AGAINST)
def test_what_does_not_fit_is_told(tmp_path, annotations, line):
    assert any(line in told for told in said(one_photo(tmp_path, annotations)))


@pytest.mark.parametrize("share", [0.0, 0.03, 0.4, 0.9, 1.0])
def test_run_lengths_and_the_mask_in_its_box_are_those_of_cocos_own_tools(share):
    random = np.random.default_rng(int(100 * share))
    for height, width in random.integers(1, 40, (200, 2)).tolist():
        mask = random.random((height, width)) < share
        one = mask_outline(0, mask, "x")
        box_, inside = one.mask()
        whole = np.zeros_like(mask)
        whole[box_] = inside
        assert np.array_equal(whole, mask)
        assert not inside.size or all(edge.any() for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]))


@pytest.mark.parametrize(
    "counts", [[4], [0, 4], [0, 0, 0, 3, 1], [2, 0, 1, 1], [1, 1, 0, 2], [0, 2**20, 2**21, 5, 2**22]]
)
def test_runs_of_no_length_are_runs(counts):
    size = [1, sum(counts)]
    runs = coco_mask.frPyObjects({"size": size, "counts": counts}, *size)
    assert run_lengths(runs["counts"]).tolist() == counts
    box_, inside = Outline(0, False, runs, "x").mask()
    whole = np.zeros(size, bool)
    whole[box_] = inside
    assert np.array_equal(whole, coco_mask.decode(runs).astype(bool))


@pytest.mark.parametrize(("image", "given"), [(1, "1"), ("1", 1), (1, 1.0), ("x", "x"), (1, " 1 ")])
def test_image_ids_of_another_type_are_the_same_image(tmp_path, image, given):
    trees.photo(tmp_path / "images/a.png", shape=SHAPE)
    spec = coco(tmp_path, [{"id": image, "file_name": "a.png"}], [annotation(1, given)])
    assert len(load_dataset(spec).train[0].objects().segments) == 1


@pytest.mark.parametrize("twin", [1, "1"])
def test_two_images_of_one_id_are_refused(tmp_path, twin):
    images = [{"id": 1, "file_name": "a.png"}, {"id": twin, "file_name": "b.png"}]
    with pytest.raises(PromptsegError, match=r"gives the images a\.png and b\.png one id, 1"):
        load_dataset(coco(tmp_path, images, []))


def test_photos_that_no_file_mentions_are_told_and_left_out(tmp_path):
    spec = one_photo(tmp_path, [annotation(1)])
    trees.photo(tmp_path / "images/b.png", 1)
    assert any("1 of 2 photos have no labels, first images/b.png" in line for line in said(spec))
    trees.labelme(tmp_path / "l")
    trees.photo(tmp_path / "l/day/2.jpg")
    assert any("1 of 2 photos have no labels, first day/2.jpg" in line for line in said(f"labelme:{tmp_path / 'l'}"))


def test_twin_annotations_of_a_panoptic_image_are_refused(tmp_path):
    path = trees.coco_panoptic(tmp_path) / "annotations/panoptic_val2017.json"
    content = json.loads(path.read_text())
    content["annotations"] *= 2
    trees.write(path, content)
    with pytest.raises(PromptsegError, match=r"has 2 annotations of the image 000000000010\.jpg"):
        load_dataset(f"coco_panoptic:{tmp_path}")


def test_twin_annotations_of_acdc_are_refused(tmp_path):
    path = trees.acdc(tmp_path, ("fog",)) / "gt_panoptic/any_name.json"
    content = json.loads(path.read_text())
    other = content["annotations"][0] | {"segments_info": []}
    trees.write(path, content | {"annotations": [*content["annotations"], other]})
    with pytest.raises(PromptsegError, match="has other segments of"):
        load_dataset(f"acdc:{tmp_path}?condition=fog").train[0].panoptic()


def test_labelme_sizes_are_held_against_the_photo(tmp_path):
    path = trees.labelme(tmp_path) / "day/1.json"
    trees.write(path, json.loads(path.read_text()) | {"imageHeight": 8, "imageWidth": 12})
    with pytest.raises(PromptsegError, match="12x8 pixels, but the photo 1.jpg is 6x4 pixels"):
        load_dataset(f"labelme:{tmp_path}").train[0].semantic()


def test_a_fit_without_an_object_is_refused(tmp_path):
    trees.photo(tmp_path / "images/a.png", shape=(128, 128))
    data = load_dataset(coco(tmp_path, [{"id": 1, "file_name": "a.png"}], [annotation(1, iscrowd=1)]))
    with pytest.raises(PromptsegError, match="none of 1 samples has an object that is no crowd"):
        draw_shots(data.train, 1, task="instance")
    with pytest.raises(PromptsegError, match="the shots show no object or segment but crowds"):
        fit(tiny_segmenter(), [data.train[0]], "ssprompt", task="instance", steps=1, progress=False)


# 2. One pixel, one owner: only where labels are painted


def test_overlapping_objects_stay_whole(tmp_path):
    plate, food = box(0, 0, 10, 10), box(2, 2, 8, 8)
    sample = load_dataset(one_photo(tmp_path, [annotation(1, 1, 1, plate), annotation(2, 1, 2, food)])).train[0]
    objects = sample.objects()
    assert [objects.mask(i).sum() for i in range(2)] == [100, 36]
    assert [(sample.panoptic().map == i).sum() for i in (1, 2)] == [64, 36]
    target = build_task("instance").target(sample, SHAPE, flip=False)
    pixels = target.members.float() @ torch_counts(target.map, target.members.shape[1])
    assert pixels.tolist() == [100, 36]


def torch_counts(map_, kinds):
    return map_.flatten().bincount(minlength=kinds).float()


@pytest.mark.parametrize("width", [1, 2, 3])
def test_thin_objects_are_taught_where_they_are(tmp_path, width):
    trees.photo(tmp_path / "images/0.png", shape=(128, 128))
    image = {"id": 1, "file_name": "0.png", "height": 128, "width": 128}
    data = load_dataset(coco(tmp_path, [image], [annotation(1, segmentation=box(61, 4, 61 + width, 124))], ("wire",)))
    for task in ("instance", "panoptic"):
        run = fit(tiny_segmenter(), draw_shots(data.train, 1), "ssprompt", task=task, steps=2, progress=False)
        assert all(np.isfinite(run.losses))


# 3. The first match wins, the rest unmentioned


def subset(root, name, photo, file, seed=0):
    trees.photo(root / photo, seed, SHAPE)
    image = {"id": 1, "file_name": file, "height": SHAPE[0], "width": SHAPE[1]}
    return coco(root, [image], [annotation(1)], name=f"annotations/instances_{name}.json")


def test_subsets_of_a_project_export(tmp_path):
    for seed, name in enumerate(("Train", "Validation", "default", "night")):
        spec = subset(tmp_path, name, f"images/{name}/f{seed}.png", f"f{seed}.png", seed)
    assert ids(load_dataset(spec)) == {"train": ["Train/f0"], "val": ["Validation/f1"], "test": []}
    assert any("2 of 4 photos are in no split" in line for line in said(spec))
    assert ids(load_dataset(f"{spec}?train=night&val=train")) == {
        "night": ["night/f3"],
        "train": ["Train/f0"],
        "test": [],
    }


AMBIGUOUS = [
    (("annotations.json", "result.json"), "has annotations.json, result.json, which may hold the same labels"),
    (("annotations.json", "annotations/instances_default.json"), "annotations/instances_default.json, which may hold"),
    (("annotations/instances_train2014.json", "annotations/instances_train2017.json"), "2017.json, which"),
    (("one.json", "two.json"), "has one.json, two.json, which may hold the same labels"),
]  # fmt: skip


@pytest.mark.parametrize(("names", "line"), AMBIGUOUS)
def test_files_that_may_replace_each_other_are_refused_by_name(tmp_path, names, line):
    for name in names:
        spec = one_photo(tmp_path, [annotation(1)], name=name)
    with pytest.raises(PromptsegError, match=r"\?annotations=") as error:
        load_dataset(spec)
    assert line in str(error.value)
    assert sum(map(len, ids(load_dataset(f"{spec}?annotations={names[0]}")).values())) == 1


FOUND = [
    ("images/a.png", "images\\a.png"), ("images/a.png", "C:\\x\\images\\a.png"), ("images/a.png", "images\\1/a.png"),
    ("images/a.png", "/data/local-files/?d=images/a.png"), ("images/a.PNG", "a.png"), ("images/a.png", "./a.png"),
    ("images/caf\u00e9.png", "cafe\u0301.png"), ("images/cafe\u0301.png", "caf\u00e9.png"), ("deep/er/a.png", "a.png"),
    ("images/Day/a.png", "day/A.png"),
]  # fmt: skip


@pytest.mark.parametrize(("photo", "file"), FOUND)
def test_a_photo_is_found_by_whatever_name_a_tool_gives_it(tmp_path, photo, file):
    trees.photo(tmp_path / photo, shape=SHAPE)
    spec = coco(tmp_path, [{"id": 1, "file_name": file}], [annotation(1)])
    assert load_dataset(spec).train[0].semantic().shape == SHAPE


def test_a_name_that_fits_two_photos_is_refused_with_both(tmp_path):
    for seed, name in enumerate(("x/a.png", "y/a.png")):
        trees.photo(tmp_path / name, seed)
    with pytest.raises(PromptsegError, match=r"names a\.png, which may be x/a\.png, y/a\.png; write the whole path"):
        load_dataset(coco(tmp_path, [{"id": 1, "file_name": "a.png"}], []))


def labelme(root, name, photo, labels=("car", "road"), path=None):
    shapes = [{"label": label, "points": [[i, 0], [i + 3, 0], [i + 3, 4]]} for i, label in enumerate(labels)]
    trees.write(root / name, {"shapes": shapes, "imagePath": path, "imageHeight": SHAPE[0], "imageWidth": SHAPE[1]})
    if photo:
        trees.photo(root / photo, len(name), SHAPE)
    return f"labelme:{root}"


@pytest.mark.parametrize(
    ("name", "photo", "path"),
    [
        ("1.json", "1.JPG", "1.JPG"), ("1.json", "1.JPG", None), ("json/1.json", "images/1.png", "..\\images\\1.png"),
        ("1_labels.json", "1.png", "1.png"), ("1.JSON", "1.png", "1.png"),
    ],
)  # fmt: skip
def test_labelme_photos_of_other_names(tmp_path, name, photo, path):
    data = load_dataset(labelme(tmp_path, name, photo, path=path))
    assert [s.id for s in data.train] == ["1"] and data.train[0].semantic().shape == SHAPE


def test_a_labelme_file_that_names_another_photo_is_refused(tmp_path):
    with pytest.raises(PromptsegError, match=r"1\.json: names the photo 2\.jpg, which is not there; 1\.jpg is there"):
        load_dataset(labelme(tmp_path, "1.json", "1.jpg", path="2.jpg"))


def test_labelme_folders_of_splits(tmp_path):
    for name in ("train/1", "val/2", "training/3"):
        spec = labelme(tmp_path, f"{name}.json", f"{name}.jpg", path=f"{Path(name).name}.jpg")
    assert ids(load_dataset(spec)) == {"train": ["train/1", "training/3"], "val": ["val/2"], "test": []}


def test_labels_written_in_several_ways_are_one_class_and_that_is_said(tmp_path):
    decomposed = unicodedata.normalize("NFD", "café")
    spec = labelme(tmp_path, "1.json", "1.jpg", ("car ", "Car", "car", "café", decomposed), "1.jpg")
    data = load_dataset(spec)
    assert {name_key(name) for name in data.label_space.names} == {"car", "café"} and len(data.label_space) == 2
    assert any("are read as one class" in d.reason for d in data.warnings)
    assert len(data.train[0].objects().segments) == 5


def test_the_root_category_of_a_project_is_no_class(tmp_path):
    parts = [{"id": i, "name": name, "supercategory": "parts"} for i, name in enumerate(("screw", "nut"), 1)]
    categories = [{"id": 0, "name": "parts", "supercategory": "none"}, *parts]
    spec = one_photo(tmp_path, [annotation(1)], categories=categories)
    data = load_dataset(spec)
    assert data.label_space.names == ("screw", "nut") and any(
        "'parts' is above the others" in line for line in said(spec)
    )


def test_label_maps_with_an_ending(tmp_path):
    for name in ("a", "b"):
        trees.photo(tmp_path / f"images/{name}.png", ord(name), SHAPE)
        trees.paint(tmp_path / f"labels/{name}_mask.png", np.zeros(SHAPE, np.uint8))
    trees.write(tmp_path / "classes.json", ["road", "sky"])
    assert ids(load_dataset(str(tmp_path)))["train"] == ["a", "b"]
    trees.paint(tmp_path / "labels/a.png", np.zeros(SHAPE, np.uint8))
    with pytest.raises(PromptsegError, match=r"a\.png: may have the labels a\.png, a_mask\.png; keep one"):
        load_dataset(str(tmp_path))
