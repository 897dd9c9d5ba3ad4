"""The semantic loss and its gradient, tile by tile.

With p[n, c] the probability of class c for query n and s[n, x] the sigmoid of its mask at pixel x, whose class is y(x):

    all[x]     = sum_n (sum_c p[n, c]) s[n, x]          evidence for any class
    true[x]    = sum_n p[n, y(x)] s[n, x]               evidence for the true class
    overlap[c] = sum over x with y(x) = c of true[x] / all[x]
    area[c]    = sum_n p[n, c] sum_x s[n, x] / all[x]
    cross-entropy = mean over x of log all[x] - log true[x]
    dice          = mean over the c present of 1 - (2 overlap[c] + 1) / (area[c] + pixels[c] + 1)

Ignored pixels are in no sum. Nothing here needs the evidence for every class at every pixel, and masks are enlarged a
tile at a time: once for the sums of dice, once for cross-entropy and the gradient, unless one tile holds all. So memory
grows neither with the number of classes nor with the size of the labels.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from promptseg.label_space import IGNORE
from promptseg.models.base import Upsampling
from promptseg.tasks.masks import Tile, tiles

TINY = 1e-8
"""Added to evidence where it is divided by or its logarithm taken."""

TILE_VALUES = {"cpu": 2**20, "cuda": 2**26}
"""How many mask values are at hand at a time: few enough for a CPU's cache, enough to keep a GPU busy."""

_ROUND = 16
"""Products with so many rows, or a multiple, are the fastest."""


def semantic_loss(
    class_logits: Tensor, mask_logits: Tensor, labels: Tensor, dice: bool, upsampling: Upsampling = "bilinear"
) -> Tensor:
    """Cross-entropy, plus dice if asked for, mean over B images; differentiable once in both logits.

    Args:
        class_logits: (B, N, C + 1), the background column last.
        mask_logits: (B, N, h, w).
        labels: (B, H, W) uint8 class ids, 255 = ignored; the masks are compared at that size.
        dice: add the dice loss of the classes present in each image.
        upsampling: how masks are enlarged.

    Returns:
        A scalar, to which an image without labelled pixels adds 0.
    """
    probabilities = class_logits.softmax(-1)[..., :-1]
    loss: Tensor = _SemanticLoss.apply(probabilities, mask_logits, labels, dice, upsampling)  # type: ignore[no-untyped-call]
    return loss


class _SemanticLoss(torch.autograd.Function):
    """Computes the gradient along with the loss, while a tile is at hand."""

    @staticmethod
    def forward(
        ctx: Any, probabilities: Tensor, mask_logits: Tensor, labels: Tensor, dice: bool, upsampling: Upsampling
    ) -> Tensor:
        by_probabilities = torch.empty_like(probabilities)
        by_masks = torch.zeros_like(mask_logits) if ctx.needs_input_grad[1] else None
        losses = []
        for some in _at_hand(mask_logits):
            images = _Images(probabilities[some], mask_logits[some], labels[some], len(labels), upsampling)
            slopes = _dice(images) if dice else _no_dice(images)
            loss, by_probabilities[some] = _with_cross_entropy(
                images, slopes, None if by_masks is None else by_masks[some]
            )
            losses.append(loss)
        ctx.save_for_backward(by_probabilities, by_masks)
        return torch.stack(losses).sum()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        probabilities, masks = ctx.saved_tensors
        return gradient * probabilities, None if masks is None else gradient * masks, None, None, None


@dataclass(frozen=True, eq=False)
class _Pixels:
    """The pixels x of a tile.

    Attributes:
        tile: where they are.
        masks: s (B, N, X).
        all: evidence for any class (B, X), not zero.
        true: evidence for the true class (B, X).
        area: the sum over n of the last of the weights times s (B, X).
        places: (B, X) int64, place of the true class in `_Images.present`.
        labelled: (B, X), 1 where there is a label, else 0.
    """

    tile: Tile
    masks: Tensor
    all: Tensor
    true: Tensor
    area: Tensor
    places: Tensor
    labelled: Tensor


