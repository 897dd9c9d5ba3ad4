"""Labels and answers of random rectangles, with void, crowds, misses and inventions, for tests of metrics."""

import numpy as np
import torch

from promptseg.data.sample import PanopticLabels, Segment
from promptseg.label_space import ClassInfo, LabelSpace
from promptseg.tasks.instances import Instances

SPACE = LabelSpace(
    "drawn",
    tuple(
        ClassInfo(name, (20 * i, 0, 0), i > 1) for i, name in enumerate(("road", "sky", "car", "person", "bus", "cat"))
    ),
)
"""Two kinds of stuff and four of things; no truth ever shows a cat."""
SIZE = (60, 90)


def random_truth(rng: np.random.Generator) -> PanopticLabels:
    """Road and sky, 2 to 9 things of which some are crowds (one of a class at most), and holes of void."""
    map_ = np.full(SIZE, 7, np.int32)
    map_[: rng.integers(10, 30)] = 2**20 + 5
    kinds = {7: (0, False), 2**20 + 5: (1, False)}
    for number in range(rng.integers(2, 10)):
        class_id = int(rng.integers(2, 5))
        crowd = rng.random() < 0.3 and (class_id, True) not in kinds.values()
        kinds[100 + 3 * number] = (class_id, crowd)
        map_[rectangle(rng)] = 100 + 3 * number
    for _ in range(3):
        map_[rectangle(rng)] = 0
    return labels_of(map_, kinds)


def labels_of(map_: np.ndarray, kinds: dict[int, tuple[int, bool]]) -> PanopticLabels:
    """Labels of the segments that the map shows."""
    shown = [i for i in np.unique(map_).tolist() if i]
    return PanopticLabels(map_.astype(np.int32), tuple(Segment(i, *kinds[i]) for i in shown))


def rectangle(rng: np.random.Generator) -> tuple[slice, slice]:
    top, left, height, width = (int(rng.integers(a, b)) for a, b in ((0, 50), (0, 75), (3, 25), (3, 35)))
    return np.s_[top : top + height, left : left + width]


def random_segments(rng: np.random.Generator, truth: PanopticLabels) -> PanopticLabels:
    """The truth moved a little, some of it with another class or not found, and rectangles that are not there."""
    moved = np.roll(truth.map, rng.integers(-3, 4, 2), (0, 1))
    map_, kinds = np.zeros(SIZE, np.int32), {}
    for number, segment in enumerate(truth.segments, 1):
        if rng.random() < 0.85:
            class_id = segment.class_id if rng.random() < 0.8 else int(rng.integers(0, 6))
            kinds[number] = (class_id, False)
            map_[moved == segment.id] = number
    for number in range(50, 50 + rng.integers(0, 4)):
        kinds[number] = (int(rng.integers(0, 6)), False)
        map_[rectangle(rng)] = number
    return labels_of(map_, kinds)


def random_instances(rng: np.random.Generator, truth: PanopticLabels) -> Instances:
    """Things of the truth moved a little, some several times or of another class, and inventions; some scores equal."""
    found: list[tuple[int, float, np.ndarray]] = []
    for segment in truth.segments:
        for _ in range(rng.integers(0, 3)):
            class_id = segment.class_id if rng.random() < 0.8 else int(rng.integers(2, 6))
            mask = np.roll(truth.map == segment.id, rng.integers(-3, 4, 2), (0, 1))
            if class_id > 1:
                found.append((class_id, round(float(rng.random()), 1), mask))
    for _ in range(rng.integers(0, 5)):
        mask = np.zeros(SIZE, bool)
        mask[rectangle(rng)] = True
        found.append((int(rng.integers(2, 6)), round(float(rng.random()), 1), mask))
    return instances(found)


def instances(found: list[tuple[int, float, np.ndarray]]) -> Instances:
    """Detections of (class, score, mask), best first."""
    best = sorted(found, key=lambda entry: -entry[1])
    masks = np.array([mask for _, _, mask in best]).reshape(len(best), *(best[0][2].shape if best else SIZE))
    return Instances(
        torch.tensor([c for c, _, _ in best], dtype=torch.long),
        torch.tensor([s for _, s, _ in best], dtype=torch.float64),
        masks.astype(bool),
    )
