"""Instance segmentation: scored masks, which may overlap, for countable objects.

Loss: that of predictions matched with the labelled objects. Metric: average precision, by the rules of COCO or
of Cityscapes.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from promptseg.data.sample import PanopticLabels, Sample
from promptseg.errors import PromptsegError, unknown_name
from promptseg.label_space import LabelSpace
from promptseg.models.base import Prediction, Size
from promptseg.tasks.average_precision import CityscapesAP, CocoAP
from promptseg.tasks.base import Columns, Instances
from promptseg.tasks.masks import masks_at
from promptseg.tasks.matched_loss import MatchedSettings, SegmentTarget, check_whole, segment_target, segments_loss

RULES = ("coco", "cityscapes")
COLUMNS = Columns({"ap50": "AP50", "ap": "AP"}, "AP50")


@dataclass(frozen=True)
class InstanceSettings(MatchedSettings):
    """Settings of the task.

    Attributes:
        max_detections: pairs of query and class that are taken for an image, before those of stuff are dropped.
        rules: whose average precision is reported, `coco` or `cityscapes`.
    """

    max_detections: int = 100
    rules: str = "coco"

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        super().__post_init__()
        check_whole("max_detections", self.max_detections, 1)
        if self.rules not in RULES:
            raise unknown_name("rules of average precision", str(self.rules), RULES)


PRESETS = {
    # SEEM's own weight of the background, as the paper states none.
    "paper": InstanceSettings(loss="matched", background_weight=0.1),
    "tuned": InstanceSettings(),
}


@dataclass(frozen=True)
class InstanceTask:
    """The instance task."""

    settings: InstanceSettings = PRESETS["tuned"]
    name: str = "instance"

    def labels(self, sample: Sample) -> PanopticLabels:
        """The panoptic labels: objects are their segments of thing classes.

        Raises:
            PromptsegError: no instance labels, or no class is a thing.
        """
        _things(sample.label_space)
        return sample.panoptic()

    def target(self, sample: Sample, size: Size, flip: bool) -> SegmentTarget:
        """The objects at training size."""
        return segment_target(self.labels(sample), sample.label_space.thing_ids, size, flip)

    def loss(self, prediction: Prediction, targets: Sequence[SegmentTarget], stride: int = 1) -> Tensor:
        """Loss of the predictions matched with objects; all others are taught to be background."""
        return segments_loss(prediction, targets, stride, self.settings)

    def answer(self, prediction: Prediction, index: int, size: Size, label_space: LabelSpace) -> Instances:
        """The detections in image `index`, best first.

        Raises:
            PromptsegError: no class is a thing.
        """
        masks = masks_at(prediction, index, size)
        return instance_inference(
            prediction.class_logits[index], masks, _things(label_space), self.settings.max_detections
        )

    def metric(self, label_space: LabelSpace) -> CocoAP | CityscapesAP:
        """Average precision by the chosen rules."""
        if self.settings.rules == "cityscapes":
            return CityscapesAP(label_space)
        return CocoAP(label_space, self.settings.max_detections)


def _things(label_space: LabelSpace) -> tuple[int, ...]:
    if not label_space.thing_ids:
        raise PromptsegError(
            f"{label_space.name}: none of its classes is a thing, with countable objects; "
            "use the task 'semantic', or mark the kind of each class in its data"
        )
    return label_space.thing_ids


@torch.no_grad()
def instance_inference(
    class_logits: Tensor,
    mask_logits: Tensor,
    thing_ids: Collection[int] | None,
    max_detections: int = 100,
) -> Instances:
    """The detections of one image, by SEEM's official rule.

    The `max_detections` likeliest pairs of query and class are taken first and those of stuff
    classes dropped afterwards, so fewer may come back. The score is the class probability times the
    mean sigmoid inside the mask (logit > 0); an empty mask scores 0. Equally likely pairs are taken
    in query order.

    Args:
        class_logits: (N, C + 1), the background column last.
        mask_logits: (N, H, W), at the output size.
        thing_ids: the classes to keep; None keeps all.
        max_detections: pairs of query and class to take.
    """
    probabilities = class_logits.softmax(-1)[:, :-1]
    likeliest = probabilities.flatten().argsort(descending=True, stable=True)[:max_detections]
    queries, class_ids = likeliest // probabilities.shape[1], likeliest % probabilities.shape[1]
    if thing_ids is not None:
        things = torch.isin(class_ids, torch.tensor(sorted(thing_ids), dtype=torch.int64, device=class_ids.device))
        queries, class_ids = queries[things], class_ids[things]
    masks = mask_logits > 0
    scores = probabilities[queries, class_ids] * _quality(mask_logits, masks)[queries]
    order = scores.argsort(descending=True, stable=True)
    return Instances(class_ids[order], scores[order], masks[queries[order]])


def _quality(mask_logits: Tensor, masks: Tensor) -> Tensor:
    """Mean sigmoid inside each mask, (N,): once per query, not per detection, as many share a mask."""
    # Query by query: all at once would hold the N masks twice more, gigabytes for a large photo.
    inside = torch.stack([logits[mask].sigmoid().sum() for logits, mask in zip(mask_logits, masks, strict=True)])
    return inside / (masks.flatten(1).sum(1) + 1e-6)
