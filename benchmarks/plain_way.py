"""The steps of training as the paper states them, with no thought of time or memory.

The tests compare the product with these, and the benchmarks measure what its savings bring.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from promptseg.data.label_space import IGNORE
from promptseg.models.base import Prediction

TINY = 1e-8


def plain_loss(prediction: Prediction, targets: Sequence[Tensor], dice: bool, stride: int = 1) -> Tensor:
    """The semantic loss, from the evidence for every class at every pixel; targets (H, W), 255 = ignored."""
    size = [side // stride for side in prediction.canvas]
    masks = F.interpolate(prediction.mask_logits, size, mode="bilinear", align_corners=False)
    losses = []
    for logits, mask, target in zip(prediction.class_logits, masks, targets, strict=True):
        labels = target[stride // 2 :: stride, stride // 2 :: stride].long()
        evidence = torch.einsum("nc,nyx->cyx", logits.softmax(-1)[:, :-1], mask.sigmoid())
        evidence = evidence[:, : labels.shape[0], : labels.shape[1]]
        loss = map_cross_entropy(evidence, labels)
        losses.append(loss + map_dice(evidence, labels) if dice else loss)
    return torch.stack(losses).mean()


def map_cross_entropy(evidence: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of the evidence (C, H, W) normalised over the classes; the mean over labelled pixels."""
    labelled = target != IGNORE
    true = evidence.gather(0, target.where(labelled, 0)[None])[0]
    losses = (evidence.sum(0) + TINY).log() - (true + TINY).log()
    return (losses * labelled).sum() / labelled.sum().clamp(min=1)


def map_dice(evidence: Tensor, target: Tensor) -> Tensor:
    """Soft dice loss, smoothed by one pixel, of the evidence normalised; the mean over the classes present."""
    labelled = (target != IGNORE).flatten()
    shares = (evidence / (evidence.sum(0) + TINY)).flatten(1) * labelled
    present = torch.unique(target.flatten()[labelled])
    truth = (target.flatten() == present[:, None]).to(shares.dtype)
    if not len(present):
        return shares.sum() * 0
    found = shares[present]
    return (1 - (2 * (found * truth).sum(1) + 1) / (found.sum(1) + truth.sum(1) + 1)).mean()
