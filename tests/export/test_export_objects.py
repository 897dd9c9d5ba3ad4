"""Data with objects keep them on the way into other forms, hidden parts and all; Pascal VOC as its tools read it."""

import numpy as np
import pytest
import trees
from own_files import annotation, box, coco, labelled
from PIL import Image
from pycocotools.coco import COCO

from promptseg import PromptsegError, load_dataset
from promptseg.cli.main import run
from promptseg.export.labels import export_labels
from promptseg.label_space import default_colors

SHAPE = (10, 12)
COLORS = default_colors(2)


def pixels(left, top, right, bottom):
    mask = np.zeros(SHAPE, bool)
    mask[top:bottom, left:right] = True
    return mask


CAR = pixels(1, 1, 9, 8)
SIGN = pixels(3, 2, 6, 5)  # over the car
TWO = pixels(9, 0, 11, 3) | pixels(10, 6, 12, 9)  # one car behind a pole, in two parts
TOUCHING = pixels(1, 8, 9, 10)  # a third car, right below the first


def source(root, crowd=False):
    """Three cars and a sign; a crowd of cars beside them if asked for."""
    trees.photo(root / "images/a.png", shape=SHAPE)
    found = [
        annotation(1, segmentation=box(1, 1, 9, 8)),
        annotation(2, category=2, segmentation=box(3, 2, 6, 5)),
        annotation(3, segmentation=[*box(9, 0, 11, 3), *box(10, 6, 12, 9)]),
        annotation(4, segmentation=box(1, 8, 9, 10)),
    ]
    if crowd:
        counts = [0, 10, 110]  # the first column
        found.append(annotation(5, segmentation={"size": list(SHAPE), "counts": counts}, iscrowd=1))
    return coco(root, [{"id": 1, "file_name": "a.png"}], found, ("car", "sign"))


def written(tmp_path, form, **options):
    out = tmp_path / "out"
    done = export_labels(load_dataset(source(tmp_path / "in", **options)).train, form, out)
    return out, done


EXPECTED = [("car", CAR), ("sign", SIGN), ("car", TWO), ("car", TOUCHING)]


def listed(pairs):
    return sorted((name, mask.tobytes()) for name, mask in pairs)


@pytest.mark.parametrize("form", ["coco", "yolo", "labelme"])
def test_objects_stay_whole_and_apart(tmp_path, form):
    out, done = written(tmp_path, form)
    data = load_dataset(f"{form}:{out}")
    objects, names = data.train[0].objects(), data.label_space.names
    found = [(names[s.class_id], objects.mask(i)) for i, s in enumerate(objects.segments)]
    assert done.objects == 4 and listed(found) == listed(EXPECTED)
    assert np.array_equal(data.train[0].semantic(), load_dataset(f"coco:{tmp_path / 'in'}").train[0].semantic())


def test_pycocotools_reads_the_same_objects(tmp_path):
    out, _ = written(tmp_path, "coco", crowd=True)
    read = COCO(str(out / "annotations.json"))
    entries = read.loadAnns(read.getAnnIds())
    names = {category["id"]: category["name"] for category in read.loadCats(read.getCatIds())}
    masks = [
        (names[entry["category_id"]], read.annToMask(entry).astype(bool)) for entry in entries if not entry["iscrowd"]
    ]
    assert listed(masks) == listed(EXPECTED)
    (crowd,) = [entry for entry in entries if entry["iscrowd"]]
    assert np.array_equal(read.annToMask(crowd), pixels(0, 0, 1, 10))
    polygons = [entry["segmentation"] for entry in entries if not entry["iscrowd"]]
    assert sorted(len(rings) for rings in polygons) == [1, 1, 1, 2]


