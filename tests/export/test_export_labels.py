"""Labels in the forms of other tools: what is written gives back the same pixels, read by other programs."""

import csv
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from scipy import ndimage

from promptseg import load_dataset
from promptseg.cli.main import run
from promptseg.errors import PromptsegError
from promptseg.export.label_forms import FORMS
from promptseg.export.labels import export_labels
from promptseg.export.parts import parts
from promptseg.label_space import IGNORE

LABELS = {
    "a": np.array(
        [
            [0, 0, 0, 0, 0, 1],
            [0, 1, 1, 1, 0, 1],
            [0, 1, 2, 1, 0, 255],
            [0, 1, 1, 1, 0, 0],
            [0, 0, 0, 0, 2, 0],
        ],
        np.uint8,
    ),
    "day/b": np.full((4, 7), 2, np.uint8),
}


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "photos"
    for name, labels in LABELS.items():
        for kind, array in (("images", np.stack([labels * 80] * 3, -1)), ("labels", labels)):
            path = root / kind / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(path)
    (root / "classes.json").write_text(json.dumps(["soil", "crop", "weed: tall"]))
    return root


def inside(line, size):
    """The pixels whose middles lie within a closed line, by counting crossings to the left."""
    height, width = size
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    found = np.zeros(size, bool)
    for (x0, y0), (x1, y1) in zip(line, np.roll(line, -1, axis=0), strict=True):
        if y0 == y1:
            continue
        at = x0 + (y - y0) / (y1 - y0) * (x1 - x0)
        found ^= (np.minimum(y0, y1) <= y) & (y < np.maximum(y0, y1)) & (x > at)
    return found


@settings(max_examples=60, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.sampled_from([0, 1, IGNORE])))
def test_outlines_give_back_every_pixel(labels):
    seen = np.full(labels.shape, IGNORE, np.uint8)
    for part in parts(labels):
        mask = inside(part.polygon(), labels.shape)
        assert part.area == mask.sum() and (seen[mask] == IGNORE).all()
        seen[mask] = part.class_id
        x, y, width, height = part.box
        rows, columns = np.nonzero(mask)
        assert (x, y, width, height) == (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)
        holes = ndimage.label(~np.pad(part.mask, 1), np.ones((3, 3)))[1] - 1
        assert len(part.rings()) == 1 + holes
    assert (seen == labels).all()


def test_parts_are_connected_by_sides():
    labels = np.array([[0, 1], [1, 0]], np.uint8)
    assert [(part.class_id, part.area) for part in parts(labels)] == [(0, 1), (0, 1), (1, 1), (1, 1)]


def test_coco_is_read_back_by_pycocotools(folder, tmp_path):
    assert run(["export", str(folder), "--to", "coco", "--out", str(tmp_path / "out")]) == 0
    coco = COCO(str(tmp_path / "out/annotations.json"))
    assert {c["id"]: c["name"] for c in coco.loadCats(coco.getCatIds())} == {0: "soil", 1: "crop", 2: "weed: tall"}
    for image in coco.loadImgs(coco.getImgIds()):
        labels = LABELS[image["file_name"].removesuffix(".png")]
        seen = np.full(labels.shape, IGNORE, np.uint8)
        for annotation in coco.loadAnns(coco.getAnnIds(image["id"])):
            mask = coco.annToMask(annotation).astype(bool)
            assert mask.sum() == annotation["area"] == coco_mask.area(coco.annToRLE(annotation))
            assert coco_mask.toBbox(coco.annToRLE(annotation)).tolist() == annotation["bbox"]
            seen[mask] = annotation["category_id"]
        assert (seen == labels).all()
    kinds = {type(annotation["segmentation"]) for annotation in coco.loadAnns(coco.getAnnIds())}
    assert kinds == {list, dict}


@pytest.mark.parametrize("form", ["coco", "labelme", "folder"])
def test_the_command_line_reads_back_what_it_wrote(folder, tmp_path, form, capsys):
    out = tmp_path / "out"
    assert run(["export", str(folder), "--to", form, "--out", str(out)]) == 0
    assert capsys.readouterr().out.startswith("2 photos with ")
    prefix = "" if form == "folder" else f"{form}:"
    again = load_dataset(f"{prefix}{out}")
    assert again.label_space.names == ("soil", "crop", "weed: tall")
    found = {sample.id: sample.semantic().tolist() for sample in again.train}
    assert found == {name: labels.tolist() for name, labels in LABELS.items()}
    photos = {sample.id: sample.image() for sample in load_dataset(str(folder)).train}
    assert all((sample.image() == photos[sample.id]).all() for sample in again.train)


