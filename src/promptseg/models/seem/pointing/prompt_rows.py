"""Prompts that point (strokes, clicks, boxes as masks) and prompts that refer (phrases).

They are turned into rows and masks for the one decoder loop. Which rows answer, and what those see of the
prompt, is a matter of the network's `Variant`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from promptseg.models.seem.config import LEVELS, SeemConfig
from promptseg.models.seem.network.decoder import Head, SeemDecoder, mask_logits
from promptseg.models.seem.network.features import SeemFeatures
from promptseg.models.seem.network.rows import PADDING, Group, LayerRows, Rows, per_image, self_blocked
from promptseg.models.seem.network.text_encoder import normalise
from promptseg.models.seem.pointing.points import Points, points_from_masks
from promptseg.models.seem.variants import SeesWhom

_LARGEST_SCALE = 100.0
_ANSWERING = ("object", "grounding", "spatial")
"""Groups of rows that answer: to classes, to phrases, and to what is pointed at."""


@dataclass(frozen=True, eq=False)
class SpatialPrompt:
    """Candidate objects that are pointed at, and the draws their rows start from.

    Attributes:
        points: what is pointed at, on B images.
        queries: (C, q), the object query that each answering row of each candidate is, or is a copy of.
        previous: (B, C, h, w), mask logits of the round before, or None in the first round.
        memories: (L, S), the candidate of each memory row in each layer; read with `previous` only.
    """

    points: Points
    queries: Tensor
    previous: Tensor | None
    memories: Tensor


@dataclass(frozen=True, eq=False)
class GroundingPrompt:
    """Phrases, as the text encoder's vectors of their tokens.

    Attributes:
        tokens: (B, T, D), not normalised, from BOS to EOS; those of several phrases follow each other.
        present: (B, T), False where a shorter list is filled up.
    """

    tokens: Tensor
    present: Tensor


@dataclass(frozen=True, eq=False)
class PromptRows:
    """Rows for the decoder.

    Attributes:
        rows: all of them.
        spans: where each group of looking rows lies. Those that answer what is pointed at are called
            `spatial`, those that answer phrases `grounding`, be they rows of their own or the object queries.
    """

    rows: Rows
    spans: dict[str, slice]


def spatial_prompt(
    config: SeemConfig,
    positive: Sequence[Tensor],
    negative: Sequence[Tensor],
    previous: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> SpatialPrompt:
    """A spatial prompt with fresh draws.

    Args:
        config: of the network it is for.
        positive: for each of B images (C, H, W), bool, on the padded canvas; C is the same for all.
        negative: the same for what is not the object.
        previous: (B, C, h, w), mask logits of the round before.
        generator: source of the draws, on the masks' device.
    """
    device, candidates = positive[0].device, len(positive[0])
    memories = (config.decoder_layers, config.spatial_memories)
    points = points_from_masks(positive, negative, config.max_points, generator)
    if config.variant.draws_queries:
        drawn = (candidates, config.queries_per_candidate)
        queries = torch.randint(config.num_queries, drawn, generator=generator, device=device)
    else:
        queries = torch.arange(config.num_queries, device=device).expand(candidates, -1)
    owners = torch.randint(candidates, memories, generator=generator, device=device).sort(dim=1).values
    return SpatialPrompt(points, queries, previous, owners)


def prompt_rows(
    decoder: SeemDecoder,
    features: SeemFeatures,
    spatial: SpatialPrompt | None = None,
    grounding: GroundingPrompt | None = None,
    listening: bool = False,
) -> PromptRows:
    """Rows of all object queries and of the given prompts.

    Args:
        decoder: whose rows they are.
        features: as `SeemNetwork.encode` gives them.
        spatial: what is pointed at.
        grounding: what is named.
        listening: rows of `spatial` see the phrases too, where prompts have rows of their own.
    """
    batch, variant = len(features), decoder.variant
    queries = (decoder.query_feat.weight, decoder.query_embed.weight)
    looking = [("object", *queries)]
    sees_whom = variant.listening() if listening else variant.sees_whom
    if sees_whom is None:
        everyone = slice(0, len(queries[0]))
        return PromptRows(decoder.object_rows(*queries, batch), dict.fromkeys(_ANSWERING, everyone))
    if variant.own_rows:
        looking += _own_rows(decoder, spatial, grounding)
    counts = {name: len(states) for name, states, _ in looking}
    spans = _spans(counts)
    layers = [
        _layer(decoder, features, counts, sees_whom, layer, spatial, grounding)
        for layer in range(len(decoder.transformer_ffn_layers))
    ]
    rows = Rows(
        states=per_image(torch.cat([states for _, states, _ in looking]), batch),
        positions=per_image(torch.cat([positions for _, _, positions in looking]), batch),
        tokens=None if grounding is None else grounding.tokens,
        layers=layers,
    )
    return PromptRows(rows, spans if variant.own_rows else dict.fromkeys(_ANSWERING, spans["object"]))


def _own_rows(
    decoder: SeemDecoder, spatial: SpatialPrompt | None, grounding: GroundingPrompt | None
) -> list[tuple[str, Tensor, Tensor]]:
    """Name, start states and positions of the looking rows of each prompt."""
    states, positions = decoder.query_feat.weight, decoder.query_embed.weight
    looking = []
    if grounding is not None:
        looking.append(("grounding", states, positions))
    if spatial is not None:
        drawn = spatial.queries.flatten()
        looking.append(("spatial", states[drawn], positions[drawn]))
        if spatial.previous is not None:
            looking.append(("memories", decoder.spatial_featured.weight, decoder.spatial_embed.weight))
    return looking


def _spans(counts: Mapping[str, int]) -> dict[str, slice]:
    spans, start = {}, 0
    for name, count in counts.items():
        spans[name] = slice(start, start + count)
        start += count
    return spans


def _layer(
    decoder: SeemDecoder,
    features: SeemFeatures,
    counts: Mapping[str, int],
    sees_whom: SeesWhom,
    layer: int,
    spatial: SpatialPrompt | None,
    grounding: GroundingPrompt | None,
) -> LayerRows:
    batch, level = len(features), features.levels[layer % LEVELS]
    candidates = {}
    if spatial is not None and decoder.variant.own_rows:
        candidates = _row_candidates(spatial, layer, batch)
    groups = [Group(name, count, candidates.get(name)) for name, count in counts.items()]
    tokens = None
    if grounding is not None:
        groups.append(Group("grounding_tokens", grounding.tokens.shape[1], present=grounding.present))
    if spatial is not None:
        tokens = spatial_tokens(decoder, level, layer % LEVELS, spatial.points)
        owners = spatial.points.candidates
        groups.append(Group("spatial_tokens", tokens.shape[1], owners, present=owners != PADDING))
    remembered = None
    if "memories" in counts and spatial is not None and spatial.previous is not None:
        remembered = _memory_blocked(spatial.previous, spatial.memories[layer], level.shape[2:])
    return LayerRows(tokens, self_blocked(sees_whom, groups, batch, level.device), remembered)


def _row_candidates(spatial: SpatialPrompt, layer: int, batch: int) -> dict[str, Tensor]:
    numbers = torch.arange(len(spatial.queries), device=spatial.queries.device)
    own = numbers.repeat_interleave(spatial.queries.shape[1])
    return {"spatial": own.expand(batch, -1), "memories": spatial.memories[layer].expand(batch, -1)}


def spatial_tokens(decoder: SeemDecoder, level: Tensor, index: int, points: Points) -> Tensor:
    """Tokens (B, P, D) of points, from the decoder's map (B, D, h, w) of one level."""
    # Reading is linear and its weights add up to 1: first reading, then projecting gives the same from less.
    read = points.read(level) + decoder.level_embed.weight[index]
    signs = decoder.pn_indicator.weight[(~points.positive).long()]
    tokens: Tensor = read @ decoder.mask_sptial_embed[index] + signs
    return tokens


