"""What pixel prompts add to a prediction: evidence for each class at each place, and trust in the model's own answer.

With dense maps f_l of a model, pixel prompts P_c = (P_c^1, .., P_c^L), bias b_c and trust t_c of a class c:

    e_c(x) = b_c + sum over l of resize(<P_c^l, f_l>)(x)
    p_c(x) proportional to (m_c(x) + eps)^(t_c) exp(e_c(x)),  m the model's own semantic map

A resize is linear, so the product comes first, at each map's own resolution, and C small maps are resized.

Classes of which no pixel was labelled keep P_c = 0, b_c = 0, t_c = 1. What is learned tells the others, the taught
ones T, from each other; between T and the rest the shares stay those that the model gives them:

    sum over T of p_c(x) / p_k(x) = sum over T of (m_c(x) + eps) / (m_k(x) + eps)    for every other class k
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from promptseg.prompts import PromptKind, Prompts, PromptSpec

FLOOR = 1e-6
"""eps: least evidence of the model's own that counts."""
EMBEDDING, BIAS, TRUST = "pixel", "pixel_bias", "pixel_trust"
_STRIP = 2**18
"""Scores that are worked on at a time."""


@dataclass(frozen=True)
class DenseMap:
    """One of a model's dense maps.

    Attributes:
        name: for reports.
        stride: canvas pixels between its cells.
        dim: its channels D_l.
    """

    name: str
    stride: float
    dim: int


def pixel_kinds(maps: Sequence[DenseMap]) -> PromptSpec:
    """The kinds of prompts that a model of these maps takes beside its own: embeddings, biases and trusts."""
    dims = ((EMBEDDING, sum(one.dim for one in maps)), (BIAS, 1), (TRUST, 1))
    return tuple(PromptKind(name, "pixel", dim, optional=True) for name, dim in dims)


@dataclass(frozen=True, eq=False)
class Evidence:
    """Evidence for C classes in B images.

    Attributes:
        maps: the sum of <P_c^l, f_l> over all maps f_l of one stride, each (B, C, h, w) over the canvas.
        bias: (C,).
        trust: (C,).
        taught: (C,) bool, False for classes that the pixel prompts leave alone.
    """

    maps: tuple[Tensor, ...]
    bias: Tensor
    trust: Tensor
    taught: Tensor

    @staticmethod
    def of(specs: Sequence[DenseMap], maps: Sequence[Tensor], prompts: Prompts) -> "Evidence":
        """What the pixel prompts of `prompts` find in dense maps, each (B, D_l, h, w); differentiable in them."""
        parts = prompts.kinds[EMBEDDING].split([spec.dim for spec in specs], dim=1)
        products: dict[float, Tensor] = {}  # by stride: sizes are no numbers yet while a graph is traced
        for spec, part, one in zip(specs, parts, maps, strict=True):
            found = torch.einsum("cd,bdhw->bchw", part, one.to(part.dtype))
            products[spec.stride] = products[spec.stride] + found if spec.stride in products else found
        bias, trust = prompts.kinds[BIAS][:, 0], prompts.kinds[TRUST][:, 0]
        taught = prompts.kinds[EMBEDDING].ne(0).any(1) | bias.ne(0) | trust.ne(1)
        return Evidence(tuple(products.values()), bias, trust, taught)

    def image(self, index: int) -> "Evidence":
        """That of one image, B = 1."""
        return replace(self, maps=tuple(one[index : index + 1] for one in self.maps))


def has_pixel_prompts(prompts: Prompts) -> bool:
    """Whether the prompts have any."""
    return EMBEDDING in prompts.kinds


def balanced(scores: Tensor, own: Tensor, taught: Tensor) -> Tensor:
    """Scores (C, ...) of classes, those that were not taught moved so that both groups keep their shares.

    Args:
        scores: log p, but for a number that the classes share, (C, ...); those not taught have that of `own`.
        own: log of what the model gives each class, (C, ...).
        taught: (C,) bool.
    """
    others = ~taught.view(-1, *(1,) * (scores.ndim - 1))
    of_taught, of_own = (one.masked_fill(others, -torch.inf).logsumexp(0) for one in (scores, own))
    return torch.where(others, scores + torch.where(taught.any(), of_taught - of_own, 0), scores)


def log_odds(own: Tensor, evidence: Tensor, trust: Tensor, taught: Tensor) -> Tensor:
    """Log p of every pixel and class, but for a number that the classes of a pixel share: (C, H, W).

    Args:
        own: the model's semantic map m, (C, H, W).
        evidence: e, (C, H, W).
        trust: t, (C,).
        taught: (C,) bool.
    """
    logs, trusts = (own + FLOOR).log_(), trust[:, None, None]
    if taught.all():
        return logs.mul_(trusts).add_(evidence)
    # As `balanced`, whose sums go over all classes: here the taught ones may be few among many.
    shown = taught.nonzero()[:, 0]
    of_own = logs[shown]
    learned = torch.addcmul(evidence[shown], of_own, trusts[shown])
    logs += learned.logsumexp(0) - of_own.logsumexp(0)
    return logs.index_copy_(0, shown, learned)


def largest(scores: Tensor) -> Tensor:
    """The class of the largest score of each pixel, of scores (C, H, W): (H, W) int64."""
    return scores.max(0).indices  # on a CPU up to three times as fast as argmax along the first axis


def likeliest(own: Tensor, evidence: Tensor, trust: Tensor, taught: Tensor) -> Tensor:
    """The class of every pixel, argmax of p: (H, W) int64; with e = 0 and t = 1 that of `own`, to the last bit.

    Args:
        own: the model's semantic map m, (C, H, W).
        evidence: e, (C, H, W).
        trust: t, (C,).
        taught: (C,) bool.
    """
    if not taught.any():
        return largest(own)
    if not trust.any():  # nothing of the model's own answer is left in p
        return largest(evidence)
    rows = max(1, _STRIP // (own.shape[0] * own.shape[2]))
    strips = zip(own.split(rows, dim=1), evidence.split(rows, dim=1), strict=True)
    return torch.cat([largest(log_odds(m, e, trust, taught)) for m, e in strips])
