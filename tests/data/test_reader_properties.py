"""Any tree of own data is read back exactly, in whatever form; any mutation of one is read, or refused in a line.

Trees are drawn from random objects whose masks are known as arrays, written in whatever way tools write them. What a
reader must give is worked out here, from the arrays alone.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from drawn_objects import (
    IGNORE,
)
from drawn_tool_trees import (
    check_cvat,
    check_masks,
    check_voc,
    cvat_trees,
    mask_trees,
    voc_trees,
    write_cvat,
    write_masks,
    write_voc,
)
from drawn_trees import (
    check_coco,
    check_folder,
    check_labelme,
    check_panoptic,
    coco_trees,
    folder,
    folder_trees,
    labelme_trees,
    panoptic_trees,
    samples_of,
    write_coco,
    write_folder,
    write_labelme,
    write_panoptic,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from promptseg import PromptsegError, load_dataset
from promptseg.data.check import check_dataset
from promptseg.data.sample import Sample

QUICK, MANY = 40, 600
"""Examples of each property in the quick and in the slow suite."""


def examples(number: int) -> Callable[[Any], Any]:
    health = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much)
    return settings(max_examples=number, deadline=None, derandomize=True, database=None, suppress_health_check=health)


TREES = {
    "coco": (coco_trees(), write_coco, check_coco),
    "labelme": (labelme_trees(), write_labelme, check_labelme),
    "panoptic": (panoptic_trees(), write_panoptic, check_panoptic),
    "folder": (folder_trees(), write_folder, check_folder),
    "masks": (mask_trees(), write_masks, check_masks),
    "voc": (voc_trees(), write_voc, check_voc),
    "cvat": (cvat_trees(), write_cvat, check_cvat),
}


@pytest.mark.parametrize("kind", TREES)
@pytest.mark.parametrize("number", [QUICK, pytest.param(MANY, marks=pytest.mark.slow)])
def test_any_tree_is_read_back_exactly(kind: str, number: int) -> None:
    trees, _, check = TREES[kind]
    examples(number)(given(trees)(check))()


# Mutations

JUNK = st.sampled_from([
    None, True, False, 0, -1, 1, 2, 255, 10**30, 1e308, -0.5, float("nan"), float("inf"),
    "", "0", "1", "x", "../a", "a\0b", [], {}, [[]], [1, 2], {"id": 1},
])  # fmt: skip


def places(content: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value in JSON content."""
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [before, *(place for key, value in inner for place in places(value, (*before, key)))]


def mutate_json(path: Path, draw: Any) -> None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):  # no JSON any more, after an earlier mutation
        return
    where = draw(st.sampled_from(places(content)))
    if not where:
        path.write_text(json.dumps(draw(JUNK)))
        return
    parent = content
    for key in where[:-1]:
        parent = parent[key]
    action = draw(st.sampled_from(("replace", "remove", "double")))
    if action == "replace":
        parent[where[-1]] = draw(JUNK)
    elif action == "remove":
        del parent[where[-1]]
    elif isinstance(parent, list):
        parent.append(parent[where[-1]])
    else:
        parent[f"{where[-1]}2"] = parent[where[-1]]
    path.write_text(json.dumps(content), encoding="utf-8")


def mutate_xml(path: Path, draw: Any) -> None:
    """Another value for an attribute, or an element twice or not at all."""
    try:
        tree = ElementTree.parse(path)
    except (ElementTree.ParseError, OSError, ValueError, LookupError):  # no XML any more, after an earlier mutation
        return
    parents = [parent for parent in tree.iter() if len(parent)]
    action = draw(st.sampled_from(("replace", "remove", "double")))
    if action == "replace" and (named := [element for element in tree.iter() if element.attrib]):
        element = draw(st.sampled_from(named))
        key = draw(st.sampled_from(sorted(element.attrib)))
        element.set(key, str(draw(st.sampled_from(("", "x", "-1", "0", "nan", "1e308", "9" * 30, "1,2;3", "0, 1, 2")))))
    elif parents:
        parent = draw(st.sampled_from(parents))
        child = draw(st.sampled_from(list(parent)))
        parent.remove(child) if action == "remove" else parent.append(child)
    tree.write(path, encoding="utf-8")


TEXTS = (
    "[" * 100_000,
    '{"shapes": ' * 50_000,
    "9" * 6000,
    '{"images": [' + "9" * 5000 + "]}",
    "\ufeff[]",
    "{'a': 1}",
    "nul",
)


def mutate(root: Path, draw: Any) -> None:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    path = draw(st.sampled_from(files))
    ways = ["cut", "flip", "remove", "rename", "text", "folder", "link"]
    way = draw(st.sampled_from([*ways, *([path.suffix[1:]] * 8 if path.suffix in (".json", ".xml") else ())]))
    data = path.read_bytes()
    if way == "json":
        mutate_json(path, draw)
    elif way == "xml":
        mutate_xml(path, draw)
    elif way == "cut":
        path.write_bytes(data[: draw(st.integers(0, len(data)))])
    elif way == "flip" and data:
        place = draw(st.integers(0, len(data) - 1))
        path.write_bytes(data[:place] + bytes([draw(st.integers(0, 255))]) + data[place + 1 :])
    elif way == "remove":
        path.unlink()
    elif way == "rename":
        path.rename(path.with_name(draw(st.sampled_from(("zz" + path.suffix, path.name.upper(), "._" + path.name)))))
    elif way == "text":
        path.write_text(draw(st.sampled_from(TEXTS)), encoding="utf-8")
    elif way == "folder":
        path.unlink()
        path.mkdir()
    else:
        with suppress(FileExistsError):
            (path.parent / "loop").symlink_to(root, target_is_directory=True)


def check_mutation(kind: str, drawn: Any, data: Any) -> None:
    _, write, _ = TREES[kind]
    with folder() as root:
        spec = write(root, drawn)
        for _ in range(data.draw(st.integers(1, 2))):
            mutate(root, data.draw)
        with one_line():
            report = check_dataset(spec)
            assert all("\n" not in str(defect) and len(str(defect)) < 2000 for defect in report.defects)
        with one_line():
            opened = load_dataset(spec)
            for sample in samples_of(opened).values():
                read_all(sample, len(opened.label_space))


@contextmanager
def one_line() -> Iterator[None]:
    """Let through what is right, and what is refused in one line."""
    try:
        yield
    except PromptsegError as error:
        line = str(error)
    else:
        return
    assert "\n" not in line and line.strip() and len(line) < 2000


def read_all(sample: Sample, classes: int) -> None:
    with one_line():
        size = sample.image().shape[:2]
        with one_line():
            labels = sample.semantic()
            assert labels.shape == size and set(np.unique(labels).tolist()) <= {*range(classes), IGNORE}
        with one_line():
            panoptic = sample.panoptic()
            assert panoptic.map.shape == size
            assert set(np.unique(panoptic.map).tolist()) - {0} == {s.id for s in panoptic.segments}
        with one_line():
            objects = sample.objects()
            assert objects.map.shape == size and all(0 <= s.class_id < classes for s in objects.segments)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL", "ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("kind", TREES)
@pytest.mark.parametrize("number", [2 * QUICK, pytest.param(2 * MANY, marks=pytest.mark.slow)])
def test_any_mutation_is_read_or_refused_in_one_line(kind: str, number: int) -> None:
    trees = TREES[kind][0]
    examples(number)(given(trees, st.data())(lambda drawn, data: check_mutation(kind, drawn, data)))()
