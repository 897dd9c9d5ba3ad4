"""Tiny data sets in their native layouts: a few pixels, the file names and encodings of the originals."""

import json

import numpy as np
from PIL import Image

SHAPE = (4, 6)


def paint(path, array):
    """Write an array as a picture; the suffix and the array's type name the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(array)).save(path)
    return path


def photo(path, seed=0, shape=SHAPE):
    """A photo of noise."""
    return paint(path, np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8))


def palette_png(path, ids):
    """Ids as a palette PNG whose colours say nothing."""
    picture = Image.fromarray(np.uint8(ids))
    picture.putpalette(np.random.default_rng(0).integers(0, 256, 768, dtype=np.uint8).tobytes())
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


def coco_png(path, ids):
    """Segment ids as R + 256 G + 65536 B."""
    ids = np.asarray(ids)
    paint(path, np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8))


def write(path, content):
    """Text, or anything else as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def rows(*values):
    """A map whose rows hold one value each."""
    return np.repeat(np.array(values)[:, None], SHAPE[1], axis=1)


def cityscapes(root, names=("train/aachen/aachen_000000_000019", "val/ulm/ulm_000001_000019")):
    """Rows: void, road, a group of cars, two persons side by side."""
    instances = rows(0, 7, 26, 24000)
    instances[3, 3:] = 24001
    for seed, name in enumerate(names):
        photo(root / "leftImg8bit" / f"{name}_leftImg8bit.png", seed)
        paint(root / "gtFine" / f"{name}_gtFine_instanceIds.png", instances.astype(np.uint16))
        paint(root / "gtFine" / f"{name}_gtFine_labelIds.png", rows(0, 7, 26, 24).astype(np.uint8))
    return root


def bdd100k(root):
    """Rows: void, road (7), a crowd of cars (35), two persons (31) of the numbers 300 and 301."""
    pixels = np.zeros((*SHAPE, 4), np.uint8)
    pixels[1], pixels[2] = (7, 0, 0, 7), (35, 2, 0, 35)
    pixels[3, :3], pixels[3, 3:] = (31, 0, 1, 44), (31, 12, 1, 45)  # truncated and occluded is no crowd
    for seed, name in enumerate(("train/0004a4c0-d4dff0ad", "val/b1c66a42-6f7d68ca")):
        photo(root / "images/10k" / f"{name}.jpg", seed)
        paint(root / "labels/sem_seg/masks" / f"{name}.png", rows(255, 0, 13, 11).astype(np.uint8))
        paint(root / "labels/pan_seg/bitmasks" / f"{name}.png", pixels)
    return root


def mapillary(root, version="v1.2", ids=(65, 13, 7, 19)):
    """Rows of raw ids; the last row holds two objects, numbers 0 and 3."""
    instances = rows(*(256 * i for i in ids))
    instances[3, 3:] += 3
    for seed, split in enumerate(("training", "validation")):
        key = f"{split[0]}-0123456789_abcdefXYZ"
        photo(root / split / "images" / f"{key}.jpg", seed)
        palette_png(root / split / version / "labels" / f"{key}.png", rows(*ids))
        paint(root / split / version / "instances" / f"{key}.png", instances.astype(np.uint16))
    return root


def ade20k(root):
    """Rows: other, wall (1), bed (8, thing 1) as two objects, person (13, thing 4) without an object."""
    numbered = np.zeros((*SHAPE, 3), np.uint8)
    numbered[2, :3], numbered[2, 3:] = (1, 1, 0), (1, 2, 0)
    for seed, name in enumerate(("training/ADE_train_00000001", "validation/ADE_val_00000001")):
        photo(root / "images" / f"{name}.jpg", seed)
        paint(root / "annotations" / f"{name}.png", rows(0, 1, 8, 13).astype(np.uint8))
        paint(root / "annotations_instance" / f"{name}.png", numbered)
    return root


def pascal_context(root, ids=(0, 1, 47, 59)):
    """The layout of mmseg; ids in alphabetical order are background, aeroplane, sky, wood."""
    names = {"train": "2008_000008", "val": "2010_000682"}
    for seed, (split, name) in enumerate(names.items()):
        photo(root / "JPEGImages" / f"{name}.jpg", seed)
        palette_png(root / "SegmentationClassContext" / f"{name}.png", rows(*ids))
        write(root / f"ImageSets/SegmentationContext/{split}.txt", f"{name}\n{name}\n")
    return root