def _memory_blocked(previous: Tensor, candidates: Tensor, size: Sequence[int]) -> Tensor:
    resized = functional.interpolate(previous, size=tuple(size), mode="bilinear", align_corners=False)
    return (resized < 0).flatten(2)[:, candidates]


def point_features(decoder: SeemDecoder, spatial: SpatialPrompt, mask_features: Tensor, positive: bool) -> Tensor:
    """Mean of the mask features (B, C, M) over each candidate's points of one sign."""
    return spatial.points.means(mask_features, positive, len(spatial.queries), decoder.variant.no_points)


def spatial_masks(
    decoder: SeemDecoder, head: Head, spans: Mapping[str, slice], spatial: SpatialPrompt, mask_features: Tensor
) -> Tensor:
    """Mask logits (B, C, h, w): of each candidate's rows the one that fits its positive points best."""
    vectors = head.mask_vectors[:, spans["spatial"]]
    vectors = vectors.view(len(vectors), len(spatial.queries), -1, vectors.shape[2])
    wanted = point_features(decoder, spatial, mask_features, positive=True)
    best = (vectors @ wanted[:, :, :, None]).argmax(dim=2)[:, :, :, None]
    chosen = vectors.gather(2, best.expand(-1, -1, 1, vectors.shape[3]))[:, :, 0]
    return mask_logits(chosen, mask_features)


def grounding_similarity(decoder: SeemDecoder, head: Head, spans: Mapping[str, slice], phrases: Tensor) -> Tensor:
    """Similarity (B, N, T) of the rows that answer to pooled phrases (T, D_text); the largest one answers."""
    captions = normalise(decoder.captions(head)[:, spans["grounding"]])
    scale = decoder.lang_encoder.logit_scale.exp().clamp(max=_LARGEST_SCALE)
    similarity: Tensor = scale * functional.linear(captions, normalise(phrases))
    return similarity
