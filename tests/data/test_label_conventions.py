"""Conventions of label maps, photos and file names that people's data have, each with the right answer or the line."""

import os
import unicodedata

import numpy as np
import pytest
import trees
from own_files import SHAPE, annotation, box, ids, maps, one_photo, said
from PIL import Image
from tiny import tiny_segmenter

from promptseg import PromptsegError, draw_shots, evaluate, fit, load_dataset
from promptseg.data.few_shot import restore_shots
from promptseg.data.images import read_image, read_labels
from promptseg.data.photo_pixels import photo_pixels
from promptseg.engine.defaults import default_prompts
from promptseg.files import read_json, write_json
from promptseg.tasks.registry import build_task

# 4. Facts and conventions of label maps


def test_black_and_white_masks_are_suspected_and_can_be_read(tmp_path):
    spec, array = maps(tmp_path, [0, 255], ("background", "crack"))
    assert any(
        "hold only 0 and 255, and 255 is ignored (50 %" in line and "?values=0,255" in line for line in said(spec)
    )
    labels = load_dataset(f"{spec}?values=0,255").train[0].semantic()
    assert np.array_equal(labels, array // 255) and not any(
        "hold only" in line for line in said(f"{spec}?values=0,255")
    )
    metric = build_task("semantic").metric(load_dataset(spec).label_space)
    metric.count(labels, np.zeros(SHAPE, np.uint8))
    assert metric.compute().values["miou"] == pytest.approx(0.25)


def test_ids_that_begin_at_one(tmp_path):
    spec, array = maps(tmp_path, [1, 2, 3], ("road", "sky", "car"))
    lines = said(spec)
    assert any(
        "hold the ids 1..3 where there are the classes 0..2; if ids begin at 1, write ?values=1,2,3" in x for x in lines
    )
    assert np.array_equal(load_dataset(f"{spec}?values=1,2,3").train[0].semantic(), array - 1)
    spec, _ = maps(tmp_path, [0, 1, 2, 3], ("road", "sky", "car"))
    assert any(line.endswith("?values=1,2,3&ignore=0") for line in said(spec))
    labels = load_dataset(f"{spec}?values=1,2,3&ignore=0&background=rest").train[0]
    assert labels.label_space.names == ("road", "sky", "car", "rest") and set(labels.semantic().ravel().tolist()) == {
        0,
        1,
        2,
        3,
    }


def grey_png(bits):
    """Writes a grey PNG of fewer bits, as other programs do; Pillow writes none."""
    import struct
    import zlib

    def save(path, array):
        rows = []
        for row in array:
            text = "".join(format(int(v), f"0{bits}b") for v in row)
            rows.append(b"\0" + int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8), "big"))
        header = struct.pack(">IIBBBBB", array.shape[1], array.shape[0], bits, 0, 0, 0, 0)
        parts = ((b"IHDR", header), (b"IDAT", zlib.compress(b"".join(rows))), (b"IEND", b""))
        chunks = (struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in parts)
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))

    return save


SAVED = [
    ([0, 1], grey_png(1)), ([0, 1, 2, 3], grey_png(2)), ([0, 5, 15], grey_png(4)),
    ([0, 3, 15], lambda path, a: Image.fromarray(a.astype(np.uint16)).save(path)),
    ([0, 3, 15], lambda path, a: Image.fromarray(a.astype(np.float32)).save(path, format="TIFF")),
    ([0, 3, 15], lambda path, a: Image.fromarray(a.astype(np.int32)).save(path, format="TIFF")),
    ([0, 1, 2], lambda path, a: trees.palette_png(path, a)),
]  # fmt: skip


@pytest.mark.parametrize(("values", "save"), SAVED)
def test_label_maps_of_any_depth_keep_their_ids(tmp_path, values, save):
    spec, array = maps(tmp_path, values, [f"class {i}" for i in range(16)], save)
    assert np.array_equal(read_labels(tmp_path / "labels/a.png"), array)
    assert np.array_equal(load_dataset(spec).train[0].semantic(), array)


REFUSED = [
    (lambda path, a: Image.fromarray(a.astype(np.uint8)).save(path, format="JPEG"), "a JPEG file, where"),
    (lambda path, a: Image.fromarray(a.astype(np.float32) / 2).save(path, format="TIFF"), "holds fractions"),
    (lambda path, a: Image.fromarray((a - 1).astype(np.int32)).save(path, format="TIFF"), "holds the id -1"),
]  # fmt: skip


@pytest.mark.parametrize(("save", "line"), REFUSED)
def test_label_maps_that_cannot_be_trusted_are_refused(tmp_path, save, line):
    spec, _ = maps(tmp_path, [0, 1, 3], ("a", "b", "c", "d"), save)
    with pytest.raises(PromptsegError, match=line):
        load_dataset(spec).train[0].semantic()


def test_a_palette_of_greys_that_may_be_ids_is_told(tmp_path):
    def save(path, array):
        picture = Image.fromarray((array == 3).astype(np.uint8))
        picture.putpalette([1, 1, 1, 3, 3, 3])
        picture.save(path)

    spec, _ = maps(tmp_path, [1, 3], ("a", "b", "c", "d"), save)
    assert any("its palette shows the indices 0, 1 as the greys 1, 3" in line for line in said(spec))


# 5. One entrance for photos