def acdc(root, conditions=("fog", "night", "rain", "snow")):
    """Rows: void, road, a crowd of cars, two persons."""
    annotations = []
    ids = rows(0, 7, 26, 24001)
    ids[3, 3:] = 24002
    kinds = {7: (7, 0), 26: (26, 1), 24001: (24, 0), 24002: (24, 0)}
    segments = [{"id": i, "category_id": c, "iscrowd": crowd} for i, (c, crowd) in kinds.items()]
    for number, condition in enumerate(conditions):
        for split in ("train", "val"):
            stem = f"GOPR0{number}{split}_frame_000041"
            name = f"{condition}/{split}/GOPR0{number}{split}/{stem}"
            photo(root / "rgb_anon" / f"{name}_rgb_anon.png", 2 * number + (split == "val"))
            paint(root / "gt" / f"{name}_gt_labelTrainIds.png", rows(255, 0, 13, 11).astype(np.uint8))
            coco_png(root / "gt_panoptic" / f"{name}_gt_panoptic.png", ids)
            annotations.append({"image_id": stem, "file_name": f"{stem}_gt_panoptic.png", "segments_info": segments})
    write(root / "gt_panoptic/any_name.json", {"images": [], "annotations": annotations, "categories": []})
    return root


def coco_panoptic(root):
    """Rows: void, sky (187), a crowd of persons, two cars; ids use all three bytes."""
    ids = rows(0, 5, 70000, 256)
    ids[3, 3:] = 257
    kinds = {5: (187, 0), 70000: (1, 1), 256: (3, 0), 257: (3, 0)}
    segments = [{"id": i, "category_id": c, "iscrowd": crowd} for i, (c, crowd) in kinds.items()]
    categories = [
        {"id": 187, "name": "sky-other-merged", "isthing": 0, "color": [70, 130, 180]},
        {"id": 1, "name": "person", "isthing": 1, "color": [220, 20, 60]},
        {"id": 3, "name": "car", "isthing": 1, "color": [0, 0, 142]},
    ]
    for number, split in enumerate(("train2017", "val2017")):
        name = f"{number + 9:012d}"
        photo(root / split / f"{name}.jpg", number)
        coco_png(root / f"annotations/panoptic_{split}/{name}.png", ids)
        images = [{"id": number + 9, "file_name": f"{name}.jpg"}]
        annotations = [{"image_id": number + 9, "file_name": f"{name}.png", "segments_info": segments}]
        content = {"images": images, "annotations": annotations, "categories": categories}
        write(root / f"annotations/panoptic_{split}.json", content)
    return root


COCO_OBJECTS = [
    {"id": 900100448263, "image_id": 1, "category_id": 7, "segmentation": [[0, 0, 6, 0, 6, 4, 0, 4]], "iscrowd": 0},
    {"id": 2, "image_id": 1, "category_id": 2, "segmentation": [[1, 1, 3, 1, 3, 3, 1, 3]], "iscrowd": 0},
    {"id": 3, "image_id": 2, "category_id": 2, "segmentation": {"size": [4, 6], "counts": [4, 8, 12]}, "iscrowd": 1},
]


def coco(root):
    """Two photos: a small object on one that fills the photo; and a crowd in columns 1 and 2."""
    images = []
    for number, name in enumerate(("train/a", "val/b"), 1):
        photo(root / "images" / f"{name}.png", number)
        images.append({"id": number, "file_name": f"{name}.png", "height": 4, "width": 6})
    categories = [{"id": 7, "name": "road"}, {"id": 2, "name": "car"}]
    write(root / "annotations.json", {"images": images, "annotations": COCO_OBJECTS, "categories": categories})
    return root


def labelme(root):
    """A road with a car of two parts over it, and a void rectangle."""
    shapes = [
        {"label": "road", "points": [[0, 0], [6, 0], [6, 4], [0, 4]], "shape_type": "polygon", "group_id": None},
        {"label": "car", "points": [[0, 0], [2, 0], [2, 1], [0, 1]], "shape_type": "polygon", "group_id": 1},
        {"label": "car", "points": [[4, 0], [6, 1]], "shape_type": "rectangle", "group_id": 1},
        {"label": "__ignore__", "points": [[0, 3], [2, 4]], "shape_type": "rectangle"},
    ]
    photo(root / "day/1.jpg")
    write(root / "day/1.json", {"shapes": shapes, "imagePath": "1.jpg", "imageHeight": 4, "imageWidth": 6})
    return root
