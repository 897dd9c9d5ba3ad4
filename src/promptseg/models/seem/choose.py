"""Prompts that choose among the masks of queries which do not see them.

X-Decoder has no spatial prompts, and weights that were trained on classes alone do not know what to do with a prompt in
the decoder. Their masks are there all the same; the one is taken to which all prompts together give the largest
log-likelihood. This is an answer of our own, the official code has none.
"""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from promptseg.models.base import Size
from promptseg.models.capabilities import Box, ObjectPrompt
from promptseg.models.seem.drawing import prompt_masks
from promptseg.models.seem.points import points_from_masks

_LEAST = 1e-6
"""Stands for no overlap at all, so that its logarithm exists."""


def best_mask(masks: Tensor, canvas: Size, prompt: ObjectPrompt, likeness: Tensor | None) -> Tensor:
    """Mask logits (1, 1, h, w): the best of (1, N, h, w).

    Args:
        masks: of the queries on one image.
        canvas: height and width of the padded input, pixels.
        prompt: in pixels of the canvas.
        likeness: (N,) logits of each query for the prompt's text, or None.
    """
    fit = _point_fit(masks, canvas, prompt)
    if prompt.boxes:
        fit = fit + _box_fit(masks[0], canvas, prompt.boxes)
    if likeness is not None:
        fit = fit + likeness.log_softmax(dim=0)
    return masks[:, fit.argmax()][:, None]


def _point_fit(masks: Tensor, canvas: Size, prompt: ObjectPrompt) -> Tensor:
    """For each mask (N,) the mean log-probability of yes at points and strokes, and of no at negative points."""
    inside, outside = (mask.to(masks.device) for mask in prompt_masks(replace(prompt, boxes=()), canvas))
    points = points_from_masks([inside], [outside], limit=canvas[0] * canvas[1])
    read = points.read(masks)[0]
    fit = masks.new_zeros(masks.shape[1])
    for sign in (True, False):
        own = read[points.positive[0] == sign]
        if len(own):
            fit = fit + functional.logsigmoid(own if sign else -own).mean(dim=0)
    return fit


def _box_fit(masks: Tensor, canvas: Size, boxes: tuple[Box, ...]) -> Tensor:
    """For each mask (N,) the logarithm of the overlap (IoU) of its own box with the box around all that is given."""
    height, width = masks.shape[1:]
    corners = torch.tensor(boxes, device=masks.device, dtype=masks.dtype)
    scale = corners.new_tensor([width / canvas[1], height / canvas[0]])
    low, high = corners[:, :2].amin(dim=0) * scale, corners[:, 2:].amax(dim=0) * scale
    inside = masks > 0
    own_low, own_high = (
        torch.stack(ends, dim=1) for ends in zip(_ends(inside.any(1)), _ends(inside.any(2)), strict=True)
    )
    shared = (torch.minimum(high, own_high) - torch.maximum(low, own_low)).clamp(min=0).prod(dim=1)
    total = (high - low).prod() + (own_high - own_low).prod(dim=1) - shared
    return (shared / total).clamp(min=_LEAST).log()


def _ends(taken: Tensor) -> tuple[Tensor, Tensor]:
    """First and one past the last True of each row (N, L); 0 and 0 where there is none."""
    counts = taken.to(torch.uint8)
    some = taken.any(dim=1)
    first, last = counts.argmax(dim=1), taken.shape[1] - counts.flip(1).argmax(dim=1)
    return first * some, last * some
