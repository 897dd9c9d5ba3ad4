"""What must hold for any weights of a SEEM network: shapes, gradients, independence, and refusals."""

import json
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from promptseg.errors import PromptsegError
from promptseg.models.seem.backbones import FocalConfig
from promptseg.models.seem.config import NAMED, SeemConfig, TextConfig
from promptseg.models.seem.network.attention import MultiHeadAttention
from promptseg.models.seem.network.features import SeemFeatures
from promptseg.models.seem.network.rows import PADDING, Group, self_blocked
from promptseg.models.seem.network.seem_network import SeemNetwork
from promptseg.models.seem.pointing.points import points_from_masks
from promptseg.models.seem.pointing.prompt_rows import (
    GroundingPrompt,
    SpatialPrompt,
    grounding_similarity,
    prompt_rows,
    spatial_masks,
    spatial_prompt,
)
from promptseg.models.seem.variants import CLASSES_ONLY, DEMO, V1, VARIANTS, X_DECODER

TINY = SeemConfig(
    backbone=FocalConfig("focal_dw", 8, (1, 1, 1, 1), (2, 2, 2, 2)),
    text=TextConfig(width=16, heads=2, layers=1, context=6, vocab=20),
    hidden_dim=32,
    mask_dim=24,
    text_dim=32,
    num_queries=12,
    heads=4,
    ffn_dim=48,
    encoder_layers=1,
    decoder_layers=4,
    norm_groups=8,
    spatial_memories=5,
)

FOCAL = TINY.to_json()["backbone"]


@pytest.fixture(scope="module")
def network() -> SeemNetwork:
    torch.manual_seed(0)
    return SeemNetwork(TINY).eval().requires_grad_(False).double()


@pytest.fixture(scope="module")
def features(network: SeemNetwork) -> SeemFeatures:
    return network.encode(torch.randn(2, 3, 64, 96, generator=_seed(1)).double())


