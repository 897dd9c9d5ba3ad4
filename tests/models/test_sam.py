"""SAM, SAM 2 and SAM 3 against the library's own forward passes, and what is ours: chunks, points, text, prompts."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers
from model_contract import NAMES, default_prompts, picture, space
from safetensors.torch import save_file
from tiny import TOKENIZER
from tiny_sams import (
    CONTEXT,
    DIM,
    QUERIES,
    SIZE,
    TEXT_DIM,
    sam_spec,
    stored_text,
    tiny_clip,
    tiny_sam,
    tiny_sam2,
    tiny_sam3,
)

from promptseg.data.images import resize_image
from promptseg.errors import PromptsegError
from promptseg.features.encode import image_tensor
from promptseg.models.registry import load_model
from promptseg.models.sam.points import Sam, projection
from promptseg.models.sam.sam3 import logit_of_both
from promptseg.prompts import Prompts
from promptseg.tasks.instance import instance_inference
from promptseg.tasks.masks import semantic_map
from promptseg.tasks.matched_loss import MatchingWeights, Segments, match, matched_loss
from promptseg.tasks.panoptic import panoptic_inference

KINDS = ("sam", "sam2", "sam3")
LIBRARY = {"sam": tiny_sam, "sam2": tiny_sam2, "sam3": tiny_sam3}


@pytest.fixture(scope="module")
def specs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sams")
    return {kind: sam_spec(folder, kind) for kind in KINDS}


@pytest.fixture(scope="module")
def models(specs):
    return {kind: load_model(spec, "cpu") for kind, spec in specs.items()}


def square(model, seed=0):
    return picture(model.size, model.size, seed)


def pixels(model, image):
    return model.normalised(image)[None]


@pytest.mark.parametrize("kind", ["sam", "sam2"])
def test_masks_are_bit_equal_to_the_librarys_when_prompts_are_points(models, kind):
    """Three classes whose token is the library's "no more points", beside the library's three times the same points."""
    model, library = models[kind], LIBRARY[kind]()
    points = (torch.rand(1, 1, 5, 2, generator=torch.Generator().manual_seed(1)) * model.size).repeat(1, 3, 1, 1)
    labels = torch.tensor([[[1, 0, 1, 1, 0]]], dtype=torch.int).repeat(1, 3, 1)
    with torch.no_grad():
        expected = library(pixels(model, square(model)), points, labels, multimask_output=False).pred_masks
        tokens = library.prompt_encoder(points, labels, None, None)[0][0, 0]
    kinds = {"spatial": tokens[:-1], "semantic": tokens[-1:].repeat(3, 1)}
    prompts = Prompts(model.prompt_spec, kinds, {}, space(NAMES), model.id, model.fingerprint)
    prediction = model.decode(model.encode_image([square(model)]), prompts)
    assert torch.equal(prediction.mask_logits, expected[:, :, 0])


def test_sam3_answers_as_the_library_does_for_each_class(specs):
    """All queries kept: masks, logits and presence of every class, whatever the length of its name."""
    model, library = load_model(f"{specs['sam3']}?keep={QUERIES}", "cpu"), tiny_sam3()
    names = ("road", "a very tall traffic light")
    prompts = default_prompts(model, names=names)
    prediction = model.decode(model.encode_image([square(model)]), prompts)
    ids = model.embed_texts(names).ends
    for index, name in enumerate(names):
        tokens = model._text.tokenizer.encode([name], CONTEXT)
        valid = (torch.arange(CONTEXT) <= ids[index])[None].long()
        with torch.no_grad():
            expected = library(pixels(model, square(model)), input_ids=tokens, attention_mask=valid)
        scores = expected.pred_logits.sigmoid() * expected.presence_logits.sigmoid()
        order = scores[0].argsort(descending=True)
        rows = slice(index * QUERIES, (index + 1) * QUERIES)
        ours = prediction.class_logits[0, rows].softmax(-1)
        torch.testing.assert_close(ours[:, index], scores[0, order], rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(ours[:, -1], 1 - scores[0, order], rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(prediction.mask_logits[0, rows], expected.pred_masks[0, order], rtol=1e-4, atol=1e-4)


def test_sam3_keeps_the_likeliest_queries(specs):
    whole, some = (load_model(f"{specs['sam3']}?keep={keep}", "cpu") for keep in (QUERIES, 2))
    features, prompts = whole.encode_image([square(whole)]), default_prompts(whole)
    all_rows, kept = (model.decode(features, prompts) for model in (whole, some))
    assert kept.class_logits.shape == (1, 2 * len(NAMES), len(NAMES) + 1)
    for index in range(len(NAMES)):
        for ours, theirs in ((kept.class_logits, all_rows.class_logits), (kept.mask_logits, all_rows.mask_logits)):
            expected = theirs[0, index * QUERIES : index * QUERIES + 2]
            torch.testing.assert_close(ours[0, 2 * index : 2 * index + 2], expected)


@pytest.mark.parametrize("kind", KINDS)
def test_chunks_change_neither_answer_nor_gradient(specs, kind):
    joint = "&" if "?" in specs[kind] else "?"
    answers = []
    for chunk in (1, 2, 50):
        model = load_model(f"{specs[kind]}{joint}chunk={chunk}", "cpu")
        features = model.encode_image([square(model), square(model, 1)])
        prompts = default_prompts(model)
        leaves = {name: tensor.clone().requires_grad_() for name, tensor in prompts.kinds.items()}
        answer = model.decode(features, prompts.updated(leaves))
        # Signs vary, so that gradients of different rows do not cancel or add up by chance.
        (answer.mask_logits.sin().mean() + answer.class_logits.clamp(min=-9).sin().mean()).backward()
        answers.append((answer.mask_logits.detach(), answer.class_logits.detach(), *(t.grad for t in leaves.values())))
    for other in answers[1:]:
        for ours, theirs in zip(other, answers[0], strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", ["sam", "sam2"])
def test_the_semantic_map_is_the_sigmoid_of_each_classes_mask(models, kind):
    model = models[kind]
    answer = model.decode(model.encode_image([square(model)]), default_prompts(model))
    torch.testing.assert_close(
        semantic_map(answer.class_logits, answer.mask_logits), answer.mask_logits.sigmoid(), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("size", [(48, 64), (100, 50), (33, 200)])
def test_sam_reads_a_photo_as_the_librarys_processor_does(models, size):
    from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

    processor = SamImageProcessorPil(size={"longest_edge": SIZE}, pad_size={"height": SIZE, "width": SIZE})
    photo = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    expected = processor(photo, return_tensors="pt")
    image = image_tensor(models["sam"], photo)
    assert tuple(image.shape[1:]) == tuple(expected["reshaped_input_sizes"][0].tolist())
    torch.testing.assert_close(models["sam"].normalised(image), expected["pixel_values"][0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "mean", "std"), [("sam2", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), ("sam3", 3 * (0.5,), 3 * (0.5,))]
)
def test_sam2_and_sam3_stretch_a_photo_to_their_square(models, kind, mean, std):
    photo = np.random.default_rng(0).integers(0, 256, (40, 90, 3), dtype=np.uint8)
    model = models[kind]
    by_hand = (resize_image(photo, (model.size, model.size)) / 255 - np.array(mean)) / np.array(std)
    ours = model.normalised(image_tensor(model, photo)).permute(1, 2, 0).numpy()
    np.testing.assert_allclose(ours, by_hand, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["sam", "sam2"])
def test_the_default_grid_is_the_librarys_own_encoding_of_its_points(models, kind):
    model, library = models[kind], LIBRARY[kind]()
    middles = [(index + 0.5) / 10 * model.size for index in range(10)]
    points = torch.tensor([[x - 0.5, y - 0.5] for y in middles for x in middles])[None, None]
    with torch.no_grad():
        tokens = library.prompt_encoder(points, torch.ones(1, 1, 100, dtype=torch.int), None, None)[0][0, 0, :-1]
    torch.testing.assert_close(model.default_spatial_prompts()["spatial"], tokens)


def test_class_tokens_are_text_embeddings_through_a_fixed_map_to_the_length_of_points(models):
    """JL-like: lengths and angles of the text embeddings survive, up to the spread of a random map."""
    model = models["sam"]
    vectors = model.text.encode(NAMES, "photo")
    length = model.default_spatial_prompts()["spatial"].norm(dim=1).mean()
    torch.testing.assert_close(model.encode_text(NAMES), length * vectors @ projection(TEXT_DIM, DIM))
    wide = torch.nn.functional.normalize(torch.randn(50, 512, generator=torch.Generator().manual_seed(0)), dim=1)
    mapped = wide @ projection(512, 256)
    assert (mapped.norm(dim=1) - 1).abs().max() < 0.2
    assert (mapped @ mapped.T - wide @ wide.T).abs().max() < 0.35
    assert torch.equal(projection(512, 256), projection(512, 256))


@pytest.mark.parametrize("eos", [None, 2])
def test_clip_texts_are_the_librarys(eos):
    """Also under the end marker that old CLIP configs name, at which the library pools by the largest id."""
    from promptseg.models.sam.text_sources import ClipText
    from promptseg.models.tokenizer import Tokenizer

    clip, tokenizer = tiny_clip(), Tokenizer.from_file(TOKENIZER)
    if eos is not None:
        clip.config.eos_token_id = clip.text_model.eos_token_id = eos
    with torch.no_grad():
        expected = clip(tokenizer.encode([f"a photo of a {name}." for name in NAMES], CONTEXT)).text_embeds
    ours = ClipText(clip, tokenizer, "clip").encode(NAMES, "photo")
    torch.testing.assert_close(ours, expected / expected.norm(dim=1, keepdim=True))


def test_stored_embeddings_take_the_place_of_a_text_model(specs, tmp_path):
    file = stored_text(tmp_path / "classes.safetensors", NAMES)
    folder = specs["sam"].partition("?")[0]
    model = load_model(f"{folder}?text={file}", "cpu")
    assert model.encode_text(NAMES).shape == (len(NAMES), DIM)
    assert model.fingerprint != load_model(folder, "cpu").fingerprint
    with pytest.raises(PromptsegError, match="no embedding of 'bus' and 1 more classes: add a vector under each name"):
        model.encode_text(("bus", "road", "tram"))
    with pytest.raises(PromptsegError, match="stored embeddings have no words to learn"):
        model.embed_texts(NAMES)


def test_without_text_the_mend_is_told(specs):
    model = load_model(specs["sam"].partition("?")[0], "cpu")
    with pytest.raises(PromptsegError, match=r"SAM reads no text: load it with \?text="):
        model.encode_text(NAMES)


def test_text_in_the_models_own_folder_is_found(tmp_path):
    from tiny_sams import sam_folder

    folder = sam_folder(tmp_path / "whole", "sam")
    sam_folder(folder / "text", "clip")
    assert isinstance(load_model(folder, "cpu"), Sam)
    assert load_model(folder, "cpu").encode_text(NAMES).shape == (len(NAMES), DIM)


def test_gradients_reach_words_and_points_through_the_frozen_encoders(models):
    for kind in KINDS:
        model = models[kind]
        texts = model.embed_texts(NAMES)
        words = texts.words.clone().requires_grad_()
        model.encode_embedded(replace(texts, words=words))["semantic"].sin().sum().backward()
        for row, end in enumerate(texts.ends):
            assert (words.grad[row, : end + 1].abs().sum(1) > 0).all() and not words.grad[row, end + 1 :].any()
    points = models["sam"].default_points().requires_grad_()
    features = models["sam"].encode_image([square(models["sam"])])
    prompts = default_prompts(models["sam"]).updated({"spatial": models["sam"].encode_points(points)})
    models["sam"].decode(features, prompts).mask_logits.mean().backward()
    assert (points.grad.abs().sum(1) > 0).all()


def test_half_precision_features_decode_nearly_the_same(models):
    """What a cache may keep: 2, 8 and 53 MiB of an image at full size."""
    for kind in KINDS:
        model = models[kind]
        features, prompts = model.encode_image([square(model)]), default_prompts(model)
        half = features.to("cpu", torch.float16)
        whole, ours = model.decode(features, prompts).mask_logits, model.decode(half, prompts).mask_logits
        assert ours.dtype == torch.float32 and (whole - ours).abs().max() < 0.05 * whole.abs().max()


def test_sam3_padding_is_fixed_and_masked(models):
    model = models["sam3"]
    prompts = default_prompts(model, names=("road",))
    length = int(model.embed_texts(("road",)).ends[0]) + 1
    features, tokens = prompts.kinds["semantic"].view(CONTEXT, DIM), prompts.fixed["tokens"][0]
    assert tokens[:length].all() and not tokens[length:].any() and not features[length:].any()
    other = features.clone()
    other[length:] = 7.0  # padding may hold anything
    image = model.encode_image([square(model)])
    answers = [model.decode(image, p) for p in (prompts, prompts.updated({"semantic": other.view(1, -1)}))]
    assert torch.equal(answers[0].mask_logits, answers[1].mask_logits)
    with pytest.raises(PromptsegError, match="tokens of a class are all padding, expected at least one"):
        model.decode(image, prompts.updated({"tokens": torch.zeros(1, CONTEXT, dtype=torch.bool)}))
    with pytest.raises(PromptsegError, match="takes one text per class; give raw or photo"):
        model.encode_text(NAMES, "official")


def test_both_is_the_logit_of_a_product():
    a, b = torch.tensor([-30.0, -2.0, 0.0, 5.0, 30.0]), torch.tensor([10.0, 0.5, 0.0, -40.0, 10.0])
    product = a.double().sigmoid() * b.double().sigmoid()
    torch.testing.assert_close(logit_of_both(a, b).double(), product.log() - (-product).log1p(), rtol=1e-5, atol=1e-5)


def test_sam3_instances_and_segments_follow_from_the_prediction(models):
    """The likeliest instance is the likeliest row; matching learns from it with finite losses and gradients."""
    model = models["sam3"]
    prompts = default_prompts(model)
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in prompts.kinds.items()}
    answer = model.decode(model.encode_image([square(model)]), prompts.updated(leaves))
    classes, masks = answer.class_logits[0], answer.mask_logits[0]
    found = instance_inference(classes, masks, None)
    probabilities = classes.softmax(-1)[:, :-1]
    quality = [(mask.sigmoid() * (mask > 0)).sum() / ((mask > 0).sum() + 1e-6) for mask in masks]
    best = (probabilities.max(1).values * torch.stack(quality)).max()
    torch.testing.assert_close(found.scores[0], best)
    sure = classes + torch.tensor([5.0, 5.0, 5.0, 0.0])  # a random model takes everything for background
    labels = panoptic_inference(sure, masks, {0, 1, 2}, object_threshold=0.0, overlap_threshold=0.0)
    assert labels.segments and labels.map.shape == tuple(masks.shape[1:])
    target = Segments(torch.tensor([1, 2]), (torch.rand(2, masks[0].numel()) > 0.5).float())
    weights = MatchingWeights()
    matching = match(classes, masks.flatten(1), target, weights)
    loss = matched_loss(classes[None], [masks.flatten(1)[matching.predictions]], [target], [matching], weights)
    loss.backward()
    assert torch.isfinite(loss) and all(torch.isfinite(leaf.grad).all() for leaf in leaves.values())


def test_published_forms_of_folders_load(tmp_path):
    """Whole CLIP models, and the checkpoints of SAM 2 and SAM 3 that follow objects through videos."""
    clip = transformers.CLIPConfig(
        text_config=tiny_clip().config.to_dict(),
        vision_config={
            **{"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1},
            **{"image_size": 32, "patch_size": 16},
        },
        projection_dim=TEXT_DIM,
    )
    transformers.CLIPModel(clip).save_pretrained(tmp_path / "clip")
    shutil.copy(TOKENIZER, tmp_path / "clip" / "tokenizer.json")
    parts = tiny_sam2().config
    video = transformers.Sam2VideoModel(
        transformers.Sam2VideoConfig(
            vision_config=parts.vision_config,
            prompt_encoder_config=parts.prompt_encoder_config.to_dict(),
            mask_decoder_config=parts.mask_decoder_config.to_dict(),
            memory_attention_hidden_size=DIM,
            memory_encoder_hidden_size=DIM,
            image_size=2 * SIZE,
        )
    )
    video.save_pretrained(tmp_path / "sam2")
    model = load_model(f"{tmp_path / 'sam2'}?text={tmp_path / 'clip'}", "cpu")
    theirs = dict(video.named_parameters())
    assert all(torch.equal(p, theirs[n]) for n, p in model.parameter_tensors().items() if not n.startswith("text."))
    assert model.encode_text(NAMES).shape == (len(NAMES), DIM)
    sam3 = tiny_sam3()
    state = {f"detector_model.{name}": tensor.clone() for name, tensor in sam3.state_dict().items()}
    (tmp_path / "sam3").mkdir()
    save_file(state, tmp_path / "sam3" / "model.safetensors", metadata={"format": "pt"})
    config = {"model_type": "sam3_video", "detector_config": sam3.config.to_dict()}
    (tmp_path / "sam3" / "config.json").write_text(json.dumps(config))
    shutil.copy(TOKENIZER, tmp_path / "sam3" / "tokenizer.json")
    theirs = dict(sam3.named_parameters())
    assert all(torch.equal(p, theirs[n]) for n, p in load_model(tmp_path / "sam3", "cpu").parameter_tensors().items())
