"""Instance segmentation: scored masks, which may overlap, for countable objects."""

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Instances:
    """D detections of one image, best score first.

    Attributes:
        class_ids: (D,) int64.
        scores: (D,) float, 0..1.
        masks: (D, H, W) bool.
    """

    class_ids: Tensor
    scores: Tensor
    masks: Tensor

    def __len__(self) -> int:
        return len(self.class_ids)


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
    inside = (mask_logits.sigmoid() * masks).flatten(1).sum(1)
    return inside / (masks.flatten(1).sum(1) + 1e-6)
