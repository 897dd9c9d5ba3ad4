"""What people's copies of data sets get wrong, and the one line that each mistake gives."""

import json
import re
import shutil

import numpy as np
import pytest
import trees
from trees import rows

import promptseg
from promptseg import PromptsegError
from promptseg.data.check import check_dataset

CITY = "leftImg8bit/val/ulm/ulm_000001_000019_leftImg8bit.png"
LABELS = "gtFine/val/ulm/ulm_000001_000019_gtFine_labelIds.png"
VAL_JSON = "annotations/panoptic_val2017.json"
VAL_PNG = "annotations/panoptic_val2017/000000000010.png"
ADE_OBJECTS = "annotations_instance/training/ADE_train_00000001.png"
PASCAL = "SegmentationClassContext/2008_000008.png"
INSTANCES = "gtFine/val/ulm/ulm_000001_000019_gtFine_instanceIds.png"


def remove(path):
    return lambda root: shutil.rmtree(root / path) if (root / path).is_dir() else (root / path).unlink()


def repaint(path, array):
    return lambda root: trees.paint(root / path, array)


def edit(path, change):
    """Change the JSON content of a file in place."""

    def apply(root):
        content = json.loads((root / path).read_text())
        change(content)
        (root / path).write_text(json.dumps(content))

    return apply


def city(root):
    """Two photos for validation, so that one can lose its labels."""
    names = ("train/aachen/aachen_000000_000019", "val/ulm/ulm_000000_000019", "val/ulm/ulm_000001_000019")
    return trees.cityscapes(root, names)


def train_only_labels(root):
    for path in (root / "gtFine").rglob("*_labelIds.png"):
        trees.paint(path.with_name(path.name.replace("labelIds", "labelTrainIds")), np.uint8(rows(0, 33, 26, 7)))
        path.unlink()


# Told when the data set is opened: format, tree, what is broken, options, the line.
AT_OPENING = [
    ("cityscapes", trees.cityscapes, remove("gtFine"), "", "has no gtFine; lay the data out as `promptseg data list`"),
    ("cityscapes", trees.cityscapes, remove("leftImg8bit/val"), "", "val: no photos *_leftImg8bit.png below it"),
    ("cityscapes", trees.cityscapes, remove("gtFine/val"), "", "val: no files *_gtFine_labelIds.png below it; unpack"),
    ("cityscapes", trees.cityscapes, None, "?split=val", "takes no options; leave out what follows '?'"),
    ("bdd100k", trees.bdd100k, None, "?classes=8", "classes=8: '8': choose one of 19, 40"),
    ("bdd100k", trees.bdd100k, remove("labels/sem_seg"), "", "has no labels/sem_seg/masks"),
    ("mapillary", trees.mapillary, None, "?mapping=cnrv", "mapping=cnrv: 'cnrv': choose"),
    ("mapillary", trees.mapillary, None, "?version=2.0", "v2.0: no such folder; give the one that holds labels"),
    (
        "mapillary", lambda r: trees.mapillary(r, "v2.0"), None, "?mapping=openseg",
        "'openseg': choose one of proposed",
    ),
    ("ade20k", trees.ade20k, remove("annotations"), "", "has no annotations"),
    ("pascal_context", trees.pascal_context, None, "?order=voc", "'voc': choose one"),
    ("pascal_context", trees.pascal_context, remove("SegmentationClassContext"), "", "has no SegmentationClassContext"),
    ("acdc", trees.acdc, None, "?condition=mist", "'mist': choose one of all, fog, night"),
    ("acdc", trees.acdc, remove("gt"), "?condition=fog", "has no gt"),
    ("acdc", trees.acdc, remove("rgb_anon/snow"), "", "snow/train: no photos *_rgb_anon.png below it"),
    (
        "coco_panoptic", trees.coco_panoptic, remove("annotations/panoptic_val2017"), "",
        "panoptic_val2017.json: names files that are not here: no folder",
    ),
    (
        "coco_panoptic", trees.coco_panoptic, edit(VAL_JSON, lambda c: c["categories"].pop()), "",
        "panoptic_val2017.json: has other categories than panoptic_train2017.json",
    ),
    (
        "coco_panoptic", trees.coco_panoptic, edit(VAL_JSON, lambda c: c["annotations"].pop()), "",
        "has no annotation of the image 000000000010.jpg",
    ),
    ("coco", trees.coco, remove("annotations.json"), "", "has no annotations.json; export COCO JSON there"),
    ("coco", trees.coco, lambda r: (r / "annotations.json").write_text("{"), "", "annotations.json: not valid JSON"),
    ("coco", trees.coco, edit("annotations.json", lambda c: c.pop("images")), "", "has no list of images; export"),
    (
        "coco", trees.coco, edit("annotations.json", lambda c: c["categories"].pop()), "",
        "an annotation has the unknown category 2",
    ),
    (
        "coco", trees.coco, edit("annotations.json", lambda c: c["categories"][0].pop("name")), "",
        "an entry has the name None (its id: 7)",
    ),
    ("labelme", trees.labelme, remove("day/1.json"), "", "no JSON files of LabelMe below it"),
    ("labelme", trees.labelme, lambda r: trees.write(r / "day/2.json", [1]), "", "2.json: has no list of shapes"),
    ("folder", lambda r: r, None, "", "no such folder"),
    ("cityscape", lambda r: r, None, "", "unknown data format 'cityscape': choose one of acdc, ade20k"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "build", "break_it", "options", "said"), AT_OPENING)
