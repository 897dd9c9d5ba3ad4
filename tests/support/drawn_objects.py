"""Random objects on small photos whose masks are known as arrays, and what a reader must give of them."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from promptseg.data.sample import Sample

IGNORE = 255


@dataclass
class Thing:
    """One object: the pixels top:bottom, left:right."""

    class_id: int
    box: tuple[int, int, int, int]
    crowd: bool = False
    form: str = "polygon"
    spelling: int = 0

    def mask(self, size: tuple[int, int]) -> np.ndarray:
        top, bottom, left, right = self.box
        mask = np.zeros(size, bool)
        mask[top:bottom, left:right] = True
        return mask


@dataclass
class Picture:
    """A photo's path below the folder of photos, its size, and its objects."""

    name: str
    size: tuple[int, int]
    things: list[Thing] = field(default_factory=list)


NAMES = ("car", "Straße", "traffic light", "café", "木", "road 2")
PHOTOS = ("a", "b c", "day/1", "night/1", "é", "Über/x.y", "train/3", "val/4", "train/day/5")


@st.composite
def things(draw: Any, size: tuple[int, int], classes: int) -> Thing:
    top, left = draw(st.integers(0, size[0] - 1)), draw(st.integers(0, size[1] - 1))
    bottom, right = draw(st.integers(top + 1, size[0])), draw(st.integers(left + 1, size[1]))
    form = draw(st.sampled_from(("polygon", "two polygons", "list", "text")))
    crowd = draw(st.booleans()) and form in ("list", "text")
    return Thing(draw(st.integers(0, classes - 1)), (top, bottom, left, right), crowd, form, draw(st.integers(0, 2)))


@st.composite
def pictures(draw: Any, classes: int, most: int = 4) -> list[Picture]:
    found = []
    for name in draw(st.lists(st.sampled_from(PHOTOS), min_size=1, max_size=4, unique=True)):
        size = (draw(st.integers(1, 9)), draw(st.integers(1, 9)))
        found.append(Picture(name, size, draw(st.lists(things(size, classes), max_size=most))))
    return found


def write_photo(path: Path, size: tuple[int, int], seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


# What must be read


def painted(picture: Picture, void: int = -1) -> np.ndarray:
    """(H, W) places of the objects on top, from 1: crowds lowest, smaller over larger, later over earlier."""
    order = sorted(
        range(len(picture.things)),
        key=lambda i: (not picture.things[i].crowd, -int(picture.things[i].mask(picture.size).sum())),
    )
    map_ = np.zeros(picture.size, np.int64)
    for i in order:
        map_[picture.things[i].mask(picture.size)] = i + 1 if picture.things[i].class_id != void else 0
    return map_


def check_sample(sample: Sample, picture: Picture, background: int | None, void: int = -1) -> None:
    kept = [t for t in picture.things if t.class_id != void]
    objects = sample.objects()
    assert [(s.class_id, s.is_crowd) for s in objects.segments] == [(t.class_id, t.crowd) for t in kept]
    for index, thing in enumerate(kept):
        assert np.array_equal(objects.mask(index), thing.mask(picture.size))
    map_, panoptic = painted(picture, void), sample.panoptic()
    classes = np.full(picture.size, IGNORE if background is None else background, np.int64)
    for i, thing in enumerate(picture.things, 1):
        classes[map_ == i] = thing.class_id
    if void >= 0 and background is not None:
        classes[voided(picture, void)] = IGNORE
    assert np.array_equal(sample.semantic(), classes)
    by_id = {s.id: s for s in panoptic.segments}
    assert set(by_id) == set(np.unique(panoptic.map).tolist()) - {0}
    for i, thing in enumerate(picture.things, 1):
        own = map_ == i
        if own.any():
            (id_,) = set(panoptic.map[own].tolist())
            assert np.array_equal(panoptic.map == id_, own)
            assert (by_id[id_].class_id, by_id[id_].is_crowd) == (thing.class_id, thing.crowd)


def voided(picture: Picture, void: int) -> np.ndarray:
    """Pixels whose topmost object is void."""
    map_ = painted(picture)
    numbers = [i for i, t in enumerate(picture.things, 1) if t.class_id == void]
    return np.isin(map_, numbers)
