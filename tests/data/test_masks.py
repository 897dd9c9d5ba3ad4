"""Labels of a folder in other shapes than ids: colours, a mask for each class, and files beside their photos."""

import numpy as np
import pytest
import trees
from own_files import ids, said
from PIL import Image

from promptseg import PromptsegError, load_dataset

SHAPE = (4, 6)
IDS = np.array([[0] * 6, [0, 1, 1, 2, 2, 0], [0, 1, 1, 2, 2, 0], [255] * 6], np.uint8)
NAMES = ("road", "traffic light", "car")
COLORS = [[128, 64, 128], [250, 170, 30], [0, 0, 142]]
ROWS = [{"name": name, "color": color} for name, color in zip(NAMES, COLORS, strict=True)]


def coloured(labels, colors=COLORS, void=(0, 0, 0)):
    pixels = np.zeros((*labels.shape, 3), np.uint8)
    pixels[labels == 255] = void
    for number, color in enumerate(colors):
        pixels[labels == number] = color
    return pixels


def folder(root, files, classes=NAMES, photos=("a",), where="images"):
    """Photos, and label files by their path below the root."""
    for seed, name in enumerate(photos):
        trees.photo(root / where / f"{name}.jpg", seed, SHAPE)
    for path, array in files.items():
        trees.paint(root / path, array)
    if classes is not None:
        trees.write(root / "classes.json", list(classes))
    return str(root)


def black_white(number, on=255):
    return np.where(number == IDS, on, 0).astype(np.uint8)


def masks(pattern, numbers=(0, 1, 2), spelled=NAMES):
    return {pattern.format(spelled[i]): black_white(i) for i in numbers}


# Colours

TABLES = {
    "labelmap.txt": "# label:color_rgb:parts:actions\nroad:128,64,128::\ntraffic light:250,170,30::\ncar:0,0,142::\n",
    "label_colors.txt": "128 64 128 road\n250 170 30 traffic light\n0 0 142\tcar\n0 0 0\tVoid\n",
    "class_dict.csv": "name,r,g,b\nroad,128,64,128\ntraffic light,250,170,30\ncar, 0, 0, 142\nUnlabelled,0,0,0\n",
}


@pytest.mark.parametrize("table", [None, *TABLES])
@pytest.mark.parametrize("alpha", [False, True])
def test_colours_are_read_as_the_classes_that_have_them(tmp_path, table, alpha):
    pixels = coloured(IDS)
    pixels = np.dstack([pixels, np.full(SHAPE, 255, np.uint8)]) if alpha else pixels
    spec = folder(tmp_path, {"labels/a.png": pixels}, ROWS if table is None else None)
    if table is not None:
        trees.write(tmp_path / table, TABLES[table])
    data = load_dataset(spec)
    assert data.label_space.names == NAMES and data.label_space.colors == tuple(map(tuple, COLORS))
    assert np.array_equal(data.train[0].semantic(), IDS)
    assert np.array_equal(load_dataset(f"{spec}?background=car").train[0].semantic(), np.where(IDS == 255, 2, IDS))


def test_a_table_gives_the_colours_of_the_classes_in_classes_json(tmp_path):
    spec = folder(tmp_path, {"labels/a.png": coloured(IDS, void=(9, 9, 9))}, ("car", "road"))
    trees.write(tmp_path / "labelmap.txt", TABLES["labelmap.txt"] + "rest:9,9,9::\n")
    data = load_dataset(spec)
    expected = np.select([IDS == 0, IDS == 2], [1, 0], 255)
    assert np.array_equal(data.train[0].semantic(), expected)
    assert any("'traffic light', 'rest' is read as no class (255)" in warning.reason for warning in data.warnings)


def test_black_may_be_a_class(tmp_path):
    rows = [{"name": "ground", "color": [0, 0, 0]}, {"name": "car", "color": [255, 0, 0]}]
    labels = np.eye(*SHAPE, dtype=np.uint8)
    spec = folder(tmp_path, {"labels/a.png": coloured(labels, [[0, 0, 0], [255, 0, 0]])}, rows)
    assert np.array_equal(load_dataset(spec).train[0].semantic(), labels)


def test_values_of_roboflow_are_those_of_its_table(tmp_path):
    values = np.select([IDS == 0, IDS == 1, IDS == 2], [3, 7, 0], 255).astype(np.uint8)
    for seed, split in enumerate(("train", "valid")):
        trees.photo(tmp_path / split / "a.jpg", seed, SHAPE)
        trees.paint(tmp_path / split / "a_mask.png", values)
        trees.write(tmp_path / split / "_classes.csv", "Pixel Value, Class\n3, road\n7, traffic light\n0, car\n")
    data = load_dataset(str(tmp_path))
    assert ids(data) == {"train": ["train/a"], "val": ["valid/a"], "test": []}
    assert data.label_space.names == NAMES and np.array_equal(data.val[0].semantic(), IDS)
    trees.write(tmp_path / "valid/_classes.csv", "Pixel Value, Class\n0, road\n")
    assert any("has other classes than" in line for line in said(str(tmp_path)))


