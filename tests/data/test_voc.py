"""Folders in the form of Pascal VOC: palettes, colours and lists are read as tools mean them, or refused in a line."""

import numpy as np
import pytest
import trees
from own_files import ids, said
from PIL import Image

from promptseg import PromptsegError, load_dataset

SHAPE = (4, 6)
LABELMAP = "# label:color_rgb:parts:actions\nbackground:0,0,0::\nroad: sign:10,20,30::\ncar:40,50,60::\n"
CLASSES = np.array([[0, 0, 0, 0, 0, 255], [1, 1, 0, 2, 2, 255], [1, 1, 0, 2, 2, 255], [0, 0, 2, 0, 0, 0]], np.uint8)
OBJECTS = np.array([[0, 0, 0, 0, 0, 255], [1, 1, 0, 2, 3, 255], [1, 1, 0, 2, 3, 255], [0, 0, 3, 0, 0, 0]], np.uint8)
COLORS = {0: (0, 0, 0), 1: (10, 20, 30), 2: (40, 50, 60), 255: (224, 224, 192)}


def voc_palette():
    """The palette that the devkit of VOC draws with: bits of the index, from the lowest on, in turn to R, G and B."""
    table = np.zeros((256, 3), np.uint8)
    for index in range(256):
        for bit in range(8):
            table[index, bit % 3] |= (index >> bit & 1) << (7 - bit // 3)
    return table


def indexed(path, values, palette=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(values)
    picture.putpalette((voc_palette() if palette is None else palette).tobytes())
    picture.save(path)


def coloured(values, colors):
    pixels = np.zeros((*values.shape, 3), np.uint8)
    for value, color in colors.items():
        pixels[values == value] = color
    return pixels


def voc(root, classes=CLASSES, objects=OBJECTS, names=("a",), lists=None):
    for seed, name in enumerate(names):
        trees.photo(root / f"JPEGImages/{name}.jpg", seed, SHAPE)
        indexed(root / f"SegmentationClass/{name}.png", classes)
        if objects is not None:
            indexed(root / f"SegmentationObject/{name}.png", objects)
    for name, lines in (lists or {}).items():
        trees.write(root / f"ImageSets/Segmentation/{name}.txt", "\n".join(lines) + "\n")
    return f"voc:{root}"


def masks(labels):
    return {segment.id: (segment.class_id, labels.map == segment.id) for segment in labels.segments}


def test_the_21_classes_with_void_and_objects(tmp_path):
    data = load_dataset(voc(tmp_path / "VOC2012"))
    names = data.label_space.names
    assert len(names) == 21 and (names[0], names[15], names[20]) == ("background", "person", "tv monitor")
    assert data.label_space.colors == tuple(map(tuple, voc_palette()[:21].tolist()))
    assert data.label_space.thing_ids == tuple(range(1, 21)) and not data.warnings
    sample = data.train[0]
    assert np.array_equal(sample.semantic(), CLASSES)
    found = masks(sample.panoptic())
    assert {i: class_id for i, (class_id, _) in found.items() if i < 256} == {1: 1, 2: 2, 3: 2}
    assert all(np.array_equal(mask, i == OBJECTS) for i, (_, mask) in found.items() if i < 256)
    assert np.array_equal(sample.panoptic().semantic(), CLASSES)
    assert [(s.class_id, s.is_crowd) for s in sample.objects().segments if s.class_id] == [
        (1, False),
        (2, False),
        (2, False),
    ]


@pytest.mark.parametrize("around", ["VOCdevkit/VOC2012", "VOC2007", ""])
def test_the_folder_around_is_taken_too(tmp_path, around):
    voc(tmp_path / around)
    assert len(load_dataset(f"voc:{tmp_path}").train) == 1


def test_colours_are_those_of_the_labelmap(tmp_path):
    spec = voc(tmp_path)
    trees.write(tmp_path / "labelmap.txt", LABELMAP)
    trees.paint(tmp_path / "SegmentationClass/a.png", coloured(CLASSES, COLORS))
    instances = {number: tuple(color) for number, color in enumerate(voc_palette()[:4].tolist())} | {255: COLORS[255]}
    trees.paint(tmp_path / "SegmentationObject/a.png", coloured(OBJECTS, instances))
    data = load_dataset(spec)
    assert data.label_space.names == ("background", "road: sign", "car") and data.label_space.colors[2] == (40, 50, 60)
    assert np.array_equal(data.train[0].semantic(), CLASSES)
    found = [mask for class_id, mask in masks(data.train[0].panoptic()).values() if class_id == 2]
    assert sorted(mask.sum() for mask in found) == [2, 3]


@pytest.mark.parametrize(
    ("file", "content", "names"),
    [
        ("classes.json", ["background", "road", "car"], ("background", "road", "car")),
        ("class_names.txt", "__ignore__\n_background_\nroad\ncar\n", ("background", "road", "car")),
    ],
)
def test_indices_of_own_classes(tmp_path, file, content, names):
    spec = voc(tmp_path, objects=None)
    trees.write(tmp_path / file, content)
    data = load_dataset(spec)
    assert data.label_space.names == names and data.label_space.thing_ids == (1, 2)
    assert np.array_equal(data.train[0].semantic(), CLASSES)
    with pytest.raises(PromptsegError, match="has no instance labels"):
        data.train[0].panoptic()


def test_lists_are_those_of_voc(tmp_path):
    lists = {"train": ["a"], "val": ["b"], "trainval": ["a", "b"], "night": ['"day c"']}
    spec = voc(tmp_path, names=("a", "b", "day c", "d"), lists=lists)
    (tmp_path / "SegmentationClass/d.png").unlink()
    data = load_dataset(spec)
    assert ids(data) == {"train": ["a"], "val": ["b"], "test": []}
    assert ids(load_dataset(f"{spec}?train=trainval&val=night")) == {
        "trainval": ["a", "b"],
        "night": ["day c"],
        "test": [],
    }
    lines = said(spec)
    assert any("1 of 4 photos have no labels, first d" in line for line in lines)
    assert any("1 of 3 photos are in no split, first day c" in line for line in lines)


def test_the_subsets_of_cvat_are_splits_by_their_names(tmp_path):
    spec = voc(tmp_path, names=("a", "b"), lists={"Train": ["a"], "Validation": ["b"]})
    assert ids(load_dataset(spec)) == {"train": ["a"], "val": ["b"], "test": []}
    trees.write(tmp_path / "ImageSets/Segmentation/training.txt", "b\n")
    assert any("has Train.txt and training.txt, which may both be the list of train" in line for line in said(spec))


def test_old_labelme_folders(tmp_path):
    spec = voc(tmp_path, objects=None)
    (tmp_path / "SegmentationClass").rename(tmp_path / "SegmentationClassPNG")
    trees.write(tmp_path / "SegmentationClass/a.npy", "")
    assert np.array_equal(load_dataset(spec).train[0].semantic(), CLASSES)


def write(path, text):
    return lambda root: trees.write(root / path, text)


def objects_with(place, value):
    changed = OBJECTS.copy()
    changed[place] = value
    return lambda root: indexed(root / "SegmentationObject/a.png", changed)


def labelmap(root):
    trees.write(root / "labelmap.txt", LABELMAP)


def renumbered(root):
    """As programs do that make PNG files smaller: the colours stay, the indices do not."""
    labelmap(root)
    palette = np.zeros((256, 3), np.uint8)
    palette[[0, 1, 2, 3]] = [COLORS[2], COLORS[0], COLORS[255], COLORS[1]]
    values = np.select([CLASSES == 2, CLASSES == 0, CLASSES == 255], [0, 1, 2], 3).astype(np.uint8)
    indexed(root / "SegmentationClass/a.png", values, palette)


def other_colour(root):
    labelmap(root)
    trees.paint(root / "SegmentationClass/a.png", coloured(CLASSES, COLORS | {2: (41, 50, 60)}))


def clear(root):
    labelmap(root)
    pixels = np.dstack([coloured(CLASSES, COLORS), np.full(SHAPE, 255, np.uint8)])
    pixels[0, 0, 3] = 9
    trees.paint(root / "SegmentationClass/a.png", pixels)


FAULTS = [
    (objects_with((0, 0), 1), "object 1 lies on 'background' and 'aeroplane' of SegmentationClass"),
    (objects_with((0, 0), 9), "object 9 lies on 'background' of SegmentationClass"),
    (objects_with((0, 5), 9), "object 9 lies on void of SegmentationClass"),
    (objects_with((1, 0), 0), "1 pixels of 'aeroplane' in SegmentationClass are in no object here"),
    (objects_with((1, 0), 255), "1 pixels of 'aeroplane' in SegmentationClass are void here"),
    (lambda root: indexed(root / "SegmentationObject/a.png", OBJECTS[:3]), "6x3 pixels, but SegmentationClass has 6x4"),
    (lambda root: indexed(root / "SegmentationClass/a.png", CLASSES[:3]), "6x3 pixels, but the photo a.jpg is 6x4"),
    (lambda root: indexed(root / "SegmentationClass/a.png", CLASSES + (CLASSES == 2) * np.uint8(99)), "ids 101"),
    (write("labelmap.txt", "car:1,2,3::\nroad:1,2,3::"), "gives 'car' and 'road' one color, [1, 2, 3]"),
    (write("labelmap.txt", "car:1,2::"), "line 1 is 'car:1,2::', where name:r,g,b:: was expected"),
    (write("labelmap.txt", "car:1,2,256::"), "line 1 is 'car:1,2,256::'"),
    (write("labelmap.txt", "void:1,2,3::"), "names 0 classes, where 1..254 were expected"),
    (write("labelmap.txt", "Car:1,2,3::\ncar:1,2,4::"), "are one name to a text encoder"),
    (renumbered, "its index 0 is class 'background', but its palette shows the colour of 'car'"),
    (other_colour, "5 pixels of [41, 50, 60], which no class has; add the colours to labelmap.txt"),
    (clear, "has transparent pixels"),
    (write("ImageSets/Segmentation/train.txt", "a\nz"), "train.txt: line 2 lists 'z', which has no photo"),
    (lambda root: trees.photo(root / "JPEGImages/a.png"), "a.png: has the same name as a.jpg"),
    (lambda root: (root / "JPEGImages/a.jpg").unlink(), "JPEGImages: no photos there"),
    (lambda root: (root / "SegmentationClass/a.png").rename(root / "SegmentationClass/b.png"), "none of 1 photos"),
    (lambda root: trees.paint(root / "SegmentationClass/b.png", CLASSES), "b.png: no photo belongs to it"),
    (lambda root: trees.photo(root / "SegmentationClass/b.jpg"), "b.jpg: ignored, as only .png are read here"),
]  # fmt: skip


@pytest.mark.parametrize(("fault", "line"), FAULTS)
def test_faults_are_told_in_one_line(tmp_path, fault, line):
    spec = voc(tmp_path / "VOC2012")
    fault(tmp_path / "VOC2012")
    lines = said(spec)
    assert any(line in one for one in lines), lines


def test_classes_that_nobody_named_are_said_to_be_those_of_voc(tmp_path):
    assert any("its maps are read as the 21 classes of Pascal VOC; add one" in line for line in said(voc(tmp_path)))
