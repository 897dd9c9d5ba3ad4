"""One-to-one matching of N predicted masks with T labelled segments, and the losses of the matched pairs.

The costs and weights are those of SEEM's own training: class probability, binary cross-entropy and
dice of the masks, weighted 2, 5, 5; unmatched predictions are background, weighted 0.1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class MatchingWeights:
    """Weights of the parts of the matching cost and of the loss."""

    classes: float = 2.0
    mask: float = 5.0
    dice: float = 5.0
    background: float = 0.1


@dataclass(frozen=True)
class Segments:
    """The T labelled segments of an image: classes (T,) int64 and masks (T, P) in [0, 1] over P pixels or points."""

    classes: Tensor
    masks: Tensor


@dataclass(frozen=True)
class Matching:
    """Row `predictions[t]` of the N predictions belongs to segment `segments[t]`; both (T',) int64."""

    predictions: Tensor
    segments: Tensor


@torch.no_grad()
def match(class_logits: Tensor, mask_logits: Tensor, target: Segments, weights: MatchingWeights) -> Matching:
    """Assign predictions to segments at the lowest total cost (Hungarian method).

    Args:
        class_logits: (N, C + 1).
        mask_logits: (N, P).
        target: the segments of the image.
        weights: how the parts of the cost are weighted.
    """
    probabilities = class_logits.softmax(-1)[:, target.classes]
    cost = -weights.classes * probabilities
    cost = cost + weights.mask * _pairwise_bce(mask_logits, target.masks)
    cost = cost + weights.dice * _pairwise_dice(mask_logits.sigmoid(), target.masks)
    rows, columns = linear_sum_assignment(cost.double().cpu().numpy())
    device = class_logits.device
    return Matching(torch.as_tensor(rows, device=device), torch.as_tensor(columns, device=device))


def matched_loss(
    class_logits: Tensor,
    mask_logits: Tensor,
    targets: Sequence[Segments],
    matchings: Sequence[Matching],
    weights: MatchingWeights,
) -> Tensor:
    """Mean over images and segments of the weighted class, mask and dice losses.

    Args:
        class_logits: (B, N, C + 1).
        mask_logits: (B, N, P).
        targets: B sets of segments.
        matchings: B matchings.
        weights: how the parts of the loss are weighted.
    """
    background = class_logits.shape[-1] - 1
    wanted = torch.full(class_logits.shape[:2], background, dtype=torch.long, device=class_logits.device)
    for row, (target, matching) in enumerate(zip(targets, matchings, strict=True)):
        wanted[row, matching.predictions] = target.classes[matching.segments]
    class_weights = class_logits.new_ones(background + 1)
    class_weights[background] = weights.background
    loss = weights.classes * F.cross_entropy(class_logits.flatten(0, 1), wanted.flatten(), class_weights)
    pairs = [(m[j.predictions], t.masks[j.segments]) for m, t, j in zip(mask_logits, targets, matchings, strict=True)]
    logits, masks = (torch.cat(part) for part in zip(*pairs, strict=True))
    if len(logits) == 0:
        return loss
    loss = loss + weights.mask * F.binary_cross_entropy_with_logits(logits, masks)
    return loss + weights.dice * dice_loss(logits.sigmoid(), masks).mean()


def dice_loss(masks: Tensor, targets: Tensor) -> Tensor:
    """1 - dice coefficient of soft masks (..., P) in [0, 1], smoothed by one pixel: (...)."""
    overlap = (masks * targets).sum(-1)
    return 1 - (2 * overlap + 1) / (masks.sum(-1) + targets.sum(-1) + 1)


def _pairwise_bce(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean binary cross-entropy of every pair, (N, T): softplus(x) - x * t, averaged over the pixels."""
    return (F.softplus(logits).sum(-1, keepdim=True) - logits @ targets.T) / logits.shape[-1]


def _pairwise_dice(masks: Tensor, targets: Tensor) -> Tensor:
    return 1 - (2 * masks @ targets.T + 1) / (masks.sum(-1, keepdim=True) + targets.sum(-1) + 1)
