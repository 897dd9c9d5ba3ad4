"""One object that is pointed at or named: from places and words to the mask of the row that answers best.

X-Decoder has no prompts that point, and weights that were trained on classes alone do not know what to do with a prompt
in the decoder. Their masks are there all the same; the one is taken to which all prompts together give the largest
log-likelihood. This is an answer of our own, the official code has none.
"""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from promptseg.models.base import Size
from promptseg.models.capabilities import Box, ObjectPrompt
from promptseg.models.seem.network.decoder import mask_logits
from promptseg.models.seem.network.features import SeemFeatures
from promptseg.models.seem.network.seem_network import SeemNetwork
from promptseg.models.seem.pointing.points import points_from_masks, prompt_masks
from promptseg.models.seem.pointing.prompt_rows import (
    GroundingPrompt,
    SpatialPrompt,
    grounding_similarity,
    prompt_rows,
    spatial_masks,
    spatial_prompt,
)
from promptseg.models.seem.variants import Variant

_LEAST = 1e-6
"""Stands for no overlap at all, so that its logarithm exists."""


def object_prompts(variant: Variant) -> tuple[str, ...]:
    """The fields of `ObjectPrompt` that a variant takes; only rows of their own remember the round before."""
    kinds = ("text", "points", "negative", "boxes", "strokes")
    return (*kinds, "previous") if variant.own_rows else kinds


def find_object(
    network: SeemNetwork, features: SeemFeatures, prompt: ObjectPrompt, token_ids: Tensor | None, seed: int
) -> Tensor:
    """Mask logits (1, 1, h, w) of one object on one image.

    What is pointed at is answered by the row that fits the points best, and the phrase, if there is one too, is
    heard by the rows; a phrase alone is answered by the row most like it. Where rows see no prompts, prompts
    choose among their masks.

    Args:
        network: the network.
        features: of one image.
        prompt: what to find; its text is in `token_ids`.
        token_ids: (1, L) or None.
        seed: of the draws of SEEM v1's queries, and of points where there are too many.
    """
    pointing = prompt.points or prompt.boxes or prompt.strokes
    spatial = _spatial(network, features, prompt, seed) if pointing else None
    grounding = None if token_ids is None else _grounding(network, token_ids)
    prompted = prompt_rows(network.decoder, features, spatial, grounding, listening=True)
    head = network.decoder(prompted.rows, features)[-1]
    maps = features.mask_features
    likeness = None
    if token_ids is not None:
        phrase = network.text.encode_tokens(token_ids)
        likeness = grounding_similarity(network.decoder, head, prompted.spans, phrase)[0, :, 0]
    if network.config.variant.sees_whom is None:
        return best_mask(mask_logits(head.mask_vectors, maps), features.canvas, prompt, likeness)
    if spatial is not None:
        return spatial_masks(network.decoder, head, prompted.spans, spatial, maps)
    assert likeness is not None, "the engine lets no empty prompt through"
    best = head.mask_vectors[:, prompted.spans["grounding"]][:, likeness.argmax()]
    return mask_logits(best[:, None], maps)


def _spatial(network: SeemNetwork, features: SeemFeatures, prompt: ObjectPrompt, seed: int) -> SpatialPrompt:
    device = features.mask_features.device
    inside, outside = (drawn.to(device) for drawn in prompt_masks(prompt, features.canvas))
    generator = torch.Generator(device).manual_seed(seed)
    return spatial_prompt(network.config, [inside], [outside], prompt.previous, generator)


def _grounding(network: SeemNetwork, token_ids: Tensor) -> GroundingPrompt:
    """The phrase's tokens from its begin to its end marker."""
    used = token_ids[:, : int(token_ids.argmax()) + 1]
    vectors = network.text.token_vectors(used)
    return GroundingPrompt(vectors, torch.ones(vectors.shape[:2], dtype=torch.bool, device=vectors.device))


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
