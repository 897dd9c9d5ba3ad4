"""CVAT's XML for images 1.1: every kind of shape to the pixel, subsets, and one line for whatever does not fit."""

import numpy as np
import pytest
import trees
from own_files import ids, said

from promptseg import PromptsegError, load_dataset

SHAPE = (10, 12)
LABELS = (("road", "#102030", "any"), ("car", "#405060", "polygon"), ("way", "#000001", "polyline"))
POLYGON = '<polygon label="car" occluded="1" points="3.00,2.00;9.00,2.00;9.00,6.00;3.00,6.00" z_order="0"/>'


def xml(*images, labels=LABELS, around="task"):
    found = "".join(f"<label><name>{n}</name><color>{c}</color><type>{t}</type></label>" for n, c, t in labels)
    meta = f"<meta><{around}><labels>{found}</labels></{around}></meta>"
    content = f"<annotations><version>1.1</version>{meta}{''.join(images)}</annotations>"
    return f'<?xml version="1.0" encoding="utf-8"?>\n{content}'


def image(*shapes, number=0, name="a.png", size=SHAPE, more=""):
    inner = "".join(shapes)
    return f'<image id="{number}" name="{name}" width="{size[1]}" height="{size[0]}" {more}>{inner}</image>'


def cvat(root, *shapes, **options):
    trees.photo(root / "images/a.png", shape=SHAPE)
    trees.write(root / "annotations.xml", xml(image(*shapes), **options))
    return f"cvat:{root}"


def pixels(rows, columns):
    mask = np.zeros(SHAPE, bool)
    mask[rows, columns] = True
    return mask


def runs(mask):
    """A window's run lengths, row by row, the first of pixels that are off."""
    lengths, value = [0], False
    for pixel in mask.ravel().tolist():
        if pixel != value:
            lengths.append(0)
            value = pixel
        lengths[-1] += 1
    return ", ".join(map(str, lengths))


def mask_shape(mask, more=""):
    rows, columns = np.nonzero(mask)
    top, left, bottom, right = rows.min(), columns.min(), rows.max() + 1, columns.max() + 1
    place = f'left="{left}" top="{top}" width="{right - left}" height="{bottom - top}"'
    return f'<mask label="car" rle="{runs(mask[top:bottom, left:right])}" {place} z_order="0" {more}/>'


RING = pixels(slice(1, 8), slice(2, 9)) & ~pixels(slice(3, 6), slice(4, 7))
STEPS = np.tril(np.ones((10, 12), bool)) & pixels(slice(2, 9), slice(0, 9))
Y, X = np.mgrid[:10, :12] + 0.5


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (POLYGON, pixels(slice(2, 6), slice(3, 9))),
        ('<box label="car" xtl="1.00" ytl="2.00" xbr="4.00" ybr="9.00"/>', pixels(slice(2, 9), slice(1, 4))),
        # turned by a quarter about its middle (6, 5): 8 x 2 becomes 2 x 8
        ('<box label="car" xtl="2" ytl="4" xbr="10" ybr="6" rotation="90"/>', pixels(slice(1, 9), slice(5, 7))),
        ('<ellipse label="car" cx="6" cy="5" rx="4" ry="3"/>', ((X - 6) / 4) ** 2 + ((Y - 5) / 3) ** 2 <= 1),
        (
            '<ellipse label="car" cx="6" cy="5" rx="4" ry="2" rotation="90.00"/>',
            ((X - 6) / 2) ** 2 + ((Y - 5) / 4) ** 2 <= 1,
        ),
        (mask_shape(RING), RING),
        (mask_shape(STEPS), STEPS),
        (mask_shape(pixels(9, 11)), pixels(9, 11)),
    ],
)
def test_a_shape_is_read_to_the_pixel(tmp_path, shape, expected):
    data = load_dataset(cvat(tmp_path, shape))
    objects = data.train[0].objects()
    assert [(s.class_id, s.is_crowd) for s in objects.segments] == [(1, False)]
    assert np.array_equal(objects.mask(0), expected)
    assert np.array_equal(data.train[0].semantic(), np.where(expected, 1, 255))


