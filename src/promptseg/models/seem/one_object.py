"""One object that is pointed at or named: from places and words to the mask of the row that answers best."""

import torch
from torch import Tensor

from promptseg.models.base import ImageFeatures
from promptseg.models.capabilities import ObjectPrompt
from promptseg.models.seem.choose import best_mask
from promptseg.models.seem.config import SeemConfig
from promptseg.models.seem.decoder import mask_logits
from promptseg.models.seem.drawing import prompt_masks
from promptseg.models.seem.interactive import (
    GroundingPrompt,
    SpatialPrompt,
    grounding_similarity,
    prompt_rows,
    spatial_masks,
    spatial_prompt,
)
from promptseg.models.seem.network import SeemNetwork


def object_prompts(config: SeemConfig) -> tuple[str, ...]:
    """The fields of `ObjectPrompt` that a network takes; only rows of their own remember the round before."""
    kinds = ("text", "points", "negative", "boxes", "strokes")
    return (*kinds, "previous") if config.prompting in ("candidates", "copies") else kinds


def find_object(
    network: SeemNetwork, features: ImageFeatures, prompt: ObjectPrompt, token_ids: Tensor | None, seed: int
) -> Tensor:
    """Mask logits (1, 1, h, w) of one object on one image.

    What is pointed at is answered by the row that fits the points best, and the phrase, if there is one too, is
    heard by the rows; a phrase alone is answered by the row most like it. Where rows see no prompts, prompts
    choose among their masks (models/seem/choose.py).

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
    prompted = prompt_rows(network.decoder, features.tensors, spatial, grounding, listening=True)
    head = network.decoder(prompted.rows, features.tensors)[-1]
    maps = features.tensors["mask_features"]
    likeness = None
    if token_ids is not None:
        phrase = network.text.encode_tokens(token_ids)
        likeness = grounding_similarity(network.decoder, head, prompted.spans, phrase)[0, :, 0]
    if network.config.prompting == "choose":
        return best_mask(mask_logits(head.mask_vectors, maps), features.canvas, prompt, likeness)
    if spatial is not None:
        return spatial_masks(network.decoder, head, prompted.spans, spatial, maps)
    assert likeness is not None, "the engine lets no empty prompt through"
    best = head.mask_vectors[:, prompted.spans["grounding"]][:, likeness.argmax()]
    return mask_logits(best[:, None], maps)


def _spatial(network: SeemNetwork, features: ImageFeatures, prompt: ObjectPrompt, seed: int) -> SpatialPrompt:
    device = features.tensors["mask_features"].device
    inside, outside = (drawn.to(device) for drawn in prompt_masks(prompt, features.canvas))
    generator = torch.Generator(device).manual_seed(seed)
    return spatial_prompt(network.config, [inside], [outside], prompt.previous, generator)


def _grounding(network: SeemNetwork, token_ids: Tensor) -> GroundingPrompt:
    """The phrase's tokens from its begin to its end marker."""
    used = token_ids[:, : int(token_ids.argmax()) + 1]
    vectors = network.text.token_vectors(used)
    return GroundingPrompt(vectors, torch.ones(vectors.shape[:2], dtype=torch.bool, device=vectors.device))