# Masks of classes


@pytest.mark.parametrize(
    "pattern",
    [
        "labels/a_{}.png",
        "labels/a-{}.png",
        "labels/{}/a.png",
        "labels/a/{}.png",
        "masks/{}/a_mask.png",
        "images_masks/a_{}.png",
        "images/a_{}.png",
        "images/a_{}_mask.png",
    ],
)
@pytest.mark.parametrize("spelled", [NAMES, ("Road", "traffic_light", "CAR"), ("road", "traffic-light", "car")])
def test_one_mask_for_each_class(tmp_path, pattern, spelled):
    data = load_dataset(folder(tmp_path, masks(pattern, spelled=spelled)))
    assert ids(data)["train"] == ["a"] and np.array_equal(data.train[0].semantic(), IDS)
    assert not data.warnings


@pytest.mark.parametrize(
    ("save", "mask"),
    [
        ("bits", lambda mask: Image.fromarray(mask)),
        ("one", lambda mask: Image.fromarray(mask.astype(np.uint8))),
        ("grey", lambda mask: Image.fromarray(mask.astype(np.uint8) * 200)),
        ("wide", lambda mask: Image.fromarray(mask.astype(np.uint16) * 65535)),
        ("white", lambda mask: Image.fromarray(np.dstack([mask.astype(np.uint8) * 255] * 3))),
        (
            "red",
            lambda mask: Image.fromarray(np.dstack([mask * np.uint8(255), mask * np.uint8(0), mask * np.uint8(9)])),
        ),
        ("palette", lambda mask: Image.fromarray(np.dstack([mask * np.uint8(255)] * 3)).quantize(2)),
    ],
)
def test_a_mask_is_on_where_it_is_not_black(tmp_path, save, mask):
    spec = folder(tmp_path, {}, photos=("a",))
    for number, name in enumerate(NAMES):
        path = tmp_path / f"labels/a_{name}.png"
        path.parent.mkdir(exist_ok=True)
        mask(number == IDS).save(path)
    if save == "palette":  # Pillow puts white first where it fills more, and then the index 0 is on
        first = Image.open(tmp_path / "labels/a_road.png").getpalette()[:3]
        assert first in ([0, 0, 0], [255, 255, 255])
        if first != [0, 0, 0]:
            assert any("shows the index 1 black and the index 0 not" in line for line in said(spec))
            return
    assert np.array_equal(load_dataset(spec).train[0].semantic(), IDS)


def test_a_class_without_a_mask_is_not_on_the_photo(tmp_path):
    spec = folder(tmp_path, masks("labels/a_{}.png", (0, 2)), photos=("a", "b"))
    data = load_dataset(spec)
    assert np.array_equal(data.train[0].semantic(), np.where(IDS == 1, 255, IDS))
    assert any("1 of 2 photos have no labels, first b" in warning.reason for warning in data.warnings)
    assert (load_dataset(f"{spec}?background=rest").train[0].semantic()[3] == 3).all()


def test_a_single_class_has_a_background(tmp_path):
    data = load_dataset(folder(tmp_path, {"labels/a_crack.png": black_white(1)}, ("crack",)))
    assert data.label_space.names == ("crack", "background")
    assert np.array_equal(data.train[0].semantic(), np.where(IDS == 1, 0, 1))


@pytest.mark.parametrize(("overlap", "shared"), [("refuse", None), ("later", 2), ("ignore", 255)])
def test_pixels_of_several_masks_are_refused_or_settled_as_asked(tmp_path, overlap, shared):
    road = np.uint8([[255] * 6, [255] * 6, [0] * 6, [0] * 6])
    car = np.uint8([[0] * 6, [255] * 6, [255] * 6, [0] * 6])
    spec = folder(tmp_path, {"labels/a_road.png": road, "labels/a_car.png": car})
    if shared is None:
        assert any("6 pixels are in the masks of 'road' and 'car'; cut one out" in line for line in said(spec))
        return
    labels = load_dataset(f"{spec}?overlap={overlap}").train[0].semantic()
    assert np.array_equal(labels, np.repeat(np.uint8([0, shared, 2, 255])[:, None], 6, axis=1))


# Where they lie