def test_yolo_polygons_fill_the_same_pixels(folder, tmp_path):
    out = tmp_path / "out"
    assert run(["export", str(folder), "--to", "yolo", "--out", str(out)]) == 0
    for name, labels in LABELS.items():
        seen = np.full(labels.shape, IGNORE, np.uint8)
        assert (out / "images" / f"{name}.png").is_file()
        for line in (out / "labels" / f"{name}.txt").read_text().splitlines():
            class_id, *numbers = line.split()
            corners = np.array(numbers, float).reshape(-1, 2)
            assert corners.min() >= 0 and corners.max() <= 1
            seen[inside((corners * labels.shape[::-1]).round(3), labels.shape)] = int(class_id)
        assert (seen == labels).all()
    assert '  2: "weed: tall"\n' in (out / "data.yaml").read_text()


def test_areas_add_up(folder, tmp_path):
    out = tmp_path / "out"
    assert run(["export", str(folder), "--to", "csv", "--out", str(out)]) == 0
    tables = (csv.DictReader((out / f"{name}.csv").read_text().splitlines()) for name in ("classes", "objects"))
    classes, objects = map(list, tables)
    for name, labels in LABELS.items():
        rows = {row["class"]: row for row in classes if row["photo"] == name}
        assert sum(int(row["pixels"]) for row in rows.values()) == labels.size
        assert int(rows["(not labelled)"]["pixels"]) == (labels == IGNORE).sum()
        assert int(rows["crop"]["pixels"]) == (labels == 1).sum()
        parts_of_crop = [int(row["pixels"]) for row in objects if (row["photo"], row["class"]) == (name, "crop")]
        assert sum(parts_of_crop) == (labels == 1).sum()
    (weed,) = [row for row in objects if row["photo"] == "a" and row["class"] == "weed: tall" and row["x"] == "4"]
    place = [weed[key] for key in ("y", "width", "height", "middle_x", "middle_y")]
    assert place == ["4", "1", "1", "4.5", "4.5"]


def test_a_photo_stored_turned_is_written_upright(tmp_path):
    root, turned = tmp_path / "photos", Image.new("RGB", (6, 4), "red")
    ImageDraw.Draw(turned).point((0, 0), "blue")
    exif = Image.Exif()
    exif[0x0112] = 6
    (root / "images").mkdir(parents=True), (root / "labels").mkdir()
    turned.save(root / "images/a.jpg", exif=exif, quality=100)
    Image.fromarray(np.zeros((6, 4), np.uint8)).save(root / "labels/a.png")
    (root / "classes.json").write_text('["x"]')
    data = load_dataset(str(root))
    export_labels(data.train, "folder", tmp_path / "out")
    again = load_dataset(str(tmp_path / "out")).train[0]
    assert (again.image() == data.train[0].image()).all() and again.semantic().shape == (6, 4)


@pytest.mark.parametrize("form", FORMS)
def test_nothing_is_written_over(folder, tmp_path, form, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("keep")
    assert run(["export", str(folder), "--to", form, "--out", str(out)]) == 2
    assert "out is not empty: choose a new folder" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["mine.txt"]


def test_mistakes_are_one_line(folder, tmp_path, capsys):
    for arguments, words in (
        (["--to", "via"], "unknown label format 'via': choose one of coco, csv, folder, labelme, voc, yolo"),
        (["--to", "coco", "--split", "val"], "there are no labelled photos to export"),
        (["--to", "coco", "--split", "x"], "unknown split 'x'"),
    ):
        assert run(["export", str(folder), "--out", str(tmp_path / "out"), *arguments]) == 2
        err = capsys.readouterr().err
        assert words in err and err.count("\n") == 1
    with pytest.raises(PromptsegError, match="no labelled photos"):
        export_labels([], "coco", tmp_path / "out")
