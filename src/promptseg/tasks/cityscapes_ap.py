"""Average precision by the rules of the Cityscapes benchmark (its instance-level evaluation).

They differ from COCO's in three ways: an IoU must exceed the threshold; a detection that lies mostly on
void, crowds (group regions) or objects too small to count is dropped; and the curve of precision over
recall is integrated as it is, over the distinct scores, without interpolation.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from promptseg.data.sample import PanopticLabels
from promptseg.label_space import LabelSpace
from promptseg.tasks.base import Scores
from promptseg.tasks.coco_ap import ap_scores
from promptseg.tasks.instances import Instances
from promptseg.tasks.run_lengths import window
from promptseg.tasks.segments import segment_numbers

OVERLAPS = np.arange(0.5, 1.0, 0.05)
SMALLEST = 100
"""Objects of fewer pixels are neither found nor missed."""


@dataclass(frozen=True)
class _Overlap:
    """The D detections and T labelled segments of one class in one image.

    Attributes:
        scores: (D,).
        ious: (D, T).
        counted: (T,) bool: objects large enough, and no crowds.
        ignored: (D,) share of each detection on void and on segments that are not counted.
    """

    scores: NDArray[np.float64]
    ious: NDArray[np.float64]
    counted: NDArray[np.bool_]
    ignored: NDArray[np.float64]


class CityscapesAP:
    """AP (mean over IoU 0.50 to 0.95) and AP50 over the thing classes; a class without objects is left out."""

    def __init__(self, label_space: LabelSpace, smallest: int = SMALLEST) -> None:
        """Leave out objects of fewer than `smallest` pixels."""
        self._names, self._things = label_space.names, label_space.thing_ids
        self._smallest = smallest
        self._images: dict[int, list[_Overlap]] = {class_id: [] for class_id in self._things}

    def count(self, truth: PanopticLabels, answer: Instances) -> None:
        """Add an image: its labels, and detections of the same size."""
        numbers = segment_numbers(truth, truth.segments)
        sizes = np.bincount(numbers.ravel(), minlength=len(truth.segments) + 1)
        masks, classes = answer.masks.cpu().numpy(), answer.class_ids.cpu().numpy()
        common = np.array([_inside(numbers, mask, len(sizes)) for mask in masks]).reshape(len(masks), len(sizes))
        scores = answer.scores.cpu().double().numpy()
        for class_id in self._things:
            rows = (classes == class_id) & (common.sum(1) > 0)
            columns = np.array([i for i, s in enumerate(truth.segments, 1) if s.class_id == class_id], np.intp)
            crowd = np.array([truth.segments[i - 1].is_crowd for i in columns], bool)
            small = sizes[columns] < self._smallest
            self._images[class_id].append(_overlap(scores[rows], common[rows], sizes, columns, crowd, small))

    def compute(self) -> Scores:
        """`ap50`, `ap`, and the AP50 of every thing class."""
        found = [[_average_precision(self._images[i], overlap) for i in self._things] for overlap in OVERLAPS]
        return ap_scores([self._names[i] for i in self._things], np.array(found))


def _overlap(
    scores: NDArray[np.float64],
    common: NDArray[np.int64],
    sizes: NDArray[np.int64],
    columns: NDArray[np.intp],
    crowd: NDArray[np.bool_],
    small: NDArray[np.bool_],
) -> _Overlap:
    """One class of one image.

    Args:
        scores: (D,) of its detections.
        common: (D, S) pixels that these share with all segments, void first.
        sizes: (S,) pixels of all segments.
        columns: (T,) the segments of the class.
        crowd: (T,) which of them are crowds.
        small: (T,) which of them are too small to count.
    """
    areas, shared = common.sum(1), common[:, columns]
    ious = shared / (areas[:, None] + sizes[columns] - shared)
    # A small crowd adds to it twice, as in the official script.
    ignored = (common[:, 0] + shared @ (crowd.astype(int) + small)) / areas
    return _Overlap(scores, ious, ~crowd & ~small, ignored)


def _inside(numbers: NDArray[np.intp], mask: NDArray[np.bool_], count: int) -> NDArray[np.int64]:
    """How many pixels of a mask have each number."""
    part = window(mask)
    return np.bincount(numbers[part][mask[part]], minlength=count)


def _average_precision(images: list[_Overlap], overlap: float) -> float:
    """AP of one class at one overlap; -1 without objects."""
    hits: list[float] = []
    errors: list[float] = []
    missed = 0
    for image in images:
        matched = image.ious > overlap
        for column in matched[:, image.counted].T:
            best_first = sorted(image.scores[column].tolist(), reverse=True)
            hits += best_first[:1]
            errors += best_first[1:]
            missed += not best_first
        alone = ~matched.any(1) & (image.ignored <= overlap)
        errors += image.scores[alone].tolist()
    if not any(image.counted.any() for image in images):
        return -1.0
    return _area(np.array(hits), np.array(errors), missed) if hits else 0.0


def _area(hits: NDArray[np.float64], errors: NDArray[np.float64], missed: int) -> float:
    """Area under precision over recall at the distinct scores, from recall 0 at precision 1."""
    thresholds = np.unique(np.concatenate([hits, errors]))
    found = (hits >= thresholds[:, None]).sum(1)
    wrong = (errors >= thresholds[:, None]).sum(1)
    recall = np.append(found / (len(hits) + missed), 0.0)
    precision = np.append(found / np.maximum(found + wrong, 1), 1.0)
    around = np.concatenate([recall[:1], recall, [0.0]])
    return float(precision @ ((around[:-2] - around[2:]) / 2))
