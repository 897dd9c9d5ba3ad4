"""Average precision: by the rules of COCO, with its own code (pycocotools), and by those of Cityscapes."""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from promptseg.data.sample import ObjectLabels
from promptseg.label_space import LabelSpace
from promptseg.tasks.base import Scores, in_turn, mean, row_blocks
from promptseg.tasks.instances import Instances, Runs, encode, window
from promptseg.tasks.matched_loss import renumbered


class CocoAP:
    """AP (mean over IoU 0.50 to 0.95) and AP50 over the thing classes.

    A labelled crowd is no object: detections inside it count neither as hits nor as errors. Unlabelled
    pixels have no such effect. A class without objects is left out of the means.
    """

    def __init__(self, label_space: LabelSpace, max_detections: int = 100) -> None:
        """Count the best `max_detections` detections of every image."""
        self._names, self._things = label_space.names, label_space.thing_ids
        self._max_detections = max_detections
        self._images: list[_Counted] = []

    def count(self, truth: ObjectLabels, answer: Instances) -> None:
        """Add an image: its labels, and detections of the same size."""
        labelled = [
            _entry(segment.class_id, encode(truth.mask(index))) | {"iscrowd": int(segment.is_crowd)}
            for index, segment in enumerate(truth.segments)
            if segment.class_id in self._things
        ]
        found = [
            _entry(class_id, runs) | {"iscrowd": 0, "score": score}
            for class_id, score, runs in zip(
                answer.class_ids.tolist(), answer.scores.tolist(), answer.runs, strict=True
            )
        ]
        self._images.append({"size": list(truth.map.shape), "labelled": labelled, "found": found})

    def state(self) -> "list[_Counted]":
        """What every image has."""
        return self._images

    def merge(self, states: "Sequence[list[_Counted]]") -> None:
        """Add images."""
        self._images += in_turn(states)

    def compute(self) -> Scores:
        """`ap50`, `ap`, and the AP50 of every thing class."""
        with contextlib.redirect_stdout(io.StringIO()):
            run = COCOeval(self._index("labelled"), self._index("found"), "segm")
            run.params.maxDets = [self._max_detections]
            run.params.areaRng, run.params.areaRngLbl = [[0, 1e10]], ["all"]
            run.params.imgIds = list(range(1, len(self._images) + 1))
            run.params.catIds = list(self._things)
            run.evaluate()
            run.accumulate()
        # IoU thresholds x recalls x classes; -1 where the class has no objects
        precision = run.eval["precision"][:, :, :, 0, 0]
        return ap_scores([self._names[i] for i in self._things], precision.mean(1))

    def _index(self, kind: str) -> COCO:
        index = COCO()
        sizes = (image["size"] for image in self._images)
        images = [{"id": number, "height": size[0], "width": size[1]} for number, size in enumerate(sizes, 1)]
        owned = [(number, entry) for number, image in enumerate(self._images, 1) for entry in image[kind]]
        entries = [entry | {"id": place, "image_id": number} for place, (number, entry) in enumerate(owned, 1)]
        categories = [{"id": class_id, "name": self._names[class_id]} for class_id in self._things]
        index.dataset = {"images": images, "annotations": entries, "categories": categories}
        index.createIndex()
        return index


_Counted = dict[str, Any]
"""An image: its `size`, and the objects that are `labelled` and `found`, as COCO lists them but for their numbers."""


def _entry(class_id: int, runs: Runs) -> dict[str, Any]:
    lengths = {"size": list(runs["size"]), "counts": runs["counts"].decode("ascii")}
    return {"category_id": class_id, "segmentation": lengths, "area": int(coco_mask.area(runs))}


def ap_scores(names: Sequence[str], average_precision: NDArray[np.float64]) -> Scores:
    """Scores of APs (thresholds, classes), the first threshold 0.5; below 0 where a class has no objects."""
    known = [i for i in range(len(names)) if average_precision[0, i] >= 0]
    values = {
        "ap50": mean(average_precision[0, known].tolist()),
        "ap": mean(average_precision[:, known].flatten().tolist()),
    }
    ap50 = {name: float(average_precision[0, i]) if i in known else None for i, name in enumerate(names)}
    return Scores(values, ap50)


OVERLAPS = np.arange(0.5, 1.0, 0.05)
SMALLEST = 100
"""Objects of fewer pixels are neither found nor missed."""


@dataclass(frozen=True, eq=False)
class _Overlap:
    """The D detections and T labelled segments of one class in one image.

    Attributes:
        scores: (D,).
        ious: (D, T).
        counted: (T,) bool: objects large enough, and no crowds.
        small: (T,) bool: objects too small to count, and no crowds.
        ignored: (D,) share of each detection on void and on segments that are not counted.
    """

    scores: NDArray[np.float64]
    ious: NDArray[np.float64]
    counted: NDArray[np.bool_]
    small: NDArray[np.bool_]
    ignored: NDArray[np.float64]

    def to_json(self) -> dict[str, Any]:
        """Its arrays as lists."""
        return {name: array.tolist() for name, array in vars(self).items()}

    @staticmethod
    def of_json(content: dict[str, Any]) -> "_Overlap":
        """The other way round."""
        shape = (len(content["scores"]), len(content["counted"]))
        return _Overlap(
            np.array(content["scores"], np.float64),
            np.array(content["ious"], np.float64).reshape(shape),
            np.array(content["counted"], bool),
            np.array(content["small"], bool),
            np.array(content["ignored"], np.float64),
        )


