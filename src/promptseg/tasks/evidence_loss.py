"""The semantic loss of a prediction that pixel prompts have a part in.

With p_c(x) as `models/evidence.py` has it, and y(x) the label of pixel x:

    cross-entropy = mean over x of -log p_y(x)
    dice          = mean over the c present of 1 - (2 overlap[c] + 1) / (area[c] + pixels[c] + 1)

where overlap[c] is the sum of p_c over the pixels of c, and area[c] that over all labelled pixels. Every class has its
map at every pixel here, which pixel prompts ask for anyway.
"""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from promptseg.label_space import IGNORE
from promptseg.models.base import Prediction, Size
from promptseg.models.evidence import FLOOR, Evidence, balanced
from promptseg.tasks.sampling import sampled


def evidence_loss(prediction: Prediction, masks: Tensor, labels: Tensor, stride: int, dice: bool) -> Tensor:
    """Cross-entropy, plus dice if asked for, mean over B images; differentiable in masks, class logits and evidence.

    Args:
        prediction: with evidence.
        masks: its mask logits (B, N, h, w) at the places of the labels.
        labels: (B, h, w) uint8 class ids, 255 = ignored.
        stride: canvas pixels between labels.
        dice: add the dice loss of the classes present in each image.
    """
    scores = log_shares(prediction, masks, stride)
    losses = [_loss(one.flatten(1), of_one.flatten().long(), dice) for one, of_one in zip(scores, labels, strict=True)]
    return torch.stack(losses).mean()


def log_shares(prediction: Prediction, masks: Tensor, stride: int) -> Tensor:
    """Log p at the places that a stride takes, (B, C, h, w)."""
    evidence = prediction.evidence
    assert evidence is not None, "a prediction of pixel prompts"
    probabilities = prediction.class_logits.softmax(-1)[..., :-1]
    own = torch.einsum("bnc,bnhw->cbhw", probabilities, masks.sigmoid()).add(FLOOR).log()
    if prediction.mask_stride != stride:
        evidence = sampled_evidence(evidence, prediction.canvas, stride)
    found = torch.stack(evidence.maps).sum(0).transpose(0, 1)
    trust, bias = (one[:, None, None, None] for one in (evidence.trust, evidence.bias))
    scores = trust * own + found + bias
    return balanced(scores, own, evidence.taught).log_softmax(0).transpose(0, 1)


def sampled_evidence(evidence: Evidence, canvas: Size, stride: int) -> Evidence:
    """Evidence whose one map (B, C, h, w) holds what there is at the places that a stride takes of the canvas."""
    levels = [sampled(one, canvas, stride) for one in evidence.maps]
    return replace(evidence, maps=(torch.stack(levels).sum(0),))


def _loss(scores: Tensor, labels: Tensor, dice: bool) -> Tensor:
    """Of log p (C, X) and labels (X,)."""
    labelled = (labels != IGNORE).nonzero()[:, 0]
    if not len(labelled):
        return scores.sum() * 0
    scores, labels = scores[:, labelled], labels[labelled]
    loss = F.cross_entropy(scores.mT, labels)
    if not dice:
        return loss
    shares, one_hot = scores.exp(), F.one_hot(labels, len(scores)).mT.to(scores.dtype)
    pixels = one_hot.sum(1)
    overlap = (shares * one_hot).sum(1)
    found = (2 * overlap + 1) / (shares.sum(1) + pixels + 1)
    return loss + (1 - found)[pixels > 0].mean()