def test_told_at_opening_in_one_line(tmp_path, name, build, break_it, options, said):
    root = build(tmp_path / "data")
    if break_it:
        break_it(root)
    with pytest.raises(PromptsegError, match=re.escape(said)) as error:
        promptseg.load_dataset(f"{name}:{root}{options}")
    assert "\n" not in str(error.value)


FOG = "fog/train/GOPR00train/GOPR00train_frame_000041"
BDD = "labels/pan_seg/bitmasks/val/b1c66a42-6f7d68ca.png"
TWICE = np.zeros((*trees.SHAPE, 4), np.uint8)
TWICE[0], TWICE[1] = (31, 0, 0, 9), (35, 0, 0, 9)
SWAPPED = trees.rows(5, 70000, 256, 257)

# Told by `data check`: format, tree, what is broken, the file, the level, the line.
IN_THE_CHECK = [
    ("cityscapes", city, remove(LABELS), LABELS, "error", "no such file; put it there"),
    ("cityscapes", city, remove(CITY), LABELS, "warning", "no photo belongs to it"),
    (
        "cityscapes", city, train_only_labels, LABELS.replace("labelIds", "labelTrainIds"), "error",
        "12 pixels of the ids 26, 33, where 0..18 or 255 was expected; ids up to 33 look like Cityscapes label ids",
    ),
    (
        "cityscapes", city, repaint(LABELS, np.uint8(rows(34, 90, 7, 7))), LABELS, "error",
        "12 pixels of the ids 34, 90, where 0..33 or 255 was expected",
    ),
    (
        "cityscapes", city, repaint(LABELS, np.uint8([[7, 7]])), LABELS, "error",
        "2x1 pixels, but the photo ulm_000001_000019_leftImg8bit.png is 6x4 pixels",
    ),
    (
        "cityscapes", city, repaint(LABELS, np.zeros((4, 6, 3), np.uint8)), LABELS, "error",
        "holds RGB pixels, where one class id per pixel was expected",
    ),
    (
        "cityscapes", city, repaint(INSTANCES, np.uint16(rows(40001, 7, 7, 7))), INSTANCES, "error",
        "1 pixels of the ids 40, where 0..33 or 255 was expected; these are no Cityscapes label ids",
    ),
    ("cityscapes", city, lambda r: (r / CITY).write_bytes((r / CITY).read_bytes()[:60]), CITY, "error", ""),
    (
        "cityscapes", city,
        lambda r: shutil.copy(r / CITY.replace("val/ulm/ulm_000001", "train/aachen/aachen_000000"), r / CITY), CITY,
        "error", "in val, has the same pixels as 'train/aachen/aachen_000000_000019' in train",
    ),
    ("bdd100k", trees.bdd100k, repaint(BDD, np.zeros((4, 6, 3), np.uint8)), BDD, "error", "as RGBA were expected"),
    ("bdd100k", trees.bdd100k, repaint(BDD, TWICE), BDD, "error", "two objects share the number 9"),
    (
        "mapillary", lambda r: trees.mapillary(r, ids=(65, 90, 7, 19)), None,
        "training/v1.2/labels/t-0123456789_abcdefXYZ.png", "error",
        "6 pixels of the ids 90, where 0..65 was expected; these are no ids of Mapillary v1.2: name the other version",
    ),
    (
        "ade20k", trees.ade20k, repaint("annotations/training/ADE_train_00000001.png", np.uint8(rows(255, 0, 1, 2))),
        "annotations/training/ADE_train_00000001.png", "error", "255 is in copies that were shifted by one",
    ),
    (
        "ade20k", trees.ade20k, repaint(ADE_OBJECTS, np.full((4, 6, 3), 101, np.uint8)),
        ADE_OBJECTS, "error", "categories up to 101",
    ),
    (
        "pascal_context", trees.pascal_context, repaint(PASCAL, np.uint8(rows(0, 60, 1, 1))),
        PASCAL, "error", "6 pixels of the ids 60, where 0..59 was expected",
    ),
    (
        "acdc", trees.acdc, remove(f"gt_panoptic/{FOG}_gt_panoptic.png"), "gt_panoptic", "error",
        "has no PNG named GOPR00train_frame_000041_gt_panoptic.png",
    ),
    (
        "coco_panoptic", trees.coco_panoptic,
        repaint(VAL_PNG, np.uint8(np.stack([SWAPPED // 65536, SWAPPED // 256 % 256, SWAPPED % 256], -1))),
        VAL_PNG, "error", "which its JSON does not list",
    ),
    (
        "coco_panoptic", trees.coco_panoptic, repaint(VAL_PNG, np.zeros((4, 6, 3), np.uint8)),
        VAL_PNG, "error", "has no pixel of segment 5, which its JSON lists",
    ),
    ("coco", trees.coco, remove("images/val/b.png"), "images/val/b.png", "error", "no such file"),
    (
        "coco", trees.coco, edit("annotations.json", lambda c: c["annotations"][0].update(segmentation=[[1, 2, 3, 4]])),
        "annotations.json", "error", "object 900100448263 of a.png has neither polygons nor run lengths",
    ),
    (
        "coco", trees.coco,
        edit("annotations.json", lambda c: c["annotations"][0].update(segmentation=[[0, 0, 1e9, 0, 1e9, 4]])),
        "annotations.json", "error", "object 900100448263 of a.png has neither polygons nor run lengths within 6x4",
    ),
    (
        "coco", trees.coco, edit("annotations.json", lambda c: c["annotations"][2]["segmentation"].update(counts=[9])),
        "annotations.json", "error", "object 3 of b.png has broken run lengths (the runs do not fill the photo",
    ),
    (
        "coco", trees.coco, edit("annotations.json", lambda c: c["images"][0].update(height=6, width=4)),
        "annotations.json", "error", "4x6 pixels, but the photo a.png is 6x4 pixels; the photo may be stored turned",
    ),
    (
        "labelme", trees.labelme, lambda r: trees.write(r / "classes.json", ["road"]), "day/1.json", "error",
        "shape 1 has the label 'car', which is no class; add it to classes.json, or rename it",
    ),
    (
        "labelme", trees.labelme, edit("day/1.json", lambda c: c["shapes"][0].update(shape_type="circle")),
        "day/1.json", "error", "shape 0 is a circle of 4 points, where polygons and rectangles are read",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "build", "break_it", "file", "level", "said"), IN_THE_CHECK)
def test_told_by_the_check_in_one_line(tmp_path, name, build, break_it, file, level, said):
    root = build(tmp_path / "data")
    if break_it:
        break_it(root)
    defects = [d for d in check_dataset(f"{name}:{root}").defects if d.file == str(root / file) and said in str(d)]
    assert defects and defects[0].level == level
    assert all("\n" not in str(d) and d.mend for d in defects)


# Class orders


def pascal(root, order):
    """A photo that is sky above grass, written in one of the two orders."""
    sky, grass = {"alphabetical": (47, 29), "fcn": (50, 36)}[order]
    return trees.pascal_context(root, (sky, sky, grass, grass))


@pytest.mark.parametrize(("written", "read", "better"), [
    ("alphabetical", "alphabetical", None), ("fcn", "fcn", None),
    ("alphabetical", "fcn", "alphabetical"), ("fcn", "alphabetical", "fcn"),
])  # fmt: skip
def test_the_other_class_order_of_pascal_context_is_suspected(tmp_path, written, read, better):
    report = check_dataset(f"pascal_context:{pascal(tmp_path, written)}?order={read}")
    suspected = [d for d in report.defects if "order" in d.reason]
    assert [d.level for d in suspected] == (["warning"] if better else [])
    assert all(f"order={better}" in d.reason and d.mend.endswith(f"?order={better}") for d in suspected)


@pytest.mark.parametrize(("names", "suspected"), [(["sky", "road"], False), (["road", "sky"], True)])
def test_sky_below_the_road_is_suspected(tmp_path, names, suspected):
    for number in range(2):
        trees.photo(tmp_path / f"images/{number}.png", number)
        trees.paint(tmp_path / f"labels/{number}.png", np.uint8(rows(0, 0, 1, 1)))
    trees.write(tmp_path / "classes.json", names)
    report = check_dataset(str(tmp_path))
    signs = [d for d in report.defects if "on average, 'sky' lies below 'road'" in d.reason]
    assert bool(signs) == suspected and report.ok


@pytest.mark.parametrize("name", ["", ".", "/etc/passwd", "../../x.jpg"])
def test_a_panoptic_file_names_files_below_its_folder_alone(tmp_path, name):
    trees.coco_panoptic(tmp_path)
    path = tmp_path / VAL_JSON
    content = json.loads(path.read_text())
    content["images"][0]["file_name"] = name
    path.write_text(json.dumps(content))
    with pytest.raises(PromptsegError, match="write the path of a file below its folder"):
        promptseg.load_dataset(f"coco_panoptic:{tmp_path}")
