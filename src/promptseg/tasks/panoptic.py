"""Panoptic segmentation: one segment, with its class, for each pixel that a sure query claims.

Loss: that of predictions matched with the labelled segments, objects and stuff alike. Metric: panoptic quality.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from promptseg.checks import check_number
from promptseg.data.rasters import Georeference
from promptseg.data.sample import ObjectLabels, PanopticLabels, Sample, Segment
from promptseg.files import write_json
from promptseg.label_space import LabelSpace, default_colors
from promptseg.models.base import Prediction, Size
from promptseg.models.evidence import largest
from promptseg.tasks.answer_files import (
    categories,
    image_entry,
    map_file,
    segment_entries,
    write_segment_ids,
    written_map,
)
from promptseg.tasks.base import (
    SHOWN_PIXELS,
    Columns,
    Drawing,
    Region,
    Scores,
    TaskKind,
    Window,
    counted,
    mean,
    row_blocks,
)
from promptseg.tasks.masks import image_masks, query_logits, strips
from promptseg.tasks.matched_loss import (
    MatchedSettings,
    SegmentTarget,
    check_found,
    segment_numbers,
    segment_target,
    segments_loss,
)
from promptseg.tasks.object_mosaics import PanopticMosaic

COLUMNS = Columns({"pq": "PQ", "sq": "SQ", "rq": "RQ", "pq_things": "things", "pq_stuff": "stuff"}, "PQ")


class PanopticQuality:
    """PQ = SQ x RQ for each class and their means, over all classes, things and stuff.

    A predicted and a labelled segment of one class match if their IoU, without the void pixels of the
    prediction, is over 0.5. Crowds are neither matched nor missed, and a prediction of which more than half
    lies on void and on the crowd of its class is no error; of several crowds of one class, that is the last that the
    labels list, as in the official script. Classes that occur nowhere are left out.
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
        ignored = void + (common * (same & _last_crowds(truth)[:, None])).sum(0)
        missed = ~crowd & (true_sizes > 0)
        wrong = (found_sizes > 0) & (2 * ignored <= found_sizes)
        missed[rows] = wrong[columns] = False
        np.add.at(self._hits, true_classes[rows], 1)
        np.add.at(self._misses, true_classes[missed], 1)
        np.add.at(self._errors, found_classes[wrong], 1)

    def state(self) -> list[list[float]]:
        """Sums of IoU, hits, errors and misses, by class."""
        return [list[float](sums.tolist()) for sums in (self._iou, self._hits, self._errors, self._misses)]

    def merge(self, states: Sequence[list[list[float]]]) -> None:
        """Add such sums."""
        for counts, others in zip(
            (self._iou, self._hits, self._errors, self._misses), zip(*states, strict=True), strict=True
        ):
            counts += np.sum(others, axis=0).astype(counts.dtype)

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


def _last_crowds(labels: PanopticLabels) -> NDArray[np.bool_]:
    """(T,) whether a segment is the last crowd of its class."""
    last = {segment.class_id: place for place, segment in enumerate(labels.segments) if segment.is_crowd}
    return np.isin(np.arange(len(labels.segments)), list(last.values()))


def _classes(segments: Sequence[Segment]) -> NDArray[np.intp]:
    return np.array([segment.class_id for segment in segments], np.intp)


def _common_pixels(truth: PanopticLabels, answer: PanopticLabels) -> NDArray[np.int64]:
    """(T + 1, P + 1) pixels that labelled and predicted segments share; row and column 0 are void."""
    shape = (len(truth.segments) + 1, len(answer.segments) + 1)
    common = np.zeros(shape, np.int64)
    for rows in row_blocks(truth.map.shape):
        pairs: NDArray[Any] = _numbers(truth, rows) * shape[1] + _numbers(answer, rows)
        common += np.bincount(pairs.ravel(), minlength=common.size).reshape(shape)
    return common


def _numbers(labels: PanopticLabels, rows: slice) -> NDArray[np.intp]:
    return segment_numbers(PanopticLabels(labels.map[rows], labels.segments), labels.segments)


@dataclass(frozen=True)
class PanopticSettings(MatchedSettings):
    """Settings of the task.

    Attributes:
        object_threshold: class probability that a query must exceed to be a segment, 0..1.
        overlap_threshold: least part of its own mask that it must win against the others, 0..1.
    """

    object_threshold: float = 0.4
    overlap_threshold: float = 0.8

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        super().__post_init__()
        check_number("object_threshold", self.object_threshold, 0, 1)
        check_number("overlap_threshold", self.overlap_threshold, 0, 1)