def _seed(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def _prompts(network: SeemNetwork) -> tuple[Tensor, Tensor, Tensor]:
    text = normalize(torch.randn(5, TINY.text_dim, generator=_seed(2)).double(), dim=1)
    return network.decoder.query_feat.weight, network.decoder.query_embed.weight, text


def _some_masks(seed: int) -> Tensor:
    return torch.rand(2, 64, 96, generator=_seed(seed)) < 0.003


def test_features_have_the_promised_names_and_shapes(features: SeemFeatures) -> None:
    sizes = {"0": (2, 3), "1": (4, 6), "2": (8, 12)}
    wanted = {"mask_features": (2, 24, 16, 24)}
    wanted |= {f"levels.{i}": (2, 32, *size) for i, size in sizes.items()}
    wanted |= {f"shrunk.{i}": (2, 24, *size) for i, size in sizes.items()}
    assert {name: tuple(tensor.shape) for name, tensor in features.tensors().items()} == wanted


def test_images_do_not_influence_each_other(network: SeemNetwork, features: SeemFeatures) -> None:
    images = torch.randn(2, 3, 64, 96, generator=_seed(1)).double()
    alone = network.encode(images[1:])
    both = network.decode(features, *_prompts(network))
    single = network.decode(alone, *_prompts(network))
    torch.testing.assert_close(both.class_logits[1:], single.class_logits)
    torch.testing.assert_close(both.mask_logits[1:], single.mask_logits)


def test_prompts_may_differ_by_image(network: SeemNetwork, features: SeemFeatures) -> None:
    queries, positions, text = _prompts(network)
    first = network.decode(features, queries, positions, text)
    other = network.decode(features, queries.flip(1), positions, text)
    mixed = network.decode(features, torch.stack((queries, queries.flip(1))), positions, text)
    torch.testing.assert_close(mixed.mask_logits[0], first.mask_logits[0])
    torch.testing.assert_close(mixed.mask_logits[1], other.mask_logits[1])


def test_order_of_queries_does_not_matter(network: SeemNetwork, features: SeemFeatures) -> None:
    queries, positions, text = _prompts(network)
    order = torch.randperm(TINY.num_queries, generator=_seed(3))
    plain = network.decode(features, queries, positions, text)
    shuffled = network.decode(features, queries[order], positions[order], text)
    torch.testing.assert_close(shuffled.class_logits, plain.class_logits[:, order])


def test_all_heads_end_with_the_last_one(network: SeemNetwork, features: SeemFeatures) -> None:
    heads = network.decode_all(features, *_prompts(network))
    last = network.decode(features, *_prompts(network))
    assert len(heads) == TINY.decoder_layers + 1
    assert heads[0].mask_logits.shape == (2, TINY.num_queries, 16, 24)
    torch.testing.assert_close(heads[-1].class_logits, last.class_logits)
    torch.testing.assert_close(heads[-1].mask_logits, last.mask_logits)


@pytest.mark.parametrize("all_heads", [False, True])
def test_gradients_to_prompts_match_differences(network: SeemNetwork, features: SeemFeatures, all_heads: bool) -> None:
    def value(*prompts: Tensor) -> Tensor:
        heads = network.decode_all(features, *prompts) if all_heads else [network.decode(features, *prompts)]
        return torch.stack([head.class_logits.sin().sum() + head.mask_logits.sin().sum() for head in heads]).sum()

    prompts = tuple(part.clone().requires_grad_() for part in _prompts(network))
    gradients = torch.autograd.grad(value(*prompts), prompts)
    for i, gradient in enumerate(gradients):
        way = torch.randn(prompts[i].shape, generator=_seed(4)).double()
        ends = [value(*(p + s * 1e-6 * way if i == j else p for j, p in enumerate(prompts))) for s in (1, -1)]
        torch.testing.assert_close((gradient * way).sum(), (ends[0] - ends[1]) / 2e-6, rtol=1e-5, atol=1e-5)


def test_training_reaches_every_parameter() -> None:
    torch.manual_seed(0)
    network = SeemNetwork(TINY)
    features = network.encode(torch.randn(1, 3, 64, 64))
    ids = torch.randint(1, TINY.text.vocab, (3, TINY.text.context))
    masks = torch.rand(2, 64, 64) < 0.01
    prompt = spatial_prompt(TINY, [masks], [masks.flip(1)], torch.randn(1, 2, 16, 16))
    heads = network.decoder(prompt_rows(network.decoder, features, prompt).rows, features)
    losses = [network.decoder.classify(head, network.text.encode_tokens(ids)).square().mean() for head in heads]
    losses += [(head.mask_vectors @ features.mask_features.flatten(2)).square().mean() for head in heads]
    torch.stack(losses).sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_unpadded_images_are_refused(network: SeemNetwork) -> None:
    with pytest.raises(PromptsegError, match="64 x 100: pad both sides to multiples of 32"):
        network.encode(torch.zeros(1, 3, 64, 100).double())


def test_attention_is_the_library_s_and_empty_rows_take_nothing() -> None:
    ours, theirs = MultiHeadAttention(16, 4), nn.MultiheadAttention(16, 4, batch_first=True)
    theirs.load_state_dict(ours.state_dict())
    query, key, value = (torch.randn(2, n, 16, generator=_seed(n)) for n in (5, 7, 7))
    blocked = torch.rand(2, 5, 7, generator=_seed(0)) < 0.5
    blocked[0, 0], blocked[0, 1] = False, True
    expected = theirs(query, key, value, attn_mask=blocked.repeat_interleave(4, 0))[0]
    expected[blocked.all(dim=2)] = ours.out_proj.bias
    torch.testing.assert_close(ours(query, key, value, blocked), expected)


def test_object_queries_do_not_see_prompts(network: SeemNetwork, features: SeemFeatures) -> None:
    plain = network.decoder(prompt_rows(network.decoder, features).rows, features)[-1]
    prompted = prompt_rows(network.decoder, features, _spatial(previous=True), _grounding())
    head = network.decoder(prompted.rows, features)[-1]
    assert list(prompted.spans) == ["object", "grounding", "spatial", "memories"]
    torch.testing.assert_close(head.hidden[:, prompted.spans["object"]], plain.hidden)


def test_object_queries_of_the_demo_see_prompts_and_answer_them(features: SeemFeatures) -> None:
    torch.manual_seed(0)
    demo = SeemNetwork(replace(TINY, variant=DEMO)).eval().requires_grad_(False).double()
    plain = demo.decoder(prompt_rows(demo.decoder, features).rows, features)[-1].hidden
    everyone = slice(0, TINY.num_queries)
    for spatial, grounding in ((_spatial(previous=False), None), (None, _grounding())):
        prompted = prompt_rows(demo.decoder, features, spatial, grounding)
        assert prompted.spans["spatial"] == prompted.spans["grounding"] == everyone
        hidden = demo.decoder(prompted.rows, features)[-1].hidden
        assert hidden.shape == plain.shape and not torch.allclose(hidden, plain, atol=1e-3)


def test_queries_that_only_get_chosen_see_no_prompt(network: SeemNetwork, features: SeemFeatures) -> None:
    chooser = SeemNetwork(replace(TINY, variant=CLASSES_ONLY)).eval().requires_grad_(False).double()
    chooser.load_state_dict(network.state_dict())
    prompted = prompt_rows(chooser.decoder, features, _spatial(previous=True), _grounding())
    plain = network.decode(features, *_prompts(network))
    answer = chooser.decoder(prompted.rows, features)[-1]
    torch.testing.assert_close(answer.mask_vectors @ features.mask_features.flatten(2), plain.mask_logits.flatten(2))


@pytest.fixture(scope="module")
def x_decoder() -> SeemNetwork:
    torch.manual_seed(0)
    return SeemNetwork(replace(TINY, variant=X_DECODER)).eval().requires_grad_(False).double()


def test_the_image_query_keeps_apart_and_sums_the_others_up(x_decoder: SeemNetwork) -> None:
    features = x_decoder.encode(torch.randn(1, 3, 64, 96, generator=_seed(1)).double())
    queries, positions, _ = _prompts(x_decoder)
    heads = []
    for states in (queries, torch.cat((queries[:-1], -queries[-1:]))):
        heads.append(x_decoder.decoder(x_decoder.decoder.object_rows(states, positions, 1), features)[-1])
    torch.testing.assert_close(heads[0].hidden[:, :-1], heads[1].hidden[:, :-1])
    assert not torch.allclose(heads[0].hidden[:, -1], heads[1].hidden[:, -1])
    others, last = heads[0].normed[0, :-1], x_decoder.decoder.decoder_norm(heads[0].hidden)[0, -1]
    weights = torch.cosine_similarity(others, last[None], dim=1).softmax(dim=0)
    torch.testing.assert_close(heads[0].normed[0, -1], weights @ others)


def test_captioning_mask_is_the_official_one(x_decoder: SeemNetwork) -> None:
    """Queries see queries only, the last one itself only; a caption's word sees all queries and the words before it."""
    blocked, queries = x_decoder.decoder.self_attn_mask[0], TINY.num_queries
    for row in range(len(blocked)):
        for column in range(len(blocked)):
            if row < queries and column < queries:
                seen = (row == queries - 1) == (column == queries - 1)
            else:
                seen = row >= queries and column <= row
            assert bool(blocked[row, column]) is not seen


def test_candidates_do_not_see_each_other(network: SeemNetwork, features: SeemFeatures) -> None:
    prompt = _spatial(previous=True)
    moved = _some_masks(9)
    moved[0] = _some_masks(5)[0]
    points = points_from_masks([moved] * 2, [_some_masks(6)] * 2, TINY.max_points)
    other = replace(prompt, points=points)
    masks = [
        spatial_masks(network.decoder, network.decoder(p.rows, features)[-1], p.spans, s, features.mask_features)
        for s in (prompt, other)
        for p in [prompt_rows(network.decoder, features, s)]
    ]
    torch.testing.assert_close(masks[0][:, 0], masks[1][:, 0])
    assert not torch.allclose(masks[0][:, 1], masks[1][:, 1])


def test_padding_a_batch_changes_nothing(network: SeemNetwork, features: SeemFeatures) -> None:
    few, many = _some_masks(5), torch.rand(2, 64, 96, generator=_seed(7)) < 0.02
    first = features[:1]
    tokens = torch.randn(2, 4, TINY.text_dim, generator=_seed(8)).double()
    shorter = torch.tensor([[True, True, False, False], [True] * 4])
    results = []
    for images, feats in ((1, first), (2, features)):
        spatial = spatial_prompt(TINY, [few, many][:images], [many, few][:images], generator=_seed(0))
        length = 2 if images == 1 else 4
        grounding = GroundingPrompt(tokens[:images, :length], shorter[:images, :length])
        prompted = prompt_rows(network.decoder, feats, spatial, grounding)
        results.append(network.decoder(prompted.rows, feats)[-1].hidden[0])
    torch.testing.assert_close(results[0], results[1])


def _spatial(previous: bool) -> SpatialPrompt:
    before = torch.randn(2, 2, 16, 24, generator=_seed(10)).double() if previous else None
    return spatial_prompt(TINY, [_some_masks(5)] * 2, [_some_masks(6)] * 2, before, _seed(11))


def _grounding() -> GroundingPrompt:
    tokens = torch.randn(2, 4, TINY.text_dim, generator=_seed(12)).double()
    return GroundingPrompt(tokens, torch.ones(2, 4, dtype=torch.bool))


def test_grounding_similarity_is_a_cosine_times_at_most_100(features: SeemFeatures) -> None:
    torch.manual_seed(0)
    network = SeemNetwork(TINY).eval().requires_grad_(False).double()
    prompted = prompt_rows(network.decoder, features, grounding=_grounding())
    head = network.decoder(prompted.rows, features)[-1]
    phrases = torch.randn(3, TINY.text_dim, generator=_seed(13)).double()
    captions = network.decoder.captions(head)[:, prompted.spans["grounding"]]
    cosine = torch.cosine_similarity(captions[:, :, None], phrases[None, None], dim=3)
    for scale, effective in ((20.0, 20.0), (500.0, 100.0)):
        network.text.logit_scale.fill_(scale).log_()
        similarity = grounding_similarity(network.decoder, head, prompted.spans, phrases)
        torch.testing.assert_close(similarity, effective * cosine, rtol=1e-5, atol=1e-5)


def test_draws_are_repeatable_and_in_range() -> None:
    prompts = [_spatial(previous=True) for _ in range(2)]
    assert torch.equal(prompts[0].queries, prompts[1].queries)
    assert prompts[0].queries.shape == (2, 3) and int(prompts[0].queries.max()) < TINY.num_queries
    assert prompts[0].memories.shape == (4, 5) and set(prompts[0].memories.unique().tolist()) <= {0, 1}
    assert torch.equal(prompts[0].memories, prompts[0].memories.sort(dim=1).values)


def test_points_are_fractions_of_the_canvas_in_reading_order() -> None:
    mask = torch.zeros(2, 4, 8, dtype=torch.bool)
    mask[0, 3, 2] = mask[0, 1, 6] = mask[1, 0, 0] = True
    points = points_from_masks([mask, ~torch.ones_like(mask)], [~torch.ones_like(mask)] * 2, limit=9)
    assert points.places[0].tolist() == [[0.25, 0.75], [0.75, 0.25], [0.0, 0.0]]
    assert points.candidates.tolist() == [[0, 0, 1], [PADDING] * 3]
    assert points.positive.tolist() == [[True] * 3, [False] * 3]


def test_too_many_points_are_drawn_with_equal_shares() -> None:
    mask = torch.zeros(2, 64, 64, dtype=torch.bool)
    mask[0] = True
    mask[1, :16, :32] = True
    points = points_from_masks([mask], [torch.zeros_like(mask)], 400, _seed(0))
    assert points.candidates.shape == (1, 400) and len(points.places[0].unique(dim=0)) > 300
    assert torch.equal(points.candidates, points.candidates.sort(dim=1).values)
    assert 120 < int(points.candidates.sum()) < 280


def test_means_without_points_are_what_is_asked_for() -> None:
    mask = torch.zeros(2, 8, 8, dtype=torch.bool)
    mask[1, 2:6, 2:6] = True
    points = points_from_masks([mask], [torch.zeros_like(mask)], 99)
    maps = torch.full((1, 3, 2, 2), 7.0)
    assert points.means(maps, True, 2, nothing=-1.0)[0].tolist() == [[-1.0] * 3, [7.0] * 3]
    assert points.means(maps, False, 2, nothing=0.0).eq(0).all()


@pytest.mark.parametrize("table", [V1.sees_whom, V1.listening(), DEMO.sees_whom], ids=["own", "listening", "shared"])
def test_self_attention_follows_the_table(table: dict[str, tuple[str, ...]]) -> None:
    numbers = {"spatial": [0, 0, 1], "memories": [1, 1, 0], "spatial_tokens": [0, 1, PADDING]}
    present = torch.tensor([[True, True, False]])
    groups = [
        Group(name, 3, torch.tensor([numbers[name]]) if name in numbers else None, present if "ng_t" in name else None)
        for name in table
    ]
    blocked = self_blocked(table, groups, 1, torch.device("cpu"))[0]
    names = [name for name in table for _ in range(3)]
    for row, looking in enumerate(names):
        for column, seen in enumerate(names):
            allowed = seen in table[looking]
            if looking in numbers and seen in numbers:
                allowed &= numbers[looking][row % 3] == numbers[seen][column % 3]
            for name, at in ((looking, row), (seen, column)):
                allowed &= not (name == "grounding_tokens" and at % 3 == 2)
            assert bool(blocked[row, column]) is not allowed, (looking, row % 3, seen, column % 3)


@pytest.mark.parametrize("name", sorted(NAMED))
def test_configs_survive_json(name: str) -> None:
    assert SeemConfig.from_json(json.loads(json.dumps(NAMED[name].to_json()))) == NAMED[name]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": None}, "lacks the field heads"),
        ({"depth": 3}, "unknown field in config 'depth'"),
        ({"heads": "8"}, "config.heads is '8', expected a whole number"),
        ({"heads": 0}, "config.heads is 0, expected a whole number from 1 to 100000"),
        ({"variant": "v2"}, f"unknown variant of SEEM 'v2': choose one of {', '.join(sorted(VARIANTS))}"),
        ({"text_dim": 16}, "text_dim 16 is not hidden_dim 32: variant v1 puts words among the queries"),
        ({"heads": 7}, "hidden_dim 32 is not a multiple of 7"),
        ({"text": []}, r"config.text is \[\], expected a JSON object"),
        ({"backbone": FOCAL | {"kind": "vit"}}, "backbone 'vit'"),
        ({"backbone": FOCAL | {"focal_windows": [3, 4, 3, 3]}}, "4 is even, expected odd kernels"),
        ({"backbone": FOCAL | {"mlp_ratio": 0}}, "config.backbone.mlp_ratio is 0, expected a number above 0"),
        ({"backbone": FOCAL | {"depths": [1, 1]}}, r"depths \[1, 1\]"),
        ({"backbone": FOCAL | {"depths": 1}}, "expected a list"),
    ],
)
def test_bad_configs_are_refused_in_one_line(change: dict[str, object], message: str) -> None:
    content = {name: value for name, value in (TINY.to_json() | change).items() if value is not None}
    with pytest.raises(PromptsegError, match=message) as caught:
        SeemConfig.from_json(content)
    assert "\n" not in str(caught.value)
