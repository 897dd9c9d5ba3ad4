"""Every data set in its native layout, read back exactly: classes, void, crowds and the numbers of objects."""

import os
import subprocess
import sys

import numpy as np
import plugin
import pytest
import trees
from trees import rows

import promptseg
from promptseg import PromptsegError
from promptseg.data.check import check_dataset
from promptseg.data.formats.cityscapes import CITYSCAPES_19
from promptseg.data.sample import Segment

ROAD, CAR, PERSON = 0, 13, 11


def halves(first, *values):
    """Rows of values; the right half of the last row is `first`."""
    map_ = rows(*values)
    map_[3, 3:] = first
    return map_


# Format, builder, options, ids of train and val, class map, segment map, segments.
ROAD_SCENE = rows(255, ROAD, CAR, PERSON)
CASES = [
    (
        "cityscapes", trees.cityscapes, "",
        ("train/aachen/aachen_000000_000019", "val/ulm/ulm_000001_000019"), ROAD_SCENE,
        halves(24001, 0, 7, 26, 24000), {(7, ROAD, 0), (26, CAR, 1), (24000, PERSON, 0), (24001, PERSON, 0)},
    ),
    (
        "bdd100k", trees.bdd100k, "",
        ("train/0004a4c0-d4dff0ad", "val/b1c66a42-6f7d68ca"), ROAD_SCENE,
        halves(301, 0, 7, 35, 300), {(7, ROAD, 0), (35, CAR, 1), (300, PERSON, 0), (301, PERSON, 0)},
    ),
    (
        "bdd100k", trees.bdd100k, "?classes=40",
        ("train/0004a4c0-d4dff0ad", "val/b1c66a42-6f7d68ca"), rows(255, 6, 34, 30),
        halves(301, 0, 7, 35, 300), {(7, 6, 0), (35, 34, 1), (300, 30, 0), (301, 30, 0)},
    ),
    (
        "mapillary", trees.mapillary, "",  # Bike Lane and Road are one class, so one segment
        ("training/t-0123456789_abcdefXYZ", "validation/v-0123456789_abcdefXYZ"), rows(255, ROAD, ROAD, PERSON),
        halves(4867, 0, 1792, 1792, 4864), {(1792, ROAD, 0), (4864, PERSON, 0), (4867, PERSON, 0)},
    ),
    (
        "mapillary", trees.mapillary, "?mapping=robustnet",
        ("training/t-0123456789_abcdefXYZ", "validation/v-0123456789_abcdefXYZ"), rows(255, ROAD, 255, PERSON),
        halves(4867, 0, 3328, 0, 4864), {(3328, ROAD, 0), (4864, PERSON, 0), (4867, PERSON, 0)},
    ),
    (
        "mapillary", lambda root: trees.mapillary(root, "v2.0", (123, 21, 31, 108)), "",  # a group of persons
        ("training/t-0123456789_abcdefXYZ", "validation/v-0123456789_abcdefXYZ"), rows(255, ROAD, PERSON, CAR),
        halves(27651, 0, 5376, 7936, 27648), {(5376, ROAD, 0), (7936, PERSON, 1), (27648, CAR, 0), (27651, CAR, 0)},
    ),
    (
        "ade20k", trees.ade20k, "",  # the person has no object, so is void in the panoptic map
        ("training/ADE_train_00000001", "validation/ADE_val_00000001"), rows(255, 0, 7, 12),
        np.array([[0] * 6, [1] * 6, [2049] * 3 + [2050] * 3, [0] * 6]), {(1, 0, 0), (2049, 7, 0), (2050, 7, 0)},
    ),
    ("pascal_context", trees.pascal_context, "", ("2008_000008", "2010_000682"), rows(255, 0, 46, 58), None, None),
    (
        "pascal_context", lambda root: trees.pascal_context(root, (0, 1, 50, 59)), "?order=fcn",
        ("2008_000008", "2010_000682"), rows(255, 0, 46, 58), None, None,
    ),
    (
        "acdc", trees.acdc, "?condition=fog",
        ("fog/train/GOPR00train/GOPR00train_frame_000041", "fog/val/GOPR00val/GOPR00val_frame_000041"), ROAD_SCENE,
        halves(24002, 0, 7, 26, 24001), {(7, ROAD, 0), (26, CAR, 1), (24001, PERSON, 0), (24002, PERSON, 0)},
    ),
    (
        "coco_panoptic", trees.coco_panoptic, "",
        ("train2017/000000000009", "val2017/000000000010"), rows(255, 2, 0, 1),
        halves(257, 0, 5, 70000, 256), {(5, 2, 0), (70000, 0, 1), (256, 1, 0), (257, 1, 0)},
    ),
]  # fmt: skip
NAMES = [f"{name}{options}" for name, _, options, *_ in CASES]