class CityscapesAP:
    """AP (mean over IoU 0.50 to 0.95) and AP50 over the thing classes, as the benchmark of Cityscapes counts them.

    Three things differ from COCO: an IoU must exceed the threshold; a detection that lies mostly on void, crowds (group
    regions) or objects too small to count is dropped; and the curve of precision over recall is integrated as it is,
    over the distinct scores, without interpolation. A class without objects is left out.
    """

    def __init__(self, label_space: LabelSpace, smallest: int = SMALLEST) -> None:
        """Leave out objects of fewer than `smallest` pixels."""
        self._names, self._things = label_space.names, label_space.thing_ids
        self._smallest = smallest
        self._images: dict[int, list[_Overlap]] = {class_id: [] for class_id in self._things}

    def count(self, truth: ObjectLabels, answer: Instances) -> None:
        """Add an image: its labels, and detections of the same size."""
        names = [0, *sorted({region for regions in truth.regions for region in regions})]
        count = len(names) + 1  # void first, what is of no segment last
        regions = renumbered(truth.map, {name: i for i, name in enumerate(names)}, count - 1)
        members = np.array([[*np.isin(names, own), False] for own in truth.regions]).reshape(-1, count)
        classes = answer.class_ids.cpu().numpy()
        found_in = [_inside(regions, answer.mask(index), count) for index in range(len(answer))]
        inside = np.array(found_in, np.int64).reshape(len(answer), count)
        sizes = members @ np.bincount(regions.ravel(), minlength=count)
        found = _Found(answer.scores.cpu().double().numpy(), inside.sum(1), inside[:, 0], inside @ members.T)
        for class_id in self._things:
            rows = (classes == class_id) & (found.areas > 0)
            columns = np.array([i for i, s in enumerate(truth.segments) if s.class_id == class_id], np.intp)
            crowd = np.array([truth.segments[i].is_crowd for i in columns], bool)
            self._images[class_id].append(_overlap(found, rows, columns, sizes[columns], crowd, self._smallest))

    def state(self) -> list[list[dict[str, Any]]]:
        """What every image has, for each class of things."""
        return [[overlap.to_json() for overlap in self._images[i]] for i in self._things]

    def merge(self, states: Sequence[list[list[dict[str, Any]]]]) -> None:
        """Add images."""
        for class_id, images in zip(self._things, zip(*states, strict=True), strict=True):
            self._images[class_id] += [_Overlap.of_json(image) for image in in_turn(images)]

    def compute(self) -> Scores:
        """`ap50`, `ap`, `small`, the share of objects too small to count, and the AP50 of every thing class."""
        found = [[_average_precision(self._images[i], overlap) for i in self._things] for overlap in OVERLAPS]
        scores = ap_scores([self._names[i] for i in self._things], np.array(found))
        images = [image for images in self._images.values() for image in images]
        small, counted = (sum(int(getattr(image, kind).sum()) for image in images) for kind in ("small", "counted"))
        share = small / (small + counted) if small + counted else None
        return Scores(scores.values | {"small": share}, scores.per_class)


@dataclass(frozen=True)
class _Found:
    """The D detections in an image with S labelled segments: scores, pixels, pixels on void, and on segments (D, S)."""

    scores: NDArray[np.float64]
    areas: NDArray[np.int64]
    void: NDArray[np.int64]
    shared: NDArray[np.int64]


def _overlap(
    found: _Found,
    rows: NDArray[np.bool_],
    columns: NDArray[np.intp],
    sizes: NDArray[np.int64],
    crowd: NDArray[np.bool_],
    smallest: int,
) -> _Overlap:
    """One class of one image.

    Args:
        found: all detections.
        rows: (D,) which of them are of the class.
        columns: (T,) the segments of the class.
        sizes: (T,) their pixels.
        crowd: (T,) which of them are crowds.
        smallest: pixels that an object needs to count.
    """
    areas, shared, small = found.areas[rows], found.shared[rows][:, columns], sizes < smallest
    ious = shared / (areas[:, None] + sizes - shared)
    # A small crowd adds to it twice, as in the official script.
    ignored = (found.void[rows] + shared @ (crowd.astype(int) + small)) / areas
    return _Overlap(found.scores[rows], ious, ~crowd & ~small, ~crowd & small, ignored)


def _inside(regions: NDArray[np.intp], mask: NDArray[np.bool_], count: int) -> NDArray[np.int64]:
    """How many pixels of a mask are in each region."""
    part = window(mask)
    regions, mask = regions[part], mask[part]
    blocks = (regions[rows][mask[rows]] for rows in row_blocks(mask.shape))
    return sum((np.bincount(block, minlength=count) for block in blocks), np.zeros(count, np.int64))


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