LAYOUTS = {
    "masks": ("images", "masks/{}.png"),
    "images_mask": ("images", "images_mask/{}.png"),
    "beside": ("images", "images/{}_mask.png"),
    "in the folder itself": (".", "{}_mask.png"),
    "labels beside photos": (".", "labels/{}_seg.png"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_maps_of_ids_are_found(tmp_path, layout):
    where, pattern = LAYOUTS[layout]
    files = {pattern.format(name): IDS for name in ("a", "b")}
    data = load_dataset(folder(tmp_path, files, photos=("a", "b"), where=where))
    assert ids(data)["train"] == ["a", "b"] and not data.warnings
    assert all(np.array_equal(sample.semantic(), IDS) for sample in data.train)


@pytest.mark.parametrize(
    ("photo", "label"),
    [
        ("{}/images/1.jpg", "{}/masks/1.png"),
        ("{}/images/1.jpg", "{}/labels/1_mask.png"),
        ("{}/1.jpg", "{}_masks/1_mask.png"),
        ("{}/1.jpg", "{}_labels/1.png"),
        ("{}/1.jpg", "{}/1_mask.png"),
        ("images/{}/1.jpg", "masks/{}/1.png"),
    ],
)
def test_splits_have_folders_of_their_own(tmp_path, photo, label):
    for seed, split in enumerate(("train", "val")):
        trees.photo(tmp_path / photo.format(split), seed, SHAPE)
        trees.paint(tmp_path / label.format(split), IDS)
    trees.write(tmp_path / "classes.json", list(NAMES))
    data = load_dataset(str(tmp_path))
    assert ids(data) == {"train": ["train/1"], "val": ["val/1"], "test": []} and not data.warnings
    assert np.array_equal(data.val[0].semantic(), IDS)


def grey(values):
    return np.uint8(values)


BROKEN = [
    (
        {"labels/a_road.png": grey([[0, 9, 200, 255, 0, 0]] * 4)},
        NAMES,
        "holds 4 values, where a mask has black and one",
    ),
    ({"labels/a_road.png": grey([[0, 1]] * 3)}, NAMES, "2x3 pixels, but the photo a.jpg is 6x4 pixels"),
    (
        {"labels/a_road.png": black_white(0), "labels/a_car.png": grey([[0, 1]] * 3)},
        NAMES,
        "2x3 pixels, but a_road.png",
    ),
    (
        {"labels/a.png": IDS, "labels/a_car.png": black_white(2)},
        NAMES,
        "may have the labels a.png, a_car.png; keep one",
    ),
    (
        {"labels/a_car.png": black_white(2), "labels/car/a.png": black_white(2)},
        NAMES,
        "may have the labels a_car.png, a.png",
    ),
    ({"labels/a_mask.png": IDS}, ("road", "mask"), "may be the class 'mask' of 'a' or the labels of 'a'; rename it"),
    ({"labels/a.png": IDS, "masks/a.png": IDS}, NAMES, "has labels and masks, which may both hold the labels"),
    ({"labels/a.png": coloured(IDS)}, NAMES, "holds colours, and nothing says which class has which"),
    (
        {"labels/a.png": coloured(IDS, void=(1, 1, 1))},
        ROWS,
        "6 pixels of [1, 1, 1], which no class has; add the colours",
    ),
    ({"labels/a.png": coloured(IDS)}, [*ROWS, ROWS[0] | {"name": "bus"}], "gives 'road' and 'bus' one color"),
    ({"labels/a_bus.png": black_white(1)}, NAMES, "none of 1 photos has labels"),
    (
        {"labels/a_car.jpg": black_white(1)},
        NAMES,
        "a_car.jpg: ignored, as only .png, .tif, .tiff, .bmp, .gif are read here",
    ),
]


@pytest.mark.parametrize(("files", "classes", "line"), BROKEN)
def test_faults_are_told_in_one_line(tmp_path, files, classes, line):
    lines = said(folder(tmp_path, files, classes))
    assert any(line in one for one in lines), lines


def test_a_file_that_fits_two_photos_is_refused(tmp_path):
    spec = folder(
        tmp_path, {"labels/a_traffic_light.png": black_white(1)}, ("light", "traffic light"), ("a", "a_traffic")
    )
    assert any(
        "may be the class 'traffic light' of 'a' or the class 'light' of 'a_traffic'" in line for line in said(spec)
    )


def test_files_that_disagree_are_refused(tmp_path):
    spec = folder(tmp_path, {"labels/a.png": coloured(IDS)}, ROWS)
    trees.write(tmp_path / "labelmap.txt", "road:1,2,3::\n")
    assert any("gives 'road' the color [1, 2, 3], and classes.json says [128, 64, 128]" in line for line in said(spec))
    trees.write(tmp_path / "label_colors.txt", "1 2 3 road\n")
    assert any("has labelmap.txt and label_colors.txt, which both say" in line for line in said(spec))


def test_a_palette_that_was_numbered_anew_is_refused(tmp_path):
    spec = folder(tmp_path, {}, ROWS)
    picture = Image.fromarray(np.uint8([[2, 1, 0]] * 4).repeat(2, axis=1))
    picture.putpalette([*COLORS[2], *COLORS[1], *COLORS[0]])
    (tmp_path / "labels").mkdir()
    picture.save(tmp_path / "labels/a.png")
    with pytest.raises(PromptsegError, match="its index 0 is class 'road', but its palette shows the colour of 'car'"):
        load_dataset(spec).train[0].semantic()


@pytest.mark.parametrize(
    ("mark", "form"),
    [("JPEGImages/a.jpg", "voc"), ("annotations.xml", "cvat"), ("data.yaml", "yolo"), ("annotations.json", "coco")],
)
def test_a_folder_in_the_form_of_a_tool_is_told_by_its_files(tmp_path, mark, form):
    trees.photo(tmp_path / "images/a.png")
    trees.write(tmp_path / mark, "")
    assert any(f"did you mean {form}:{tmp_path}?" in line for line in said(str(tmp_path)))
