"""Panoptic segmentation: one segment, with its class, for each pixel that a sure query claims.

Loss: that of predictions matched with the labelled segments, objects and stuff alike. Metric: panoptic quality.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from promptseg.data.sample import PanopticLabels, Sample, Segment
from promptseg.label_space import LabelSpace
from promptseg.models.base import Prediction, Size
from promptseg.tasks.base import Columns
from promptseg.tasks.masks import masks_at
from promptseg.tasks.panoptic_quality import PanopticQuality
from promptseg.tasks.segments import MatchedSettings, SegmentTarget, check_number, segment_target, segments_loss

COLUMNS = Columns({"pq": "PQ", "sq": "SQ", "rq": "RQ", "pq_things": "things", "pq_stuff": "stuff"}, "PQ")


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

    def labels(self, sample: Sample) -> PanopticLabels:
        """The panoptic labels.

        Raises:
            PromptsegError: the data set has none.
        """
        return sample.panoptic()

    def target(self, sample: Sample, size: Size, flip: bool) -> SegmentTarget:
        """All segments at training size."""
        return segment_target(self.labels(sample), range(len(sample.label_space)), size, flip)

    def loss(self, prediction: Prediction, targets: Sequence[SegmentTarget], stride: int = 1) -> Tensor:
        """Loss of the predictions matched with segments; all others are taught to be background."""
        return segments_loss(prediction, targets, stride, self.settings)

    def answer(self, prediction: Prediction, index: int, size: Size, label_space: LabelSpace) -> PanopticLabels:
        """The segments of image `index`."""
        masks, settings = masks_at(prediction, index, size), self.settings
        things, logits = label_space.thing_ids, prediction.class_logits[index]
        return panoptic_inference(logits, masks, things, settings.object_threshold, settings.overlap_threshold)

    def metric(self, label_space: LabelSpace) -> PanopticQuality:
        """Panoptic quality."""
        return PanopticQuality(label_space)


@torch.no_grad()
def panoptic_inference(
    class_logits: Tensor,
    mask_logits: Tensor,
    thing_ids: Collection[int],
    object_threshold: float = 0.8,
    overlap_threshold: float = 0.8,
) -> PanopticLabels:
    """The panoptic map of one image, by SEEM's official rule.

    Queries whose best class is background, or not surer than `object_threshold`, are dropped. A
    pixel goes to the query with the largest class probability * sigmoid(mask). A query that wins
    too little of its own mask (sigmoid >= 0.5) is dropped and leaves its pixels unassigned. A thing
    query is a segment of its own; stuff queries of one class share a segment.

    Args:
        class_logits: (N, C + 1), the background column last.
        mask_logits: (N, H, W), at the output size.
        thing_ids: classes with countable instances.
        object_threshold: class probability that a query must exceed, 0..1.
        overlap_threshold: least ratio of pixels won to pixels of the query's own mask, 0..1.

    Returns:
        Segment ids 1, 2, ... in query order, (H, W) int32 with 0 unassigned. A segment is a thing
        where its `class_id` is among `thing_ids`.
    """
    probabilities, classes = class_logits.softmax(-1).max(-1)
    kept = (classes != class_logits.shape[-1] - 1) & (probabilities > object_threshold)
    classes, masks = classes[kept], mask_logits[kept].sigmoid()
    if not len(classes):
        return PanopticLabels(_empty_map(mask_logits).cpu().numpy(), ())
    winner = (masks * probabilities[kept, None, None]).argmax(0)
    inside = masks >= 0.5
    own = inside.gather(0, winner[None])[0]
    accepted = _accepted(winner, inside, own, overlap_threshold)
    ids, segments = _number(classes.tolist(), accepted, thing_ids)
    table = torch.tensor(ids, dtype=torch.int32, device=winner.device)
    labels = torch.where(own, table[winner], _empty_map(mask_logits))
    return PanopticLabels(labels.cpu().numpy(), segments)


def _empty_map(mask_logits: Tensor) -> Tensor:
    return torch.zeros(mask_logits.shape[-2:], dtype=torch.int32, device=mask_logits.device)


def _accepted(winner: Tensor, inside: Tensor, own: Tensor, overlap_threshold: float) -> list[bool]:
    """Which queries keep enough of their mask.

    Args:
        winner: (H, W) int64, the query that won each pixel.
        inside: (N, H, W) bool, the mask of each query.
        own: (H, W) bool, whether the pixel is inside its winner's mask.
        overlap_threshold: least ratio of `won` to `area`, both counted in pixels.
    """
    count = len(inside)
    won = winner.flatten().bincount(minlength=count).tolist()  # pixels outside the winner's mask count too
    area = inside.flatten(1).sum(1).tolist()
    common = winner[own].bincount(minlength=count).tolist()
    # A shared pixel implies that `won` and `area` are not empty.
    return [c > 0 and w / a >= overlap_threshold for w, a, c in zip(won, area, common, strict=True)]


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
