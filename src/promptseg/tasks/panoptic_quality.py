"""Panoptic quality, as the official script of COCO counts it: crowds and void are no errors."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptseg.data.sample import PanopticLabels, Segment
from promptseg.label_space import LabelSpace
from promptseg.tasks.base import Scores, mean
from promptseg.tasks.segments import segment_numbers


class PanopticQuality:
    """PQ = SQ x RQ for each class and their means, over all classes, things and stuff.

    A predicted and a labelled segment of one class match if their IoU, without the void pixels of the
    prediction, is over 0.5. Crowds are neither matched nor missed, and a prediction of which more than half
    lies on void and on crowds of its class is no error. Classes that occur nowhere are left out.
    """

    def __init__(self, label_space: LabelSpace) -> None:
        self._space = label_space
        classes = len(label_space)
        self._iou = np.zeros(classes)
        self._hits, self._errors, self._misses = (np.zeros(classes, np.int64) for _ in range(3))

    def count(self, truth: PanopticLabels, answer: PanopticLabels) -> None:
        """Add an image: labels and prediction of one size."""
        common = _common_pixels(truth, answer)
        true_sizes, found_sizes, void = common[1:].sum(1), common[:, 1:].sum(0), common[0, 1:]
        common = common[1:, 1:]
        true_classes, found_classes = _classes(truth.segments), _classes(answer.segments)
        crowd = np.array([segment.is_crowd for segment in truth.segments], bool)
        same = true_classes[:, None] == found_classes
        union = true_sizes[:, None] + found_sizes - common - void
        iou = np.where(same & ~crowd[:, None], common / np.maximum(union, 1), 0.0)
        rows, columns = (iou > 0.5).nonzero()
        np.add.at(self._iou, true_classes[rows], iou[rows, columns])
        ignored = void + (common * (same & crowd[:, None])).sum(0)
        missed = ~crowd & (true_sizes > 0)
        wrong = (found_sizes > 0) & (2 * ignored <= found_sizes)
        missed[rows] = wrong[columns] = False
        np.add.at(self._hits, true_classes[rows], 1)
        np.add.at(self._misses, true_classes[missed], 1)
        np.add.at(self._errors, found_classes[wrong], 1)

    def compute(self) -> Scores:
        """`pq`, `sq` and `rq`, the same with `_things` and `_stuff`, and the PQ of every class."""
        seen = self._hits + self._errors + self._misses > 0
        segmentation = self._iou / np.maximum(self._hits, 1)
        recognition = self._hits / np.maximum(self._hits + (self._errors + self._misses) / 2, 0.5)
        parts = {"pq": segmentation * recognition, "sq": segmentation, "rq": recognition}
        things = np.isin(np.arange(len(seen)), self._space.thing_ids)
        groups = {"": seen, "_things": seen & things, "_stuff": seen & ~things}
        values = {
            name + end: mean(part[group].tolist()) for end, group in groups.items() for name, part in parts.items()
        }
        per_class = [float(pq) if known else None for pq, known in zip(parts["pq"], seen, strict=True)]
        return Scores(values, dict(zip(self._space.names, per_class, strict=True)))


def _classes(segments: Sequence[Segment]) -> NDArray[np.intp]:
    return np.array([segment.class_id for segment in segments], np.intp)


def _common_pixels(truth: PanopticLabels, answer: PanopticLabels) -> NDArray[np.int64]:
    """(T + 1, P + 1) pixels that labelled and predicted segments share; row and column 0 are void."""
    shape = (len(truth.segments) + 1, len(answer.segments) + 1)
    pairs: NDArray[Any] = segment_numbers(truth, truth.segments) * shape[1] + segment_numbers(answer, answer.segments)
    return np.bincount(pairs.ravel(), minlength=shape[0] * shape[1]).reshape(shape)
