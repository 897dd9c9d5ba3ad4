"""Whatever objects data have, the forms of other tools give back the same ones, and the same pixels."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_objects import IGNORE, NAMES
from drawn_trees import coco_trees, folder, samples_of, write_coco
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from scipy import ndimage

from promptseg import load_dataset
from promptseg.data.sample import Sample
from promptseg.export.labels import export_labels
from promptseg.export.parts import part_of

QUICK, MANY = 25, 400
"""Examples for each form in the quick and in the slow suite."""


def objects_of(sample: Sample) -> Counter[tuple[str, bytes]]:
    """The things of a sample with their whole masks."""
    found, names = sample.objects(), sample.label_space.names
    return Counter(
        (names[s.class_id], found.mask(i).tobytes()) for i, s in enumerate(found.segments) if is_thing(s, names)
    )


MASKS = arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))).filter(np.any)


def rasterised(polygons: list[list[float]], size: tuple[int, int]) -> np.ndarray:
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygons, *size))).astype(bool)


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(MASKS)
def test_one_line_around_all_parts_and_holes_is_the_same_mask_to_pycocotools(mask: np.ndarray) -> None:
    part = part_of(0, mask, False)
    assert part is not None and part.area == mask.sum()
    assert (rasterised([part.polygon().ravel().tolist()], mask.shape) == mask).all()
    assert part.has_holes == (ndimage.label(~np.pad(mask, 1), np.ones((3, 3)))[1] > 1)
    if not part.has_holes:
        assert (rasterised([ring.ravel().tolist() for ring in part.rings()], mask.shape) == mask).all()


def is_thing(segment: Any, names: tuple[str, ...]) -> bool:
    return names[segment.class_id] in NAMES and not segment.is_crowd


def by_name(sample: Sample) -> np.ndarray:
    names = np.array([*sample.label_space.names, ""], object)
    labels = sample.semantic().astype(int)
    return names[np.where(labels == IGNORE, len(names) - 1, labels)]


def check(form: str, drawn: Any) -> None:
    if form != "coco":
        for thing in (t for picture in drawn[0] for t in picture.things):
            thing.crowd = False  # said to become objects, or void
    with folder() as root:
        given_ = samples_of(load_dataset(write_coco(root / "in", drawn)))
        export_labels(list(given_.values()), form, root / "out")
        read = samples_of(load_dataset(f"{form}:{root / 'out'}?train=all"))
        assert read.keys() == given_.keys()
        for id_, sample in given_.items():
            assert (by_name(sample) == by_name(read[id_])).all()
            if form != "voc":
                assert objects_of(sample) == objects_of(read[id_])
        if form == "coco":
            check_with_pycocotools(root / "out", given_)


def check_with_pycocotools(out: Path, given_: dict[str, Sample]) -> None:
    coco = COCO(str(out / "annotations.json"))
    names = {category["id"]: category["name"] for category in coco.loadCats(coco.getCatIds())}
    for image in coco.loadImgs(coco.getImgIds()):
        entries = [a for a in coco.loadAnns(coco.getAnnIds(image["id"])) if not a["iscrowd"]]
        masks = ((names[a["category_id"]], coco.annToMask(a).astype(bool)) for a in entries)
        found = Counter((name, mask.tobytes()) for name, mask in masks if name in NAMES)
        assert found == objects_of(given_[str(Path(image["file_name"]).with_suffix(""))])


@pytest.mark.parametrize("form", ["coco", "yolo", "labelme", "voc"])
@pytest.mark.parametrize("number", [QUICK, pytest.param(MANY, marks=pytest.mark.slow)])
def test_any_objects_are_given_back(form: str, number: int) -> None:
    health = (HealthCheck.too_slow, HealthCheck.data_too_large)
    run = settings(max_examples=number, deadline=None, derandomize=True, database=None, suppress_health_check=health)
    run(given(coco_trees())(lambda drawn: check(form, drawn)))()
