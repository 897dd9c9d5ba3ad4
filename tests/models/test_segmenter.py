"""`SeemSegmenter` behind the interface of models/base.py."""

import math
import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from golden import GoldenCase, error, golden_cases, load_case
from model_contract import default_prompts, space
from PIL import Image
from tiny import DIM, NUM_PROMPTS, TEXT_DIM, TOKENIZER, VERSIONS, tiny_network, tiny_segmenter

from promptseg.errors import PromptsegError
from promptseg.features.encode import image_tensor
from promptseg.models.base import ImageFeatures
from promptseg.models.registry import load_model
from promptseg.models.seem.config import NAMED
from promptseg.models.seem.segmenter import SeemSegmenter
from promptseg.models.tokenizer import Tokenizer
from promptseg.prompts import Prompts

TOLERANCE = 1e-4
NAMES = ("road", "traffic light", "sky")


@pytest.fixture(scope="module")
def segmenter() -> SeemSegmenter:
    return tiny_segmenter()


@pytest.fixture(scope="module")
def features(segmenter) -> ImageFeatures:
    return segmenter.encode_image([image(64, 96), image(50, 70, seed=1)])


def image(height: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def golden_case(name: str) -> GoldenCase:
    cases = golden_cases(name)
    if not cases:
        assert "PROMPTSEG_GOLDEN" not in os.environ, f"{name} is not in the folders that PROMPTSEG_GOLDEN names"
        pytest.skip(f"no golden case {name} here: set PROMPTSEG_GOLDEN")
    return load_case(cases[0])


@pytest.mark.parametrize("name", ["focaldw_v1__seg_batch2", "focaldw_v1__seg_odd", "focal_v0__seg_odd"])
def test_images_to_logits_are_the_official_ones(name):
    case = golden_case(name)
    network, _ = case.network()
    segmenter = SeemSegmenter(network, None, "golden")
    batch = sum(key.endswith("/image") for key in case.tensors)
    images = [case.tensors[f"input/{index}/image"] for index in range(batch)]
    features = segmenter.encode_image(images)
    assert features.canvas == tuple(case.tensors["stage/padded_normalized_image"].shape[2:])
    assert features.image_sizes == tuple(tuple(image.shape[1:]) for image in images)
    expected = case.tensors["stage/pixel_decoder/mask_features"]
    assert error(features.mask_features, expected) < TOLERANCE
    texts = case.tensors["input/class_text_embeddings"]
    kinds = segmenter.default_spatial_prompts() | {"semantic": texts[:-1], "background": texts[-1:]}
    prompts = Prompts(segmenter.prompt_spec, kinds, {}, space(tuple(map(str, range(len(texts) - 1)))), "", "")
    prediction = segmenter.decode(features, prompts)
    last = f"decoder/{network.config.decoder_layers}"
    queries = network.config.num_queries
    assert error(prediction.class_logits, case.tensors[f"{last}/logits"][:, :queries]) < TOLERANCE
    assert error(prediction.mask_logits, case.tensors[f"{last}/masks"][:, :queries]) < TOLERANCE


class GoldenIds:
    """Stands for a tokenizer of the golden model's cut-down vocabulary."""

    def __init__(self, ids: torch.Tensor, texts: int) -> None:
        self.ids, self.texts = ids.long(), texts

    def encode(self, texts, context_length):
        assert len(texts) == self.texts and context_length == self.ids.shape[1]
        return self.ids


def test_class_embeddings_are_the_official_ones():
    case = golden_case("focaldw_v1__text")
    ids, names = case.tensors["input/template_token_ids"], case.record["class_names"]
    segmenter = SeemSegmenter(case.network()[0], GoldenIds(ids.flatten(0, 1), 81 * len(names)), "golden")
    actual = segmenter.encode_text(names, "official")
    assert error(actual, case.tensors["text/class_embeddings_template_mean"]) < TOLERANCE


def test_it_says_what_it_is(segmenter):
    assert segmenter.id == "tiny-0"
    assert segmenter.device == torch.device("cpu")
    assert (segmenter.num_prompts, segmenter.dim) == (NUM_PROMPTS, DIM)
    assert segmenter.fingerprint == tiny_segmenter().fingerprint != tiny_segmenter(seed=1).fingerprint


def test_every_weight_is_frozen_and_live(segmenter):
    weights = segmenter.parameter_tensors()
    assert weights.keys() == dict(tiny_network().named_parameters()).keys()
    assert not any(weight.requires_grad for weight in weights.values())
    assert not any(part.training for part in segmenter.network.modules())
    name = "sem_seg_head.predictor.class_embed"
    assert weights[name].data_ptr() == segmenter.network.state_dict()[name].data_ptr()


def test_images_of_unlike_size_share_a_padded_canvas(segmenter, features):
    assert features.canvas == (64, 96) and features.image_sizes == ((64, 96), (50, 70))
    assert all(len(tensor) == 2 for tensor in features.tensors().values())


def test_padding_is_the_mean_colour(segmenter):
    """A picture padded by the segmenter equals one padded with the mean beforehand."""
    small = image(50, 70).float()
    mean = torch.tensor([123.675, 116.280, 103.530])[:, None, None]
    framed = mean.expand(3, 64, 96).clone()
    framed[:, :50, :70] = small
    ours, by_hand = segmenter.encode_image([small]), segmenter.encode_image([framed])
    assert ours.image_sizes == ((50, 70),) and by_hand.image_sizes == ((64, 96),)
    torch.testing.assert_close(ours.tensors(), by_hand.tensors(), rtol=1e-4, atol=1e-4)


def test_dtype_and_container_of_images_do_not_matter(segmenter):
    first, second = image(64, 64), image(64, 64, seed=1)
    listed = segmenter.encode_image([first, second]).tensors()
    stacked = segmenter.encode_image(torch.stack((first, second)).double()).tensors()
    torch.testing.assert_close(listed, stacked)


@pytest.mark.parametrize("bad", [[], [torch.zeros(64, 64, 3)], [torch.zeros(1, 3, 64, 64)]])
def test_other_images_are_refused(segmenter, bad):
    with pytest.raises(PromptsegError, match=r"expected .*\(3, H, W\)"):
        segmenter.encode_image(bad)


def test_default_prompts_give_the_network_as_it_is(segmenter, features):
    prompts = default_prompts(segmenter)
    prediction = segmenter.decode(features, prompts)
    decoder = segmenter.network.decoder
    text = torch.cat((prompts.kinds["semantic"], prompts.kinds["background"]))
    expected = segmenter.network.decode(features, decoder.query_feat.weight, decoder.query_embed.weight, text)
    assert prediction.class_logits.shape == (2, NUM_PROMPTS + 1, len(NAMES) + 1)
    assert prediction.mask_logits.shape == (2, NUM_PROMPTS + 1, 16, 24)
    assert torch.equal(prediction.class_logits, expected.class_logits)
    assert torch.equal(prediction.mask_logits, expected.mask_logits)
    assert (prediction.canvas, prediction.image_sizes) == (features.canvas, features.image_sizes)


def test_background_is_the_last_column(segmenter, features):
    prompts = default_prompts(segmenter)
    semantic, background = prompts.kinds["semantic"], prompts.kinds["background"]
    swapped = replace(prompts, label_space=space(("x",))).updated({"background": semantic[:1], "semantic": background})
    both = [segmenter.decode(features, p).class_logits for p in (prompts, swapped)]
    torch.testing.assert_close(both[0][..., -1], both[1][..., 0])
    torch.testing.assert_close(both[0][..., 0], both[1][..., -1])


@pytest.mark.parametrize(("kind", "row"), [("spatial", "query_feat"), ("position", "query_embed")])
def test_prompts_replace_the_first_rows_of_their_kind(segmenter, features, kind, row):
    generator = torch.Generator().manual_seed(3)
    spatial = torch.randn(5, DIM, generator=generator)
    plain = default_prompts(segmenter)
    texts = {name: plain.kinds[name] for name in ("semantic", "background")}
    prompts = replace(plain, kinds={kind: spatial, **texts})
    patched = tiny_segmenter()
    getattr(patched.network.decoder, row).weight[:5] = spatial
    expected = patched.decode(features, default_prompts(patched))
    actual = segmenter.decode(features, prompts)
    torch.testing.assert_close(actual.class_logits, expected.class_logits)
    torch.testing.assert_close(actual.mask_logits, expected.mask_logits)


def test_contents_and_positions_can_be_given_at_once_and_are_the_networks_own_by_default(segmenter, features):
    plain, both = (segmenter.decode(features, default_prompts(segmenter, choice)) for choice in ("queries", "both"))
    torch.testing.assert_close(both.mask_logits, plain.mask_logits)
    generator = torch.Generator().manual_seed(3)
    given = {kind: torch.randn(5, DIM, generator=generator) for kind in ("spatial", "position")}
    patched = tiny_segmenter()
    patched.network.decoder.query_feat.weight[:5] = given["spatial"]
    patched.network.decoder.query_embed.weight[:5] = given["position"]
    expected = patched.decode(features, default_prompts(patched))
    actual = segmenter.decode(features, default_prompts(segmenter, "both").updated(given))
    torch.testing.assert_close(actual.mask_logits, expected.mask_logits)


def test_gradients_reach_the_prompts_and_nothing_else(segmenter, features):
    prompts = default_prompts(segmenter)
    leaves = {name: tensor.clone().requires_grad_(True) for name, tensor in prompts.kinds.items()}
    prediction = segmenter.decode(features, prompts.updated(leaves))
    (prediction.class_logits.square().mean() + prediction.mask_logits.square().mean()).backward()
    for name, leaf in leaves.items():
        assert bool((leaf.grad.abs().sum(dim=1) > 0).all()), name
    assert all(weight.grad is None for weight in segmenter.parameter_tensors().values())
    assert not any(tensor.requires_grad or tensor.is_inference() for tensor in features.tensors().values())


def test_grid_is_sine_codes_of_cell_middles_row_by_row(segmenter):
    codes = segmenter.default_spatial_prompts("grid")["position"]
    assert codes.shape == (NUM_PROMPTS, DIM)
    half = DIM // 2
    for index in (0, 3, 6, 15):
        x, y = (index % 4 + 0.5) / 4, (index // 4 + 0.5) / 4
        for feature in range(half):
            rate = 2 * math.pi / 10000 ** (2 * (feature // 2) / half)
            wave = math.cos if feature % 2 else math.sin
            assert codes[index, feature].item() == pytest.approx(wave(y * rate), abs=1e-5)
            assert codes[index, half + feature].item() == pytest.approx(wave(x * rate), abs=1e-5)


def test_points_get_gradients(segmenter):
    points = torch.tensor([[0.2, 0.8]], requires_grad=True)
    segmenter.encode_points(points).sum().backward()
    assert bool((points.grad != 0).all())


def test_text_prompts_have_length_one_and_depend_on_name_and_templates(segmenter):
    photo, raw, official = (segmenter.encode_text(NAMES, kind) for kind in ("photo", "raw", "official"))
    for prompts in (photo, raw, official):
        assert prompts.shape == (len(NAMES), TEXT_DIM) and not prompts.requires_grad
        torch.testing.assert_close(prompts.norm(dim=1), torch.ones(len(NAMES)))
    assert not torch.allclose(photo, raw, atol=1e-3) and not torch.allclose(photo, official, atol=1e-3)
    assert not torch.allclose(photo[0], photo[1], atol=1e-3)
    background = segmenter.default_text_prompts(NAMES, "raw")["background"]
    torch.testing.assert_close(background, segmenter.encode_text(["background"], "raw"))


def test_many_texts_are_the_same_as_few(segmenter):
    """More texts than are encoded at once: 4 names under 81 templates."""
    names = [*NAMES, "chest of drawers"]
    together = segmenter.encode_text(names, "official")
    alone = torch.cat([segmenter.encode_text([name], "official") for name in names])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_texts_are_encoded_once_and_never_shared():
    calls: list[int] = []
    segmenter = tiny_segmenter()
    segmenter.network.text.lang_encoder.register_forward_pre_hook(lambda *_: calls.append(1))
    first = segmenter.encode_text(NAMES)
    kept = first.clone()
    first.zero_()
    assert torch.equal(segmenter.encode_text(list(NAMES)), kept) and len(calls) == 1
    segmenter.encode_text(NAMES[:1])
    assert len(calls) == 2


def test_without_tokenizer_names_are_refused_with_the_mend():
    segmenter = SeemSegmenter(tiny_network(), None, "somewhere")
    with pytest.raises(PromptsegError, match="somewhere: no tokenizer .* put tokenizer.json"):
        segmenter.encode_text(NAMES)


def test_prompts_that_do_not_fit_are_refused(segmenter, features):
    prompts = default_prompts(segmenter)
    for fields, message in (
        (
            {"spatial": torch.zeros(NUM_PROMPTS + 1, DIM)},
            r"tiny-0: .* \(17, 32\), expected \(N, 32\) with N <= 16",
        ),
        ({"spatial": torch.zeros(2, DIM + 1)}, r"spatial prompts have shape \(2, 33\)"),
        ({"semantic": torch.zeros(3, DIM)}, r"semantic prompts have shape \(3, 32\), expected \(3, 48\)"),
        ({"background": torch.zeros(1, DIM)}, "background prompts have shape"),
        ({"points": torch.zeros(2, DIM)}, "unexpected prompts 'points', expected spatial, position, semantic"),
    ):
        with pytest.raises(PromptsegError, match=message):
            segmenter.decode(features, prompts.updated(fields))
    with pytest.raises(PromptsegError, match="unknown spatial 'points': choose one of both, grid, queries"):
        segmenter.default_spatial_prompts("points")


def test_tokenizer_is_within_reach_of_methods(segmenter):
    """Token-level access: what CoOp and LOCN build on."""
    ids = segmenter.tokenizer.encode(["road"], segmenter.config.text.context)
    text = segmenter.network.text
    pooled = text.encode_embedded(text.embed_tokens(ids), ids.argmax(dim=1))
    torch.testing.assert_close(pooled / pooled.norm(), segmenter.encode_text(["road"], "raw"))
    assert isinstance(segmenter.tokenizer, Tokenizer) and TOKENIZER.is_file()


def test_an_image_too_long_for_the_backbone_is_made_smaller():
    model = tiny_segmenter(config=VERSIONS["sam-vit"])
    assert model.input_size((60, 90), 64) == (64, 96)
    size = model.input_size((60, 240), 64)
    assert size == (32, 128)
    assert model.encode_image([torch.zeros(3, *size)]).canvas == (128, 128)


def test_small_images_are_enlarged_twice_at_most_unless_the_user_says_otherwise(segmenter):
    assert [segmenter.input_size(size) for size in ((20, 30), (32, 48), (48, 96), (640, 320))] == [
        (40, 60),
        (64, 96),
        (64, 128),
        (128, 64),
    ]
    assert segmenter.input_size((20, 30), 64) == (64, 96)


@pytest.mark.parametrize("name", sorted(NAMED))
def test_a_photo_is_resized_by_the_filter_of_the_official_scripts(name):
    photo = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    filters = {"seem-lite": Image.Resampling.BILINEAR}
    config = replace(VERSIONS["v1"], resampling=NAMED[name].resampling)
    expected = np.array(Image.fromarray(photo).resize((90, 64), filters.get(name, Image.Resampling.BICUBIC)))
    found = image_tensor(tiny_segmenter(config=config), photo, 64)
    assert np.array_equal(found.permute(1, 2, 0).numpy(), expected)


def test_the_filter_can_be_chosen():
    assert [load_model(spec, "cpu").resampling for spec in ("seem-lite", "seem-lite?resampling=bicubic")] == [
        "bilinear",
        "bicubic",
    ]
    with pytest.raises(PromptsegError, match="unknown resampling in .*: 'cubic': choose one of bicubic, bilinear"):
        load_model("seem-lite?resampling=cubic", "cpu")