def _at_hand(mask_logits: Tensor) -> list[slice]:
    """Groups of images that are small enough to be taken together."""
    values = mask_logits[0].numel()
    step = max(1, TILE_VALUES[mask_logits.device.type] // values)
    return [slice(start, start + step) for start in range(0, len(mask_logits), step)]


class _Images:
    """B images with the classes that are present in any of them, and places without pixels: K in all."""

    def __init__(
        self, probabilities: Tensor, mask_logits: Tensor, labels: Tensor, total: int, upsampling: Upsampling
    ) -> None:
        self.probabilities, self.mask_logits, self._labels = probabilities, mask_logits, labels
        self.total, self._upsampling = total, upsampling
        counts = torch.stack([torch.bincount(one.flatten(), minlength=IGNORE + 1) for one in labels])[:, :IGNORE]
        self.present = counts.sum(0).nonzero()[:, 0]
        # What is ignored goes to the place after the last class.
        spare = -(len(self.present) + 3) % _ROUND + 1
        self.pixels = F.pad(counts[:, self.present].to(probabilities.dtype), (0, spare))
        """Labelled pixels (B, K) of each class present."""
        self.chosen = F.pad(probabilities[..., self.present], (0, spare))
        """p (B, N, K) of the classes present."""
        self._places = torch.full((IGNORE + 1,), len(self.present), device=labels.device)
        self._places[self.present] = torch.arange(len(self.present), device=labels.device)
        self._whole: _Pixels | None = None

    def weights(self, by_area: Tensor) -> Tensor:
        """(B, N, 1 + K + 1): what a mask counts for any class, for each class, and the given (B, N)."""
        return torch.cat((self.probabilities.sum(2, keepdim=True), self.chosen, by_area[..., None]), dim=2)

    def tiles(self, weights: Tensor) -> Iterator[_Pixels]:
        """All pixels, with the evidence that the weights give; a tile that holds them all serves again."""
        if self._whole is not None:
            yield replace(self._whole, area=(weights[..., -1:].mT @ self._whole.masks)[:, 0])
            return
        masks = self.mask_logits
        budget = TILE_VALUES[masks.device.type] // (len(masks) * max(weights.shape[1:]))
        size = (self._labels.shape[1], self._labels.shape[2])
        for tile in tiles(masks, size, budget, self._upsampling):
            at = self._at(tile, weights)
            yield at
            if at.all.numel() == self._labels.numel():
                self._whole = at

    def _at(self, tile: Tile, weights: Tensor) -> _Pixels:
        labels = tile.of(self._labels).long()
        places, masks = self._places[labels], tile.enlarge(self.mask_logits).sigmoid_()
        evidence = weights.mT @ masks
        true = evidence.gather(1, 1 + places[:, None])[:, 0]
        labelled = (labels != IGNORE).to(masks.dtype)
        return _Pixels(tile, masks, evidence[:, 0] + TINY, true, evidence[:, -1], places, labelled)


@dataclass(frozen=True, eq=False)
class _Slopes:
    """The dice loss and its gradient.

    Attributes:
        loss: a scalar.
        overlap: (B, K), the slope along the overlap of each class.
        area: (B, K), along its area.
        cover: sum over x of s / all (B, N), from which areas are made.
    """

    loss: Tensor
    overlap: Tensor
    area: Tensor
    cover: Tensor


def _no_dice(images: _Images) -> _Slopes:
    zero = torch.zeros_like(images.pixels)
    return _Slopes(zero.sum(), zero, zero, zero.new_zeros(images.chosen.shape[:2]))


def _dice(images: _Images) -> _Slopes:
    overlap = torch.zeros_like(images.pixels)
    cover = overlap.new_zeros(images.chosen.shape[:2])
    for at in images.tiles(images.weights(torch.zeros_like(cover))):
        per_evidence = at.labelled / at.all
        overlap.scatter_add_(1, at.places, at.true * per_evidence)
        cover += (at.masks @ per_evidence[..., None])[..., 0]
    area = (cover[:, None] @ images.chosen)[:, 0]
    below = area + images.pixels + 1
    present = (images.pixels > 0).to(below)
    share = present / (present.sum(1, keepdim=True).clamp(min=1) * images.total)
    loss = (share * (1 - (2 * overlap + 1) / below)).sum()
    return _Slopes(loss, -2 * share / below, share * (2 * overlap + 1) / below.square(), cover)


def _with_cross_entropy(images: _Images, dice: _Slopes, by_masks: Tensor | None) -> tuple[Tensor, Tensor]:
    """The loss with dice, and its gradient along the probabilities; that along mask logits is added to `by_masks`."""
    loss = dice.loss
    share = 1 / (images.pixels.sum(1, keepdim=True).clamp(min=1) * images.total)
    weights = images.weights((images.chosen @ dice.area[..., None])[..., 0])
    by_weights = torch.zeros_like(weights)
    for at in images.tiles(weights):
        counted, per_evidence = share * at.labelled, at.labelled / at.all
        loss = loss + (counted * (at.all.log() - (at.true + TINY).log())).sum()
        overlap = dice.overlap.gather(1, at.places)
        along_quotient = overlap * at.true + at.area
        along_all = counted / at.all - along_quotient * per_evidence.square()
        along_true = overlap * per_evidence - counted / (at.true + TINY)
        slopes = at.masks.new_zeros(len(weights), weights.shape[2], at.all.shape[1])
        slopes[:, 0], slopes[:, -1] = along_all, per_evidence
        slopes.scatter_(1, 1 + at.places[:, None], along_true[:, None])
        by_weights += at.masks @ slopes.mT
        if by_masks is not None:
            along_masks = torch.matmul(weights, slopes, out=at.tile.scratch.take("slopes", *at.masks.shape))
            torch.ops.aten.sigmoid_backward(along_masks, at.masks, grad_input=along_masks)
            at.tile.add_gradient(along_masks, by_masks)
    by_probabilities = by_weights[..., :1].repeat(1, 1, images.probabilities.shape[2])
    by_chosen = by_weights[..., 1:-1] + dice.cover[..., None] * dice.area[:, None]
    by_probabilities[..., images.present] += by_chosen[..., : len(images.present)]
    return loss, by_probabilities
