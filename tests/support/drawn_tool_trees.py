"""Random trees in the forms of Pascal VOC and CVAT, and folders of colours or of a mask for each class."""

from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
from drawn_objects import IGNORE, NAMES, Picture, painted, pictures, write_json, write_photo
from drawn_trees import Drawn, check_objects, class_map, folder, in_splits, samples_of
from hypothesis import strategies as st
from PIL import Image

from promptseg import load_dataset

COLORS = ((128, 64, 128), (0, 0, 142), (250, 170, 30), (70, 70, 70), (0, 0, 1), (255, 255, 255))
VOID = (224, 224, 192)


def save(path: Path, array: np.ndarray, palette: np.ndarray | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(array)
    if palette is not None:
        picture.putpalette(palette.astype(np.uint8).tobytes())
    picture.save(path)


def without_crowds(draw: Any) -> tuple[list[Picture], int]:
    """Pictures, none of whose objects is a crowd, which these forms have no word for; and the number of classes."""
    classes = draw(st.integers(1, len(NAMES)))
    found = draw(pictures(classes))
    for thing in (t for picture in found for t in picture.things):
        thing.crowd = False
    return found, classes


# Pascal VOC


@st.composite
def voc_trees(draw: Any) -> Drawn:
    found, classes = without_crowds(draw)
    options = {
        "form": draw(st.sampled_from(("palette", "grey", "colours"))),
        "objects": draw(st.booleans()),
        "table": draw(st.sampled_from(("labelmap", "json"))),
        "suffix": draw(st.sampled_from((".jpg", ".JPG", ".png"))),
        "void": draw(st.booleans()),
    }
    return found, classes, options


def voc_maps(picture: Picture, options: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Class ids, 0 the background, and numbers of objects; the first row is void if asked for."""
    numbers = painted(picture)
    ids = np.where(numbers > 0, class_map(picture) + 1, 0)
    if options["void"]:
        ids[0], numbers[0] = IGNORE, IGNORE
    return ids.astype(np.uint8), numbers.astype(np.uint8)


def write_voc(root: Path, drawn: Drawn) -> str:
    found, classes, options = drawn
    names, colors = ("background", *NAMES[:classes]), np.zeros((256, 3), np.uint8)
    colors[1 : classes + 1], colors[IGNORE] = COLORS[:classes], VOID
    numbered = np.random.default_rng(1).permutation(256)[:, None] * [1, 3, 5] % 256
    numbered[0], numbered[IGNORE] = 0, VOID
    for seed, picture in enumerate(found):
        write_photo(root / "JPEGImages" / f"{picture.name}{options['suffix']}", picture.size, seed)
        for kind, array, table in zip(("Class", "Object"), voc_maps(picture, options), (colors, numbered), strict=True):
            path = root / f"Segmentation{kind}" / f"{picture.name}.png"
            if kind == "Class" or options["objects"]:
                colours = options["form"] == "colours"
                palette = table if options["form"] == "palette" else None
                save(path, table[array].astype(np.uint8) if colours else array, palette)
    if options["table"] == "json":
        rows = [{"name": name, "color": colors[i].tolist()} for i, name in enumerate(names)]
        write_json(root / "classes.json", rows)
    else:
        lines = (f"{name}:{','.join(map(str, colors[i]))}::" for i, name in enumerate(names))
        (root / "labelmap.txt").write_text("\n".join(("# label:color_rgb:parts:actions", *lines)), encoding="utf-8")
    return f"voc:{root}"


def check_voc(drawn: Drawn) -> None:
    found, classes, options = drawn
    with folder() as root:
        data = load_dataset(write_voc(root, drawn))
        assert data.label_space.names == ("background", *NAMES[:classes])
        read = samples_of(data)
        assert set(read) == in_splits(data, found)
        for picture in (p for p in found if p.name in read):
            ids, numbers = voc_maps(picture, options)
            assert np.array_equal(read[picture.name].semantic(), ids)
            if not options["objects"]:
                continue
            labels = read[picture.name].panoptic()
            assert np.array_equal(labels.semantic(), ids)
            objects = {number for number in np.unique(numbers).tolist() if number not in (0, IGNORE)}
            assert sum(segment.class_id > 0 for segment in labels.segments) == len(objects)
            for number in objects:
                (id_,) = set(labels.map[numbers == number].tolist())
                assert np.array_equal(labels.map == id_, numbers == number)


# CVAT


@st.composite
def cvat_trees(draw: Any) -> Drawn:
    found, classes = without_crowds(draw)
    options = {
        "labels": draw(st.booleans()),
        "background": draw(st.sampled_from((None, "rest"))),
        "images": draw(st.sampled_from(("images/", ""))),
        "around": draw(st.sampled_from(("task", "project", "job"))),
    }
    return found, classes, options


def shape(thing: Any, number: int, size: tuple[int, int]) -> str:
    """An object as a polygon, a box, a mask whose window is larger than it, or two boxes of one group."""
    top, bottom, left, right = thing.box
    label = f'label={quoteattr(NAMES[thing.class_id])} source="manual" occluded="0" z_order="0"'
    if thing.form == "polygon":
        points = f"{left}.00,{top}.00;{right}.00,{top}.00;{right}.00,{bottom}.00;{left}.00,{bottom}.00"
        return f'<polygon {label} points="{points}"><attribute name="a">b</attribute></polygon>'
    box = f'<box {label} xtl="{left}" ytl="{top}" xbr="{right}" ybr="{bottom}"'
    if thing.form == "list":
        return f"{box}/>"
    if thing.form == "two polygons":
        return f'{box} group_id="{number + 1}"/>' * 2
    pixels = thing.mask(size).ravel().astype(int)
    bounds = [0, *(np.flatnonzero(np.diff(pixels)) + 1).tolist(), pixels.size]
    runs = [0] * int(pixels[0]) + np.diff(bounds).tolist()
    window = f'left="0" top="0" width="{size[1]}" height="{size[0]}"'
    return f'<mask {label} rle="{", ".join(map(str, runs))}" {window}/>'


def write_cvat(root: Path, drawn: Drawn) -> str:
    found, classes, options = drawn
    labels = "".join(f"<label><name>{name}</name><type>any</type></label>" for name in NAMES[:classes])
    images = ""
    for seed, picture in enumerate(found):
        write_photo(root / "images" / f"{picture.name}.png", picture.size, seed)
        shapes = "".join(shape(thing, i, picture.size) for i, thing in enumerate(picture.things))
        name = quoteattr(f"{options['images']}{picture.name}.png")
        size = f'width="{picture.size[1]}" height="{picture.size[0]}"'
        images += f'<image id="{seed}" name={name} {size}>{shapes}</image>\n'
    if options["labels"]:
        around = options["around"]
        meta = f"<meta><{around}><labels>{labels}</labels></{around}></meta>"
    else:
        meta = "<meta/>"
        write_json(root / "classes.json", [{"name": name, "kind": "thing"} for name in NAMES[:classes]])
    content = f'<?xml version="1.0" encoding="utf-8"?>\n<annotations>{meta}{images}</annotations>'
    (root / "annotations.xml").write_text(content, encoding="utf-8")
    return f"cvat:{root}" + (f"?background={options['background']}" if options["background"] else "")


def check_cvat(drawn: Drawn) -> None:
    check_objects(write_cvat, drawn)


# Folders of colours, and of masks


@st.composite
def mask_trees(draw: Any) -> Drawn:
    classes = draw(st.integers(2, len(NAMES)))
    options = {
        "form": draw(st.sampled_from(("colours", "masks"))),
        "place": draw(st.sampled_from(("labels", "masks", "images"))),
        "pattern": draw(st.sampled_from(("{photo}_{name}", "{photo}-{name}", "{name}/{photo}", "{photo}/{name}"))),
        "table": draw(st.booleans()),
        "on": draw(st.sampled_from((1, 255))),
        "background": draw(st.booleans()),
    }
    return draw(pictures(classes)), classes, options


def write_masks(root: Path, drawn: Drawn) -> str:
    found, classes, options = drawn
    colours = options["form"] == "colours"
    for seed, picture in enumerate(found):
        write_photo(root / "images" / f"{picture.name}.jpg", picture.size, seed)
        ids = class_map(picture)
        if colours:
            table = np.zeros((256, 3), np.uint8)
            table[:classes] = COLORS[:classes]
            ending = "_mask" if options["place"] == "images" else ""
            save(root / options["place"] / f"{picture.name}{ending}.png", table[ids])
            continue
        for number in range(classes):
            name = options["pattern"].format(photo=picture.name, name=NAMES[number].replace(" ", "_"))
            save(root / options["place"] / f"{name}.png", np.where(ids == number, options["on"], 0).astype(np.uint8))
    if colours and options["table"]:
        lines = (f"{name},{','.join(map(str, COLORS[i]))}" for i, name in enumerate(NAMES[:classes]))
        (root / "class_dict.csv").write_text("\n".join(("name,r,g,b", *lines)), encoding="utf-8")
    else:
        write_json(root / "classes.json", [{"name": NAMES[i], "color": COLORS[i]} for i in range(classes)])
    return f"folder:{root}" + ("?background=rest" if options["background"] else "")


def check_masks(drawn: Drawn) -> None:
    found, classes, options = drawn
    with folder() as root:
        data = load_dataset(write_masks(root, drawn))
        read = samples_of(data)
        assert set(read) == in_splits(data, found)
        for picture in (p for p in found if p.name in read):
            expected = class_map(picture)
            if options["background"]:
                expected = np.where(expected == IGNORE, classes, expected)
            assert np.array_equal(read[picture.name].semantic(), expected)