PRESETS = {
    # The weights and thresholds of SEEM itself, as the paper states none.
    "paper": PanopticSettings(loss="matched", background_weight=0.1, object_threshold=0.8),
    "tuned": PanopticSettings(),
}


@dataclass(frozen=True)
class PanopticTask:
    """The panoptic task."""

    settings: PanopticSettings = PRESETS["tuned"]
    name: str = "panoptic"
    samples_masks: bool = False

    def labels(self, sample: Sample) -> PanopticLabels:
        """The panoptic labels.

        Raises:
            PromptsegError: the data set has none.
        """
        return sample.panoptic()

    def target(self, sample: Sample, size: Size, flip: bool) -> SegmentTarget:
        """All segments at training size."""
        return segment_target(ObjectLabels.of(self.labels(sample)), range(len(sample.label_space)), size, flip)

    def windowed(self, target: SegmentTarget, window: Window) -> SegmentTarget:
        """The segments, of which some may have no pixel left."""
        return target.windowed(window)

    def shown(self, target: SegmentTarget) -> Tensor:
        """The classes of the segments, (n,) int64."""
        return target.shown()

    def check_targets(self, targets: Iterable[SegmentTarget]) -> None:
        """Refuse targets without anything to find.

        Raises:
            PromptsegError: there is nothing but void and crowds.
        """
        check_found(targets)

    def loss(self, prediction: Prediction, targets: Sequence[SegmentTarget], stride: int = 1) -> Tensor:
        """Loss of the predictions matched with segments; all others are taught to be background."""
        return segments_loss(prediction, targets, stride, self.settings)

    def answer(self, prediction: Prediction, index: int, size: Size, label_space: LabelSpace) -> PanopticLabels:
        """The segments of image `index`."""
        things, logits, masks = label_space.thing_ids, query_logits(prediction, index), image_masks(prediction, index)
        thresholds = self.settings.object_threshold, self.settings.overlap_threshold
        return panoptic_inference(logits, masks, things, *thresholds, size)

    def mosaic(self, size: Size, label_space: LabelSpace) -> PanopticMosaic:
        """Segments that come tile by tile."""
        return PanopticMosaic(size, partial(self.answer, label_space=label_space), label_space.thing_ids)

    def metric(self, label_space: LabelSpace) -> PanopticQuality:
        """Panoptic quality."""
        return PanopticQuality(label_space)

    def drawing(self, answer: PanopticLabels, label_space: LabelSpace) -> Drawing:
        """Stuff in the colour of its class, every object in a colour of its own."""
        things, names = set(label_space.thing_ids), label_space.names
        step = ceil(sqrt(answer.map.size / SHOWN_PIXELS))
        shown = answer.map[::step, ::step]
        regions = tuple(
            Region(
                partial(np.equal, shown, segment.id),
                color if segment.class_id in things else label_space.colors[segment.class_id],
                names[segment.class_id],
            )
            for segment, color in zip(answer.segments, default_colors(len(answer.segments)), strict=True)
        )
        return Drawing(counted((region.text for region in regions), "segments"), regions=regions)

    def writer(self, out: Path, label_space: LabelSpace) -> "PanopticWriter":
        """Maps of segment ids in `panoptic/`, and `panoptic.json`."""
        return PanopticWriter(out, label_space)


class PanopticWriter:
    """Maps of segment ids with their JSON, as COCO panoptic has them."""

    def __init__(self, out: Path, label_space: LabelSpace) -> None:
        self._maps, self._json, self._space = out / "panoptic", out / "panoptic.json", label_space
        self.files = (self._maps, self._json)

    def files_of(self, name: str) -> tuple[Path, ...]:
        """The map."""
        return (written_map(self._maps, name),)

    def add(self, name: str, file_name: str, answer: PanopticLabels, place: Georeference | None) -> dict[str, Any]:
        """Write the map of a photo; returns its entries."""
        path = map_file(self._maps, name, place)
        write_segment_ids(path, answer, place)
        map_name = path.relative_to(self._maps).as_posix()
        segments = {"image_id": 1, "file_name": map_name, "segments_info": segment_entries(answer)}
        return {"image": image_entry(1, file_name, answer.map.shape), "segments": segments}

    def merge(self, told: Mapping[str, dict[str, Any]]) -> None:
        """Write the JSON."""
        photos = list(enumerate(told.values(), 1))
        images = [photo["image"] | {"id": number} for number, photo in photos]
        annotations = [photo["segments"] | {"image_id": number} for number, photo in photos]
        write_json(self._json, {"images": images, "annotations": annotations, "categories": categories(self._space)})


