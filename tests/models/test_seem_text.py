"""The text encoder against the official code's outputs, and the ways into it."""

import os

import pytest
import torch
from golden import GoldenCase, error, golden_cases, load_case
from tiny import CONFIG, TOKENIZER, tiny_network

from promptseg.models.seem.network.text_encoder import TextEncoder, normalise
from promptseg.models.tokenizer import Tokenizer

TOLERANCE = 1e-4
CASES = golden_cases("focaldw_v1__text")


@pytest.fixture(scope="module")
def case() -> GoldenCase:
    if not CASES:
        assert "PROMPTSEG_GOLDEN" not in os.environ, "no text case in the folders that PROMPTSEG_GOLDEN names"
        pytest.skip("no golden text case here: set PROMPTSEG_GOLDEN")
    return load_case(CASES[0])


@pytest.fixture(scope="module")
def golden_text(case) -> TextEncoder:
    return case.network()[0].text


@pytest.fixture(scope="module")
def tiny_text() -> TextEncoder:
    return tiny_network().text.requires_grad_(False)


@pytest.fixture(scope="module")
def ids() -> torch.Tensor:
    return Tokenizer.from_file(TOKENIZER).encode(["road", "a photo of a traffic light."], CONFIG.text.context)


def test_vectors_of_names_are_the_official_ones(case, golden_text):
    ids = case.tensors["input/name_token_ids"].long()
    pooled, tokens = golden_text.encode_tokens(ids), golden_text.token_vectors(ids)
    assert error(pooled, case.tensors["text/name_class_emb"]) < TOLERANCE
    assert error(normalise(pooled), case.tensors["text/name_class_emb_normed"]) < TOLERANCE
    assert error(tokens, case.tensors["text/name_token_emb"]) < TOLERANCE
    assert error(normalise(tokens), case.tensors["text/name_token_emb_normed"]) < TOLERANCE


def test_pooled_template_vectors_are_the_official_ones(case, golden_text):
    ids = case.tensors["input/template_token_ids"].long()
    pooled = normalise(golden_text.encode_tokens(ids.flatten(0, 1))).view(*ids.shape[:2], -1)
    assert error(pooled, case.tensors["text/template_pooled_normed"]) < TOLERANCE


def test_logit_scale_starts_at_clips_temperature():
    assert TextEncoder(CONFIG).logit_scale.exp().item() == pytest.approx(1 / 0.07, rel=1e-5)


def test_pooled_vector_is_the_token_vector_at_the_first_eos(tiny_text, ids):
    pooled, tokens = tiny_text.encode_tokens(ids), tiny_text.token_vectors(ids)
    first = [row.index(1023) for row in ids.tolist()]
    assert first[0] != first[1]
    torch.testing.assert_close(pooled, torch.stack([tokens[i, p] for i, p in enumerate(first)]))


def test_what_follows_eos_has_no_influence(tiny_text, ids):
    changed = ids.clone()
    changed[0, 5:] = 7
    torch.testing.assert_close(tiny_text.encode_tokens(changed)[0], tiny_text.encode_tokens(ids)[0])
    earlier = ids.clone()
    earlier[1, 3] = 7
    assert not torch.allclose(tiny_text.encode_tokens(earlier)[1], tiny_text.encode_tokens(ids)[1], atol=1e-3)


def test_embedded_way_in_gives_the_same_and_takes_gradients(tiny_text, ids):
    embedded = tiny_text.embed_tokens(ids).requires_grad_(True)
    eos = ids.argmax(dim=1)
    pooled = tiny_text.encode_embedded(embedded, eos)
    torch.testing.assert_close(pooled, tiny_text.encode_tokens(ids))
    (gradient,) = torch.autograd.grad(pooled.square().sum(), embedded)
    for row, end in enumerate(eos.tolist()):
        per_token = gradient[row].abs().sum(dim=1)
        assert bool((per_token[: end + 1] > 0).all()) and bool((per_token[end + 1 :] == 0).all())


def test_norms_are_computed_in_float32_under_half_weights(tiny_text, ids):
    half = TextEncoder(CONFIG).eval().requires_grad_(False)
    half.load_state_dict(tiny_text.state_dict())
    half = half.bfloat16()
    seen = []
    half.lang_encoder.ln_final.register_forward_hook(lambda module, inputs, output: seen.append((inputs[0], output)))
    half.token_vectors(ids)
    ((given, normed),) = seen
    norm = half.lang_encoder.ln_final
    wide = given.float()
    centred = wide - wide.mean(dim=-1, keepdim=True)
    expected = centred / centred.square().mean(dim=-1, keepdim=True).sqrt() * norm.weight.float() + norm.bias.float()
    torch.testing.assert_close(normed, expected.bfloat16())


def test_last_norm_undoes_any_scale_of_its_input(ids):
    text = tiny_network().text.requires_grad_(False)
    for block in text.lang_encoder.resblocks:  # silence the branches, so that the last norm sees the embeddings
        for linear in (block.attn.out_proj, block.mlp.c_proj):
            linear.weight.zero_(), linear.bias.zero_()
    expected = text.token_vectors(ids)
    text.lang_encoder.positional_embedding.mul_(1e-2)
    text.lang_encoder.token_embedding.weight.mul_(1e-2)
    torch.testing.assert_close(text.token_vectors(ids), expected, rtol=1e-3, atol=1e-3)


def test_normalise_divides_by_the_length_plus_a_little():
    torch.testing.assert_close(normalise(torch.tensor([[3.0, 4.0]])), torch.tensor([[0.6, 0.8]]))
    assert torch.equal(normalise(torch.zeros(2, 3)), torch.zeros(2, 3))
    assert normalise(torch.tensor([[1e-7, 0.0]]))[0, 0].item() == pytest.approx(0.5)