def test_a_turned_box_turns_clockwise(tmp_path):
    spec = cvat(tmp_path, '<box label="car" xtl="2" ytl="4" xbr="10" ybr="6" rotation="30"/>')
    mask = load_dataset(spec).train[0].objects().mask(0)
    rows, columns = np.nonzero(mask)
    assert np.polyfit(columns, rows, 1)[0] > 0.3  # it falls to the right, as y points down


def test_labels_are_the_classes_in_their_order(tmp_path):
    data = load_dataset(cvat(tmp_path, POLYGON))
    assert data.label_space.names == ("road", "car")
    assert data.label_space.colors == ((16, 32, 48), (64, 80, 96)) and data.label_space.thing_ids == (0, 1)
    assert any(
        "the labels 'way' are for tags, points or lines, so they are no classes" in w.reason for w in data.warnings
    )
    trees.write(tmp_path / "classes.json", ["car", "sky"])
    assert load_dataset(f"cvat:{tmp_path}").label_space.names == ("car", "sky")


def test_shapes_of_one_group_are_one_object(tmp_path):
    two = pixels(slice(7, 9), slice(9, 12))
    group = 'group_id="4"'
    shapes = (POLYGON.replace("z_order", f"{group} z_order"), mask_shape(two, group), mask_shape(RING))
    objects = load_dataset(cvat(tmp_path, *shapes)).train[0].objects()
    assert len(objects.segments) == 2
    assert np.array_equal(objects.mask(0), pixels(slice(2, 6), slice(3, 9)) | two)
    assert np.array_equal(objects.mask(1), RING)


@pytest.mark.parametrize(("order", "top"), [((0, 0), 1), ((1, 0), 0), ((0, 1), 1), ((-1, -2), 0)])
def test_what_the_file_puts_on_top_is_on_top(tmp_path, order, top):
    """The road fills the photo, the car is small: of equal order, smaller over larger."""
    road = f'<box label="road" xtl="0" ytl="0" xbr="12" ybr="10" z_order="{order[0]}"/>'
    data = load_dataset(cvat(tmp_path, road, POLYGON.replace('z_order="0"', f'z_order="{order[1]}"')))
    assert data.train[0].semantic()[3, 5] == top
    objects = data.train[0].objects()
    assert [objects.mask(i).sum() for i in range(2)] == [120, 24]  # objects stay whole


def test_subsets_are_splits(tmp_path):
    names = {"Train": "1.png", "Validation": "1.png", "night": "3.png"}
    images = [
        image(POLYGON, number=i, name=name, more=f'subset="{subset}" task_id="{i}"')
        for i, (subset, name) in enumerate(names.items())
    ]
    trees.write(tmp_path / "annotations.xml", xml(*images, around="project"))
    for seed, (subset, name) in enumerate(names.items()):
        trees.photo(tmp_path / f"images/{subset}/{name}", seed, SHAPE)
    assert ids(load_dataset(f"cvat:{tmp_path}")) == {"train": ["Train/1"], "val": ["Validation/1"], "test": []}
    assert ids(load_dataset(f"cvat:{tmp_path}?train=night")) == {"night": ["night/3"], "val": [], "test": []}
    (tmp_path / "images/Validation/1.png").unlink()
    assert any("Validation/1.png: no such file" in line for line in said(f"cvat:{tmp_path}"))


def test_tags_are_no_shapes_and_images_without_any_are_named(tmp_path):
    spec = cvat(tmp_path, '<tag label="road" source="manual"/>')
    assert (load_dataset(spec).train[0].semantic() == 255).all()
    assert any(
        "1 of 1 images have no shapes, first a.png: they are read as showing none" in line for line in said(spec)
    )


def test_one_file_of_another_name_is_taken_and_of_several_one_is_chosen(tmp_path):
    spec = cvat(tmp_path, POLYGON)
    (tmp_path / "annotations.xml").rename(tmp_path / "mine.xml")
    assert len(load_dataset(spec).train) == 1
    trees.write(tmp_path / "other.xml", xml(image(POLYGON, POLYGON)))
    with pytest.raises(PromptsegError, match=r"has mine.xml, other.xml; name one: \?annotations=mine.xml"):
        load_dataset(spec)
    assert len(load_dataset(f"{spec}?annotations=other.xml").train[0].objects().segments) == 2