@pytest.mark.parametrize(("name", "build", "options", "ids", "classes", "map_", "segments"), CASES, ids=NAMES)
def test_a_native_tree_is_read_back_exactly(tmp_path, name, build, options, ids, classes, map_, segments):
    root = build(tmp_path / "data")
    data = promptseg.load_dataset(f"{name}:{root}{options}")
    assert ([s.id for s in data.train], [s.id for s in data.val]) == ([ids[0]], [ids[1]])
    assert len(data.test) == 0 and data.spec == f"{name}:{root}{options}" and data.train.dataset == f"{name}{options}"
    for sample in (data.train[0], data.val[0]):
        assert sample.image().shape == (*trees.SHAPE, 3)
        assert sample.semantic().dtype == np.uint8 and np.array_equal(sample.semantic(), classes)
        if map_ is None:
            with pytest.raises(PromptsegError, match="has no instance labels"):
                sample.panoptic()
        else:
            panoptic = sample.panoptic()
            assert panoptic.map.dtype == np.int32 and np.array_equal(panoptic.map, map_)
            assert set(panoptic.segments) == {Segment(i, c, bool(crowd)) for i, c, crowd in segments}
            assert len(panoptic.segments) == len(segments)


@pytest.mark.parametrize(("name", "build", "options"), [case[:3] for case in CASES], ids=NAMES)
def test_a_native_tree_passes_the_check(tmp_path, name, build, options):
    report = check_dataset(f"{name}:{build(tmp_path)}{options}")
    assert report.ok and report.splits["train"].images == report.splits["val"].images == 1
    expected = ("is in no training label", "sky", "are crowds")
    assert all(any(word in d.reason for word in expected) for d in report.defects)


def test_the_environment_names_the_folder(tmp_path, monkeypatch):
    root = trees.acdc(tmp_path / "data")
    monkeypatch.setenv("PROMPTSEG_ACDC", str(root))
    for spec in ("acdc", "acdc:"):
        assert promptseg.load_dataset(spec).spec == f"acdc:{root}"
    assert len(promptseg.load_dataset("acdc?condition=snow").train) == 1
    monkeypatch.delenv("PROMPTSEG_ACDC")
    with pytest.raises(PromptsegError, match=r"^acdc: names no folder; write acdc:FOLDER, or set PROMPTSEG_ACDC="):
        promptseg.load_dataset("acdc")