def test_pictures_and_arrays_are_read_as_files_are(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.random.default_rng(0).integers(0, 256, (*SHAPE, 3), dtype=np.uint8)
    pictures = {
        "turned.png": (Image.fromarray(pixels), {"exif": exif}),
        "deep.png": (Image.fromarray(np.arange(120, dtype=np.uint16).reshape(SHAPE) * 500), {}),
        "clear.png": (Image.fromarray(np.dstack([pixels, pixels[..., 0]])), {}),
        "grey.png": (Image.fromarray(pixels[..., 0]), {}),
    }
    for name, (picture, options) in pictures.items():
        picture.save(tmp_path / name, **options)
        with Image.open(tmp_path / name) as opened:
            assert np.array_equal(photo_pixels(opened), read_image(tmp_path / name)), name
        if name != "turned.png":
            assert np.array_equal(photo_pixels(np.asarray(picture)), read_image(tmp_path / name)), name


@pytest.mark.parametrize("array", [np.zeros((4, 4, 2), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_arrays_that_are_no_photos(array):
    with pytest.raises(PromptsegError, match="the image is"):
        photo_pixels(array)


# 6. File names


def test_names_that_are_not_utf8_and_links_in_circles(tmp_path):
    strange = os.fsdecode(b"caf\xe9")
    for seed, name in enumerate(("b", strange)):
        trees.photo(tmp_path / f"images/{name}.png", seed, SHAPE)
        trees.paint(tmp_path / f"labels/{name}.png", np.eye(*SHAPE, dtype=np.uint8))
    (tmp_path / "images/._b.png").write_bytes(b"x")
    (tmp_path / "images/again").symlink_to(tmp_path / "images", target_is_directory=True)
    trees.write(tmp_path / "classes.json", ["road", "sky"])
    data = load_dataset(str(tmp_path))
    assert [s.id for s in data.train] == ["b", strange] and data.warnings == ()
    shots = draw_shots(data.train, 2)
    shots.save(tmp_path / "shots.json")
    assert set(restore_shots(data.train, tmp_path / "shots.json").ids) == {"b", strange}
    write_json(tmp_path / "x.json", {"name": strange})
    assert read_json(tmp_path / "x.json") == {"name": strange}


def test_a_list_may_name_photos_in_another_unicode_form(tmp_path):
    trees.photo(tmp_path / "images/café/1.png", shape=SHAPE)
    trees.paint(tmp_path / "labels/café/1.png", np.zeros(SHAPE, np.uint8))
    trees.write(tmp_path / "classes.json", ["road", "sky"])
    trees.write(tmp_path / "splits/train.txt", unicodedata.normalize("NFD", "café\\1"))
    assert ids(load_dataset(str(tmp_path)))["train"] == ["café/1"]


# 7. Degenerate tasks


def test_one_class_of_objects_gets_a_background_and_that_is_said(tmp_path):
    spec = one_photo(tmp_path, [annotation(1)], categories=("crack",))
    data = load_dataset(spec)
    assert data.label_space.names == ("crack", "background") and data.label_space.thing_ids == (0,)
    assert np.bincount(data.train[0].semantic().ravel()).tolist() == [16, 104]
    assert [(s.class_id, (data.train[0].panoptic().map == s.id).sum()) for s in data.train[0].panoptic().segments] == [
        (0, 16),
        (1, 104),
    ]
    assert any("unlabelled pixels are read as the class 'background'" in line for line in said(spec))
    assert load_dataset(f"{spec}?background=wall").label_space.names == ("crack", "wall")


def test_unlabelled_pixels_become_the_background_that_is_asked_for(tmp_path):
    spec = one_photo(tmp_path, [annotation(1), annotation(2, 1, 2, box(6, 1, 9, 5))])
    assert (load_dataset(spec).train[0].semantic() == 255).sum() == 120 - 16 - 12
    assert (load_dataset(f"{spec}?background=road").train[0].semantic() == 1).sum() == 120 - 16
    assert load_dataset(f"{spec}?background=rest").label_space.names == ("car", "road", "rest")


def test_a_score_that_cannot_be_wrong_is_refused(tmp_path):
    spec, _ = maps(tmp_path, [0, 0, 255], ("crack",))
    data, model = load_dataset(spec), tiny_segmenter()
    prompts = default_prompts(model, data.label_space)
    for attempt in (
        lambda: fit(model, [data.train[0]], "ssprompt", steps=1, progress=False),
        lambda: evaluate(model, prompts, data.train),
    ):
        with pytest.raises(PromptsegError, match="'crack' is the only class, so every pixel would be of it"):
            attempt()
    assert any("is the only class" in line for line in said(spec))


def test_partly_labelled_folders_are_used_and_counted(tmp_path):
    for name in ("a", "b", "c"):
        trees.photo(tmp_path / f"images/{name}.png", ord(name), SHAPE)
    trees.paint(tmp_path / "labels/b.png", np.eye(*SHAPE, dtype=np.uint8))
    trees.write(tmp_path / "classes.json", ["road", "sky"])
    trees.write(tmp_path / "splits/train.txt", "a\nb")
    data = load_dataset(str(tmp_path))
    assert ids(data)["train"] == ["b"] and any(
        "2 of 3 photos have no labels, first a" in d.reason for d in data.warnings
    )
    (tmp_path / "labels/b.png").unlink()
    with pytest.raises(PromptsegError, match="none of 3 photos has labels; name them as the photos"):
        load_dataset(str(tmp_path))