LAUGHS = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
BOMB = f'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY l0 "ha">{LAUGHS}]><annotations>&l9;</annotations>'
OUTSIDE = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotations>&x;</annotations>'


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("<annotations>", "not valid XML (no element found: line 1, column 13)"),
        (BOMB, "not valid XML ("),
        (OUTSIDE, "not valid XML (undefined entity"),
        ('<?xml version="1.0" encoding="nonsense"?><a/>', "annotations.xml: "),
        (xml(), "lists no image"),
        (xml(image(POLYGON), labels=()), "names 0 labels, where 1..254 were expected"),
        (xml("<track/>", image(POLYGON)), "holds tracks of a video; export it again as CVAT for images 1.1"),
        (xml(image(POLYGON), labels=(*LABELS, ("Car", "", "any"))), "are one name to a text encoder"),
        (xml(image(POLYGON, size=(0, 12))), "says that a.png is 12x0 pixels"),
        (xml(image(POLYGON, size=("1e9", 12))), "image 0 has the sides ['1e9', '12']"),
        (xml(image(POLYGON, size=(9, 12))), "12x9 pixels, but the photo a.png is 12x10 pixels"),
        (xml(image(POLYGON, name="b.png")), "b.png: no such file"),
        (xml(image(POLYGON, name="")), "names the photo ''"),
        (xml(image(POLYGON), image(POLYGON, number=1)), "image 1: is about"),
        (xml(image(POLYGON.replace("car", "bus"))), "shape 0 of image 0 has the label 'bus', which is no class"),
        (
            xml(image('<polyline label="way" points="1,1;2,2"/>')),
            "shape 0 of image 0 is a polyline, where polygon, box",
        ),
        (xml(image('<skeleton label="car"><points label="x"/></skeleton>')), "is a skeleton, where"),
        (xml(image('<polygon label="car" points="1,1;2"/>')), "has the points '1,1;2', where x,y;x,y were expected"),
        (xml(image('<polygon label="car" points="1,1;2,2"/>')), "has neither polygons nor run lengths"),
        (xml(image('<polygon label="car" points="1,1;2,2;1e20,4"/>')), "has neither polygons nor run lengths"),
        (xml(image('<polygon label="car"/>')), "has the points ''"),
        (xml(image('<box label="car" xtl="1" ytl="nan" xbr="2" ybr="3"/>')), "has the ytl 'nan', where a number"),
        (xml(image('<box label="car" xtl="1" xbr="2" ybr="3"/>')), "has the ytl None, where a number"),
        (xml(image('<ellipse label="car" cx="1" cy="1" rx="0" ry="3"/>')), "has the radii 0 and 3"),
        (
            xml(image('<mask label="car" rle="1, 2" left="0" top="0" width="2" height="2"/>')),
            "has run lengths of 3 pixels, where 4 were expected",
        ),
        (
            xml(image('<mask label="car" rle="1, x, 3" left="0" top="0" width="2" height="2"/>')),
            "has run lengths of 4 pixels, where 4 were expected",
        ),
        (
            xml(image('<mask label="car" rle="4" left="11" top="0" width="2" height="2"/>')),
            "has the window 2x2 at 11,0 on a photo of 12x10 pixels",
        ),
        (xml(image('<mask label="car" rle="4" left="0.5" top="0" width="2" height="2"/>')), "has the left '0.5'"),
    ],
)
def test_faults_are_told_in_one_line(tmp_path, content, line):
    spec = cvat(tmp_path, POLYGON)
    trees.write(tmp_path / "annotations.xml", content)
    lines = said(spec)
    assert any(line in one for one in lines), lines


def test_a_folder_without_a_file_says_what_to_export(tmp_path):
    assert said(f"cvat:{tmp_path}") == [
        f"{tmp_path / 'annotations.xml'}: no such file; export CVAT for images 1.1 there, with the photos in images/"
    ]