@torch.no_grad()
def panoptic_inference(
    class_logits: Tensor,
    mask_logits: Tensor,
    thing_ids: Collection[int],
    object_threshold: float = 0.8,
    overlap_threshold: float = 0.8,
    size: Size | None = None,
) -> PanopticLabels:
    """The panoptic map of one image, by SEEM's official rule.

    Queries whose best class is background, or not surer than `object_threshold`, are dropped. A
    pixel goes to the query with the largest class probability * sigmoid(mask). A query that wins
    too little of its own mask (sigmoid >= 0.5) is dropped and leaves its pixels unassigned. A thing
    query is a segment of its own; stuff queries of one class share a segment.

    Args:
        class_logits: (N, C + 1), the background column last.
        mask_logits: (N, h, w) of the image.
        thing_ids: classes with countable instances.
        object_threshold: class probability that a query must exceed, 0..1.
        overlap_threshold: least ratio of pixels won to pixels of the query's own mask, 0..1.
        size: output height and width, pixels; None = that of `mask_logits`.

    Returns:
        Segment ids 1, 2, ... in query order, (H, W) int32 with 0 unassigned. A segment is a thing
        where its `class_id` is among `thing_ids`.
    """
    probabilities, classes = class_logits.softmax(-1).max(-1)
    kept = (classes != class_logits.shape[-1] - 1) & (probabilities > object_threshold)
    classes, size = classes[kept], size or (mask_logits.shape[1], mask_logits.shape[2])
    if not len(classes):
        return PanopticLabels(np.zeros(size, np.int32), ())
    winners, accepted = _claims(probabilities[kept], mask_logits[kept], size, overlap_threshold)
    ids, segments = _number(classes.tolist(), accepted, thing_ids)
    return PanopticLabels(np.array([*ids, 0], np.int32)[winners], segments)


def _claims(
    probabilities: Tensor, mask_logits: Tensor, size: Size, overlap_threshold: float
) -> tuple[NDArray[np.int16], list[bool]]:
    """Which query has each pixel, and which queries keep enough of their mask.

    Args:
        probabilities: (N,) of the class of each query.
        mask_logits: (N, h, w).
        size: output height and width, pixels.
        overlap_threshold: least ratio of pixels won to pixels of the query's own mask.

    Returns:
        (H, W) the query that won each pixel, -1 outside its mask; and whether each query is a segment.
    """
    count = len(mask_logits)
    winners = np.empty(size, np.int16)
    # Pixels that a query won, also outside its mask; of its mask; and of both.
    won, area, common = mask_logits.new_zeros(3, count, dtype=torch.int64)
    for columns, logits in strips(mask_logits, size):
        masks = logits.sigmoid()
        winner = largest(masks * probabilities[:, None, None])
        inside = masks >= 0.5
        own = inside.gather(0, winner[None])[0]
        won += winner.flatten().bincount(minlength=count)
        area += inside.sum((1, 2))
        common += winner[own].bincount(minlength=count)
        winners[:, columns] = winner.where(own, -1).to("cpu", torch.int16)
    # A shared pixel implies that a query won some and that its mask is not empty.
    return winners, [
        c > 0 and w / a >= overlap_threshold for w, a, c in zip(*map(Tensor.tolist, (won, area, common)), strict=True)
    ]


def _number(
    classes: list[int], accepted: list[bool], thing_ids: Collection[int]
) -> tuple[list[int], tuple[Segment, ...]]:
    """The segment id of each query (0: none), and the segments in the order of their ids."""
    ids = [0] * len(classes)
    segments: list[Segment] = []
    stuff: dict[int, int] = {}
    for query, class_id in enumerate(classes):
        if not accepted[query]:
            continue
        if class_id not in stuff:
            segments.append(Segment(len(segments) + 1, class_id))
            if class_id not in thing_ids:
                stuff[class_id] = len(segments)
        ids[query] = stuff.get(class_id, len(segments))
    return ids, tuple(segments)


TASK = TaskKind(PanopticTask, PRESETS, COLUMNS)
