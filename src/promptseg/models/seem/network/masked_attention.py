"""Attention of rows to the parts of a map that their masks leave open.

    P = softmax(q k^T / sqrt(d) where open, -inf where blocked),    taken = P v

and on the way back, with g the gradient of what was taken,

    dS = P * (g v^T - <g, taken>),    dq = dS k / sqrt(d)

Where prompts alone are learned, keys and values come from frozen weights: no gradient of theirs is worked out, as the
fused kernels of CPUs always do. One head at a time, so that what a head needs stays in the processor's cache.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def masked_attention(q: Tensor, k: Tensor, v: Tensor, blocked: Tensor) -> Tensor:
    """What rows take from a map, (B, H, N, d).

    Args:
        q: (B, H, N, d), the rows that look, head by head.
        k: (B, H, S, d), what they look at.
        v: (B, H, S, d), what they take from there.
        blocked: (B, N, S) bool, where a row must not look; no row is blocked everywhere.
    """
    learns = torch.is_grad_enabled() and q.requires_grad and not torch.compiler.is_compiling()
    frozen = not (k.requires_grad or v.requires_grad)
    plain = q.device.type == "cpu" and q.dtype == k.dtype == v.dtype == torch.float32
    if learns and frozen and plain:
        taken: Tensor = _OfRowsAlone.apply(q, k, v, blocked)  # type: ignore[no-untyped-call]
        return taken
    return functional.scaled_dot_product_attention(q, k, v, attn_mask=~blocked[:, None])


class _OfRowsAlone(torch.autograd.Function):
    """With a gradient of the rows alone."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, blocked: Tensor) -> Tensor:
        scaled = q * q.shape[3] ** -0.5
        barred = torch.zeros_like(blocked, dtype=q.dtype).masked_fill_(blocked, float("-inf"))
        shares, taken = q.new_empty(*q.shape[:3], k.shape[2]), torch.empty_like(scaled)
        for image, head in _each(q):
            of_head = shares[image, head]
            torch.addmm(barred[image], scaled[image, head], k[image, head].mT, out=of_head)
            torch.softmax(of_head, 1, out=of_head)
            torch.mm(of_head, v[image, head], out=taken[image, head])
        ctx.save_for_backward(shares, taken, k, v)
        return taken

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        shares, taken, k, v = ctx.saved_tensors
        common = (gradient * taken).sum(3, keepdim=True)
        by_rows = torch.empty_like(gradient)
        slopes = shares.new_empty(shares.shape[2:])
        for image, head in _each(gradient):
            torch.mm(gradient[image, head], v[image, head].mT, out=slopes)
            slopes.sub_(common[image, head]).mul_(shares[image, head])
            torch.mm(slopes, k[image, head], out=by_rows[image, head])
        return by_rows.mul_(k.shape[3] ** -0.5), None, None, None


def _each(rows: Tensor) -> list[tuple[int, int]]:
    """Image and head."""
    return [(image, head) for image in range(rows.shape[0]) for head in range(rows.shape[1])]
