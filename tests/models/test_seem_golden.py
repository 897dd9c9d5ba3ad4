"""SEEM against the outputs of the official code: every stored tensor of every case found."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from golden import GoldenCase, canvas, error, golden_cases, load_case
from torch import Tensor
from torch.nn.functional import interpolate

from promptseg.models.seem.network.decoder import Head, mask_logits
from promptseg.models.seem.network.features import SeemFeatures
from promptseg.models.seem.network.seem_network import SeemNetwork
from promptseg.models.seem.pointing.prompt_rows import (
    GroundingPrompt,
    SpatialPrompt,
    grounding_similarity,
    point_features,
    prompt_rows,
    spatial_masks,
    spatial_prompt,
)

TOLERANCE = 1e-4
"""Of 1, or of the largest value of a tensor that has larger ones."""
PATTERNS = ("*__seg_*",)
PROMPT_PATTERNS = ("*__spatial_*", "*__grounding_*", "*__demo_*")
# Post-processing and the tokeniser have tests of their own.
ELSEWHERE = ("final/", "input/phrase_clip_token_ids", "input/phrase_attention_mask")


class Comparison:
    """A case whose tensors are all to be used: as inputs, or to compare with."""

    def __init__(self, case: GoldenCase) -> None:
        self.case = case
        self.left = {name for name in case.tensors if not name.startswith(ELSEWHERE)}

    def __contains__(self, name: str) -> bool:
        return name in self.case.tensors

    def given(self, name: str) -> Tensor:
        """An input."""
        self.left.discard(name)
        return self.case.tensors[name]

    def close(self, name: str, actual: Tensor) -> None:
        """Compare floating values, if the case stores them."""
        if name in self:
            assert error(actual, self.given(name)) <= TOLERANCE, name

    def equal(self, name: str, actual: Tensor) -> None:
        """Compare bits or whole numbers."""
        assert torch.equal(actual, self.given(name).to(actual.dtype)), name

    def finish(self) -> None:
        """Fail if something stored was never used."""
        assert not self.left, f"{self.case.name}: never compared: {sorted(self.left)}"


def _found(patterns: tuple[str, ...]) -> list[Path]:
    return [path for pattern in patterns for path in golden_cases(pattern)]


def _id(path: Path) -> str:
    return path.stem


def test_there_are_cases() -> None:
    assert _found(PATTERNS)


@pytest.mark.parametrize("path", _found(PATTERNS), ids=_id)
def test_object_queries(path: Path) -> None:
    compare = Comparison(load_case(path))
    network, _ = compare.case.network()
    features = _check_image_stages(compare, network)
    _check_heads(compare, network, network.decoder(prompt_rows(network.decoder, features).rows, features), features)
    queries = (network.decoder.query_feat.weight, network.decoder.query_embed.weight)
    answer = network.decode(features, *queries, compare.given("input/class_text_embeddings"))
    last = network.config.decoder_layers
    compare.close(f"decoder/{last}/logits", answer.class_logits)
    compare.close(f"decoder/{last}/masks", answer.mask_logits)
    compare.finish()


@pytest.mark.parametrize("path", _found(PROMPT_PATTERNS), ids=_id)
def test_prompts(path: Path) -> None:
    compare = Comparison(load_case(path))
    network, _ = compare.case.network()
    features = _check_image_stages(compare, network)
    rounds = ["iter0/", "iter1/"] if "iter0/decoder/0/logits" in compare else [""]
    previous = None
    for number, prefix in enumerate(rounds):
        spatial = _spatial(compare, network, number, previous)
        grounding = _grounding(compare)
        prompted = prompt_rows(network.decoder, features, spatial, grounding)
        heads = network.decoder(prompted.rows, features)
        _check_heads(compare, network, heads, features, prefix)
        if spatial is not None:
            previous = _check_spatial(compare, network, spatial, heads[-1], prompted.spans, features, prefix)
        if grounding is not None:
            _check_grounding(compare, network, heads[-1], prompted.spans, features)
    compare.finish()


def _check_image_stages(compare: Comparison, network: SeemNetwork) -> SeemFeatures:
    images = canvas(compare.case)
    for i in range(len(images)):
        compare.given(f"input/{i}/image")
    compare.close("stage/padded_normalized_image", images)
    maps = network.backbone(images)
    for i, level in enumerate(maps):
        compare.close(f"stage/backbone/res{i + 2}", level)
    pixels = network.sem_seg_head.pixel_decoder(maps)
    compare.close("stage/pixel_decoder/transformer_encoder_features", pixels.encoded)
    features = network.encode(images)
    compare.close("stage/pixel_decoder/mask_features", features.mask_features)
    for i in range(3):
        compare.close(f"stage/pixel_decoder/multi_scale/{i}", features.levels[i])
    return features


def _check_heads(
    compare: Comparison, network: SeemNetwork, heads: list[Head], features: SeemFeatures, prefix: str = ""
) -> None:
    text = compare.given("input/class_text_embeddings")
    for i, head in enumerate(heads):
        name = f"{prefix}decoder/{i}"
        compare.close(f"{name}/hidden_before_norm", head.hidden)
        compare.close(f"{name}/class_embed", network.decoder.captions(head))
        compare.close(f"{name}/logits", network.decoder.classify(head, text))
        compare.close(f"{name}/mask_embed", head.mask_vectors)
        compare.close(f"{name}/masks", mask_logits(head.mask_vectors, features.mask_features))
        blocked = head.blocked
        if network.config.variant.captioner and i + 1 < len(heads):
            # Stored as the next layer used them: rows blocked everywhere are opened already.
            blocked = blocked & ~blocked.all(dim=2, keepdim=True)
        compare.equal(f"{name}/attn_mask_raw", blocked)


def _spatial(compare: Comparison, network: SeemNetwork, number: int, previous: Tensor | None) -> SpatialPrompt | None:
    if "input/0/spatial_pos_mask" not in compare:
        return None
    count = len(compare.case.record["image_sizes_hw"])
    inside, outside = (
        [compare.given(f"input/{i}/spatial_{sign}_mask") for i in range(count)] for sign in ("pos", "neg")
    )
    prompt = spatial_prompt(network.config, inside, outside, previous)
    queries, memories = prompt.queries, prompt.memories
    if network.config.variant.draws_queries:
        queries = compare.given(f"input/iter{number}/spatial_query_object_indices").long().view(queries.shape)
        if previous is not None:
            memories = compare.given(f"input/iter{number}/memory_candidate_indices_per_layer").long()
    return replace(prompt, queries=queries, memories=memories)


def _grounding(compare: Comparison) -> GroundingPrompt | None:
    if "input/grounding_tokens" not in compare:
        return None
    tokens = compare.given("input/grounding_tokens").transpose(0, 1)
    return GroundingPrompt(tokens, ~compare.given("input/grounding_nonzero_mask"))


def _check_spatial(
    compare: Comparison,
    network: SeemNetwork,
    spatial: SpatialPrompt,
    head: Head,
    spans: dict[str, slice],
    features: SeemFeatures,
    prefix: str,
) -> Tensor:
    for sign in ("p", "n"):
        means = point_features(network.decoder, spatial, features.mask_features, sign == "p")
        compare.close(f"{prefix}decoder/pred_{sign}spatials", means)
    masks = spatial_masks(network.decoder, head, spans, spatial, features.mask_features)
    compare.close(f"{prefix}decoder/prev_mask", masks)
    return masks


def _check_grounding(
    compare: Comparison, network: SeemNetwork, head: Head, spans: dict[str, slice], features: SeemFeatures
) -> None:
    ids = compare.given("input/phrase_token_ids").long()
    phrases = network.text.encode_tokens(ids)
    compare.close("text/phrase_class_emb", phrases)
    compare.close("text/phrase_token_emb", network.text.token_vectors(ids))
    if "grounding/similarity" not in compare:
        return
    similarity = grounding_similarity(network.decoder, head, spans, phrases)[0]
    compare.close("grounding/similarity", similarity)
    best = similarity.argmax(dim=0)
    compare.equal("grounding/matched_query", best)
    masks = mask_logits(head.mask_vectors[:, spans["grounding"]][:, best], features.mask_features)
    if "grounding/mask_logits" in compare:
        compare.close("grounding/mask_logits", _resized(masks, compare.case)[0])


def _resized(masks: Tensor, case: GoldenCase) -> Tensor:
    """Masks at the output size."""
    (height, width), size = case.record["image_sizes_hw"][0], case.record["output_sizes_hw"][0]
    masks = interpolate(masks, scale_factor=4, mode="bilinear", align_corners=False)[..., :height, :width]
    return interpolate(masks, size=size, mode="bicubic", align_corners=False, antialias=True)
