"""Files of people's own data, for tests: COCO files and label maps of one or a few small photos."""

import numpy as np
import trees
from PIL import Image

from promptseg import PromptsegError
from promptseg.data.check import check_dataset

SHAPE = (10, 12)


def box(left, top, right, bottom):
    return [[left, top, right, top, right, bottom, left, bottom]]


def annotation(number, image=1, category=1, segmentation=None, **more):
    entry = {"id": number, "image_id": image, "category_id": category, "iscrowd": 0}
    return entry | {"segmentation": segmentation or box(1, 1, 5, 5)} | more


def coco(root, images, annotations, categories=("car", "road"), name="annotations.json"):
    listed = [c if isinstance(c, dict) else {"id": i, "name": c} for i, c in enumerate(categories, 1)]
    trees.write(root / name, {"images": images, "annotations": annotations, "categories": listed})
    return f"coco:{root}"


def one_photo(root, annotations, file="a.png", **options):
    """One photo a.png, which the file calls `file`."""
    trees.photo(root / "images/a.png", shape=SHAPE)
    image = {"id": 1, "file_name": file, "height": SHAPE[0], "width": SHAPE[1]}
    return coco(root, [image], annotations, **options)


def said(spec):
    """Everything that opening and checking a data set tells."""
    try:
        lines = [str(defect) for defect in check_dataset(spec).defects]
    except PromptsegError as error:
        lines = [str(error)]
    assert not any("\n" in line for line in lines)
    return lines


def ids(data):
    return {split.name: [s.id for s in split] for split in (data.train, data.val, data.test)}


def maps(root, values, classes, save=None, **options):
    """A photo and its label map (10, 12) with columns of the given values."""
    array = np.resize(np.array(values), SHAPE)
    trees.photo(root / "images/a.png", shape=SHAPE)
    (root / "labels").mkdir(exist_ok=True)
    if save:
        save(root / "labels/a.png", array)
    else:
        Image.fromarray(array.astype(np.uint8)).save(root / "labels/a.png", **options)
    trees.write(root / "classes.json", list(classes))
    return str(root), array


def labelled(root, *names):
    for seed, name in enumerate(names):
        trees.photo(root / f"images/{name}.png", seed, SHAPE)
        trees.paint(root / f"labels/{name}.png", np.eye(*SHAPE, dtype=np.uint8))
    trees.write(root / "classes.json", ["road", "sky"])
    return str(root)