def test_voc_has_what_is_seen_of_each_object(tmp_path):
    out, done = written(tmp_path, "voc", crowd=True)
    assert done.objects == 4 and done.remark == "1 crowds are void"
    classes, numbers = (np.array(Image.open(out / f"Segmentation{kind}/a.png")) for kind in ("Class", "Object"))
    assert (out / "labelmap.txt").read_text().splitlines()[1:] == [
        "background:0,0,0::",
        *(f"{name}:{','.join(map(str, color))}::" for name, color in zip(("car", "sign"), COLORS, strict=True)),
    ]
    crowd = pixels(0, 0, 1, 10)
    seen = (CAR & ~SIGN) | TWO | TOUCHING
    expected = np.select([SIGN, seen & ~crowd], [2, 1], 255)
    assert np.array_equal(classes, expected)
    found = sorted((numbers == number).tobytes() for number in np.unique(numbers).tolist() if number not in (0, 255))
    assert found == sorted(mask.tobytes() for mask in (CAR & ~SIGN, SIGN, TWO, TOUCHING))
    picture = Image.open(out / "SegmentationClass/a.png").convert("RGB")
    assert picture.getpixel((1, 1)) == COLORS[0] and picture.getpixel((0, 0)) == (224, 224, 192)
    assert (out / "ImageSets/Segmentation/train.txt").read_text() == "a\n"


def test_voc_is_read_back(tmp_path):
    out, _ = written(tmp_path, "voc")
    again, given = load_dataset(f"voc:{out}"), load_dataset(f"coco:{tmp_path / 'in'}")
    assert again.label_space.names == ("background", "car", "sign")
    labels = given.train[0].semantic()
    assert np.array_equal(again.train[0].semantic(), np.where(labels == 255, 255, labels + 1))
    found, wanted = again.train[0].panoptic(), given.train[0].panoptic()
    assert sorted((found.map == s.id).tobytes() for s in found.segments) == sorted(
        (wanted.map == s.id).tobytes() for s in wanted.segments
    )


def test_voc_of_label_maps_has_connected_parts_and_its_own_background(tmp_path):
    spec = labelled(tmp_path / "in", "day/a")  # ones on the diagonal, in no other's neighbourhood
    trees.write(tmp_path / "in/classes.json", ["sky", "background"])
    export_labels(load_dataset(spec).train, "voc", tmp_path / "out")
    again = load_dataset(f"voc:{tmp_path / 'out'}")
    assert again.label_space.names == ("background", "sky") and again.train[0].id == "day/a"
    assert np.array_equal(again.train[0].semantic(), 1 - np.eye(*SHAPE))
    assert sum(s.class_id == 1 for s in again.train[0].panoptic().segments) == 2


def test_more_objects_than_a_palette_holds_are_colours(tmp_path):
    shape = (40, 40)
    trees.photo(tmp_path / "in/images/a.png", shape=shape)
    labels = np.indices(shape).sum(0) % 2
    trees.paint(tmp_path / "in/labels/a.png", labels.astype(np.uint8))
    trees.write(tmp_path / "in/classes.json", ["road", "sky"])
    done = export_labels(load_dataset(str(tmp_path / "in")).train, "voc", tmp_path / "out")
    again = load_dataset(f"voc:{tmp_path / 'out'}").train[0].panoptic()
    assert done.objects == 1600 and len(again.segments) == 1600
    assert np.array_equal(again.semantic(), labels + 1)


def test_too_many_classes_for_voc_are_refused(tmp_path):
    spec = labelled(tmp_path / "in", "a")
    trees.write(tmp_path / "in/classes.json", [f"class {i}" for i in range(254)])
    with pytest.raises(PromptsegError, match="254 classes and the background are more than voc holds"):
        export_labels(load_dataset(spec).train, "voc", tmp_path / "out")


def test_what_becomes_of_crowds_is_said(tmp_path, capsys):
    spec = source(tmp_path / "in", crowd=True)
    for form, words in (("yolo", "1 crowds are written as objects"), ("coco", "")):
        assert run(["export", spec, "--to", form, "--out", str(tmp_path / form)]) == 0
        assert words in capsys.readouterr().err