def test_a_folder_of_that_name_goes_before_the_environment(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trees.acdc(tmp_path / "acdc")
    with pytest.raises(PromptsegError, match="acdc: has no images"):
        promptseg.load_dataset("acdc")
    assert len(promptseg.load_dataset("acdc:acdc").train) == 4


# What is particular to one data set


def test_cityscapes_without_label_ids(tmp_path):
    root = trees.cityscapes(tmp_path)
    for path in list(root.rglob("*_labelIds.png")):
        path.unlink()
    sample = promptseg.load_dataset(f"cityscapes:{root}").val[0]
    assert np.array_equal(sample.semantic(), ROAD_SCENE)
    trees.paint(root / "gtFine/val/ulm/ulm_000001_000019_gtFine_labelTrainIds.png", np.uint8(rows(255, 1, 2, 3)))
    assert np.array_equal(promptseg.load_dataset(f"cityscapes:{root}").val[0].semantic(), rows(255, 1, 2, 3))


def test_all_cityscapes_label_ids(tmp_path):
    """Against the published table, class by class."""
    names = {
        7: "road", 8: "sidewalk", 11: "building", 12: "wall", 13: "fence", 17: "pole", 19: "traffic light",
        20: "traffic sign", 21: "vegetation", 22: "terrain", 23: "sky", 24: "person", 25: "rider", 26: "car",
        27: "truck", 28: "bus", 31: "train", 32: "motorcycle", 33: "bicycle",
    }  # fmt: skip
    root = trees.cityscapes(tmp_path)
    every = np.uint8(np.arange(34)[None])
    trees.paint(root / "gtFine/val/ulm/ulm_000001_000019_gtFine_labelIds.png", every)
    trees.photo(root / "leftImg8bit/val/ulm/ulm_000001_000019_leftImg8bit.png", shape=every.shape)
    labels = promptseg.load_dataset(f"cityscapes:{root}").val[0].semantic()[0]
    assert {i: CITYSCAPES_19.names[c] for i, c in enumerate(labels) if c != 255} == names


def test_mapillary_tables_differ_as_documented(tmp_path):
    """All 66 classes of v1.2 in one label map; the three tables agree but on the 11 classes of the guide."""
    every = np.uint8(np.arange(66)[None])
    root = trees.mapillary(tmp_path)
    trees.paint(root / "validation/v1.2/labels/v-0123456789_abcdefXYZ.png", every)
    trees.photo(root / "validation/images/v-0123456789_abcdefXYZ.jpg", shape=every.shape)

    def classes(mapping):
        return promptseg.load_dataset(f"mapillary:{root}?mapping={mapping}").val[0].semantic()[0]

    cvrn, robustnet, openseg = map(classes, ("cvrn", "robustnet", "openseg"))
    different = {7: (0, 255, 0), 8: (0, 255, 0), 9: (1, 255, 1), 10: (0, 255, 0), 11: (1, 255, 1), 14: (0, 255, 0),
                 23: (0, 255, 0), 41: (255, 0, 255), 44: (255, 255, 5), 46: (255, 255, 7), 49: (7, 255, 7)}  # fmt: skip
    rows_ = zip(cvrn.tolist(), robustnet.tolist(), openseg.tolist(), strict=True)
    assert {i: row for i, row in enumerate(rows_) if len(set(row)) > 1} == different
    assert [CITYSCAPES_19.names[cvrn[i]] for i in (13, 15, 27, 48, 54, 61)] == [
        "road", "sidewalk", "sky", "traffic light", "bus", "truck",
    ]  # fmt: skip


def test_old_layouts(tmp_path):
    old = trees.mapillary(tmp_path / "vistas")
    for split in ("training", "validation"):
        for kind in ("labels", "instances"):
            (old / split / "v1.2" / kind).rename(old / split / kind)
        (old / split / "v1.2").rmdir()
    assert (promptseg.load_dataset(f"mapillary:{old}").val[0].panoptic().map[3, 3:] == 4867).all()
    shifted = tmp_path / "pascal_ctx_d2"
    for split, name in (("training", "2008_000008"), ("validation", "2010_000682")):
        trees.photo(shifted / f"images/{split}/{name}.jpg")
        trees.paint(shifted / f"annotations_ctx59/{split}/{name}.png", np.uint8(rows(255, 0, 46, 58)))
    data = promptseg.load_dataset(f"pascal_context:{tmp_path}")
    assert data.train[0].id == "2008_000008" and np.array_equal(data.val[0].semantic(), rows(255, 0, 46, 58))


@pytest.mark.parametrize(
    ("name", "build", "inside"),
    [
        ("ade20k", trees.ade20k, "ADEChallengeData2016"),
        ("bdd100k", trees.bdd100k, "bdd100k"),
        ("pascal_context", trees.pascal_context, "VOCdevkit/VOC2010"),
    ],
)
def test_the_folder_around_is_taken_too(tmp_path, name, build, inside):
    build(tmp_path / inside)
    assert len(promptseg.load_dataset(f"{name}:{tmp_path}").val) == 1


def test_acdc_conditions_and_unpacked_archives(tmp_path):
    root = trees.acdc(tmp_path)
    everything = promptseg.load_dataset(f"acdc:{root}")
    assert [s.id.partition("/")[0] for s in everything.train] == ["fog", "night", "rain", "snow"]
    for name, archive in (("rgb_anon", "rgb_anon_trainvaltest"), ("gt", "gt_trainval")):
        (root / archive).mkdir()
        (root / name).rename(root / archive / name)
    again = promptseg.load_dataset(f"acdc:{root}?condition=all")
    assert [s.id for s in again.val] == [s.id for s in everything.val]
    assert np.array_equal(again.val[3].semantic(), ROAD_SCENE)


def test_ade20k_without_instances_is_semantic_only(tmp_path):
    root = trees.ade20k(tmp_path / "a")
    (root / "annotations_instance").rename(tmp_path / "away")
    sample = promptseg.load_dataset(f"ade20k:{root}").val[0]
    assert sample.semantic()[1, 0] == 0
    with pytest.raises(PromptsegError, match="has no instance labels; use the task 'semantic', or add the files"):
        sample.panoptic()


def test_coco_panoptic_classes(tmp_path):
    space = promptseg.load_dataset(f"coco_panoptic:{trees.coco_panoptic(tmp_path)}").label_space
    assert space.names == ("person", "car", "sky") and space.thing_ids == (0, 1)
    assert space.colors == ((220, 20, 60), (0, 0, 142), (70, 130, 180))


# Labelling tools


def test_coco_instances(tmp_path):
    data = promptseg.load_dataset(f"coco:{trees.coco(tmp_path / 'mine')}")
    assert data.label_space.names == ("car", "road") and data.label_space.name == "mine"
    (one,), (two,) = data.train, data.val
    assert (one.id, two.id) == ("train/a", "val/b")
    expected = np.ones(trees.SHAPE)
    expected[1:3, 1:3] = 2
    panoptic = one.panoptic()
    assert np.array_equal(panoptic.map, expected) and panoptic.segments == (Segment(1, 1), Segment(2, 0))
    assert np.array_equal(one.semantic(), np.where(expected == 2, 0, 1))
    columns = np.zeros(trees.SHAPE)
    columns[:, 1:3] = 1
    assert np.array_equal(two.panoptic().map, columns) and two.panoptic().segments == (Segment(1, 0, True),)
    assert np.array_equal(two.semantic(), np.where(columns == 1, 0, 255))
    assert check_dataset(data.spec).ok


def test_coco_run_lengths_written_by_pycocotools(tmp_path):
    from pycocotools import mask

    wanted = np.random.default_rng(1).integers(0, 2, trees.SHAPE, dtype=np.uint8)
    runs = mask.encode(np.asfortranarray(wanted))
    annotation = {"id": 1, "image_id": 5, "category_id": 1, "segmentation": {**runs, "counts": runs["counts"].decode()}}
    trees.photo(tmp_path / "val2017/5.jpg")
    content = {"images": [{"id": 5, "file_name": "5.jpg"}], "annotations": [annotation],
               "categories": [{"id": 1, "name": "cup"}, {"id": 2, "name": "plate"}]}  # fmt: skip
    trees.write(tmp_path / "annotations/instances_val2017.json", content)
    (sample,) = promptseg.load_dataset(f"coco:{tmp_path}").val
    assert sample.id == "val2017/5" and np.array_equal(sample.panoptic().map, wanted)


def test_coco_lists_of_splits(tmp_path):
    root = trees.coco(tmp_path)
    trees.write(root / "splits/night.txt", "val/b\n")
    data = promptseg.load_dataset(f"coco:{root}?train=night")
    assert [s.id for s in data.train] == ["val/b"] and len(data.val) == 0


@pytest.mark.parametrize(
    ("file", "photo", "file_name", "id_"),
    [
        ("result.json", "images/8f-a.jpg", "images/8f-a.jpg", "8f-a"),
        ("annotations/instances_default.json", "images/default/a.jpg", "a.jpg", "a"),
        ("train/_annotations.coco.json", "train/a.jpg", "a.jpg", "train/a"),
    ],
)
def test_coco_as_tools_export_it(tmp_path, file, photo, file_name, id_):
    trees.photo(tmp_path / photo)
    images = [{"id": 1, "file_name": file_name, "height": 4, "width": 6}]
    content = {"images": images, "annotations": trees.COCO_OBJECTS[:2],
               "categories": [{"id": 7, "name": "road"}, {"id": 2, "name": "car"}]}  # fmt: skip
    trees.write(tmp_path / file, content)
    (sample,) = promptseg.load_dataset(f"coco:{tmp_path}").train
    assert sample.id == id_ and sample.image().shape == (4, 6, 3) and sample.semantic()[1, 1] == 0


def test_labelme(tmp_path):
    data = promptseg.load_dataset(f"labelme:{trees.labelme(tmp_path)}")
    (sample,) = data.train
    assert sample.id == "day/1" and data.label_space.names == ("car", "road")
    expected = np.ones(trees.SHAPE)
    expected[0, :2] = expected[0, 4:] = 2
    expected[3, :2] = 0
    assert np.array_equal(sample.panoptic().map, expected)
    assert sample.panoptic().segments == (Segment(1, 1), Segment(2, 0))
    assert np.array_equal(sample.semantic(), np.select([expected == 1, expected == 2], [1, 0], 255))
    trees.write(tmp_path / "classes.json", ["road", "bus", "car"])
    assert promptseg.load_dataset(f"labelme:{tmp_path}").train[0].semantic()[0, 0] == 2


TOY = """
import numpy as np
from promptseg.label_space import ClassInfo, LabelSpace
from promptseg.data.registry import DataFormat
from promptseg.data.sample import Dataset, Split

SPACE = LabelSpace("toy", (ClassInfo("road", (0, 0, 0)), ClassInfo("sky", (9, 9, 9))))

class Sample:
    label_space = SPACE
    def __init__(self, number):
        self.id = str(number)
    def image(self):
        return np.full((4, 6, 3), int(self.id), np.uint8)
    def semantic(self):
        return np.eye(4, 6, dtype=np.uint8)

def load(spec):
    count = spec.count("count", 2)
    splits = [Split([Sample(100 * i + n) for n in range(count)], "toy", name) for i, name in enumerate("abc")]
    return Dataset(f"toy:{spec.where}", SPACE, *splits)

TOY = DataFormat(load, "a toy", "none", "yours", in_folder=False)
"""


def test_another_package_brings_a_format_in_one_file_and_one_line(tmp_path, monkeypatch):
    plugin.install(tmp_path, "toy-data", {"promptseg.formats": {"toy": "toy_data:TOY"}}, {"toy_data": TOY})
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    command = [sys.executable, "-m", "promptseg", "data"]
    listed = subprocess.run([*command, "list"], capture_output=True, text=True, check=True).stdout
    assert "toy:NAME\n  a toy\n" in listed and listed.startswith("streets:NAME")
    checked = subprocess.run([*command, "check", "toy:here?count=3"], capture_output=True, text=True, check=True).stdout
    assert "train: 3 images" in checked and "0 errors" in checked
    refused = subprocess.run([*command, "check", "toy:here?count=x"], capture_output=True, text=True, check=False)
    assert refused.returncode == 2 and "toy:here?count=x: count is 'x', expected a whole number" in refused.stderr
