"""Rivals that read frozen features: each against its definition, worked out another way."""

from pathlib import Path

import numpy as np
import pytest
import torch
from rivals import READERS
from shapes import SHAPES, SPACE
from tiny import tiny_segmenter
from torch import Tensor
from torch.nn import functional as F

import promptseg
from promptseg.engine.defaults import default_prompts
from promptseg.errors import PromptsegError
from promptseg.features.encode import image_tensor
from promptseg.methods.pixel.samples import PixelSamples
from promptseg.methods.rivals.readers import PrototypeSettings, class_means
from promptseg.models.seem.segmenter import SeemSegmenter
from promptseg.prompts import Prompts
from promptseg.tasks.semantic import SemanticTask

FEW = {"pixels": 1500, "progress": False}
PHOTO = SHAPES[5].image()


@pytest.fixture(scope="module")
def model() -> SeemSegmenter:
    return tiny_segmenter()


@pytest.fixture(scope="module")
def found(model: SeemSegmenter) -> dict[str, Prompts]:
    return {method: promptseg.fit(model, SHAPES[:4], method=method, **FEW).prompts for method in READERS}


def samples(classes: int = 4, count: int = 200) -> PixelSamples:
    generator = torch.Generator().manual_seed(3)
    labels = torch.randint(classes, (count,), generator=generator)
    features = torch.randn(count, 6, generator=generator) * torch.tensor([1, 5, 1, 0.1, 2, 1]) + 3
    features += torch.randn(classes, 6, generator=generator)[labels]
    answers, weights = torch.rand(count, classes, generator=generator), torch.rand(count, generator=generator) + 0.5
    return PixelSamples(features, labels, answers, weights, torch.arange(count) % 5)


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("scaled", [True, False])
def test_a_prototype_is_the_nearest_class_mean_by_cosine(centred: bool, scaled: bool) -> None:
    given = samples()
    embeddings, bias = class_means(given, 4, PrototypeSettings(centred=centred, scaled=scaled))
    weights = given.weights[:, None] / given.weights.sum()
    middle = (weights * given.features).sum(0)
    spread = (weights * (given.features - middle) ** 2).sum(0).sqrt()
    rows = (given.features - (middle if centred else 0)) / (spread if scaled else 1)
    means = [(rows * w).sum(0) / w.sum() for w in ((given.labels == c)[:, None] * weights for c in range(4))]
    cosines = F.cosine_similarity(rows[:, None], torch.stack(means)[None], dim=2)
    scores = given.features @ embeddings.mT + bias[:, 0]
    torch.testing.assert_close(scores, cosines * rows.norm(dim=1, keepdim=True), rtol=1e-3, atol=1e-4)


def test_a_class_that_no_shot_shows_has_no_mean_and_is_not_answered(model: SeemSegmenter) -> None:
    embeddings, bias = class_means(samples(), 6, PrototypeSettings())
    assert not embeddings[4:].any() and not bias[4:].any()
    from promptseg.data.keep_out import UnlabelledClasses

    shots = [UnlabelledClasses(sample, (1,)) for sample in SHAPES[:3]]
    prompts = promptseg.fit(model, shots, method="prototype", **FEW).prompts
    assert set(np.unique(promptseg.predict(model, prompts, PHOTO))) <= {0, 2}


def test_without_the_models_own_answer_texts_change_nothing(model: SeemSegmenter, found: dict[str, Prompts]) -> None:
    spatial = -default_prompts(model, SPACE).kinds["spatial"]
    for method, prompts in found.items():
        other = prompts.updated({"semantic": prompts.kinds["semantic"].flip(0), "spatial": spatial})
        before, after = (promptseg.predict(model, p, PHOTO) for p in (prompts, other))
        assert np.array_equal(before, after) == (method != "prototype-text"), method


def test_readers_tell_shapes_apart(model: SeemSegmenter, found: dict[str, Prompts], tmp_path: Path) -> None:
    zero = promptseg.evaluate(model, default_prompts(model, SPACE), SHAPES[4:]).miou
    scores = {method: promptseg.evaluate(model, prompts, SHAPES[4:]).miou for method, prompts in found.items()}
    assert scores["linear"] > 0.9 and min(scores.values()) > zero + 0.3
    loaded = Prompts.load(found["linear"].save(tmp_path))
    assert promptseg.evaluate(model, loaded, SHAPES[4:]).miou == scores["linear"]


def test_the_learned_scalar_is_the_best_on_held_out_shots(model: SeemSegmenter, found: dict[str, Prompts]) -> None:
    prompts = found["prototype-text"]
    assert prompts.record is not None and prompts.record.metrics["prototype_scale"] > 0.1
    lengths = prompts.kinds["pixel"].norm(dim=1)
    assert torch.equal(prompts.kinds["pixel_trust"], torch.ones(3, 1)) and (lengths > 0).all()
    unrelated = [Shuffled(number) for number in range(4)]
    record = promptseg.fit(model, unrelated, method="prototype-text", centred=True, **FEW).prompts.record
    assert record is not None and record.metrics["prototype_scale"] < 0.01


class Shuffled(type(SHAPES[0])):
    """A sample whose labels have nothing to do with its photo."""

    def semantic(self):
        labels = super().semantic()
        return np.random.default_rng(self.number).permutation(labels.ravel()).reshape(labels.shape)


def test_a_query_head_is_a_free_tensor_that_no_text_has_a_part_in(model: SeemSegmenter) -> None:
    chosen = {"steps": 20, "batch_size": 2, "progress": False}
    run = promptseg.fit(model, SHAPES[:4], method="query-linear", **chosen)
    defaults = default_prompts(model, SPACE)
    learned = [run.prompts.parts[f"{kind}.learned"] for kind in ("semantic", "background")]
    assert run.parameters == sum(tensor.numel() for tensor in learned) == 4 * model.config.text_dim
    assert torch.equal(run.prompts.kinds["semantic"], learned[0])
    assert run.prompts.kinds.keys() == defaults.without("mask").kinds.keys()
    assert run.losses[-1] < run.losses[0]


def mean_embeddings(model: SeemSegmenter) -> Tensor:
    """For each class the mean of the queries' embeddings over its pixels, by the masks' own cells."""
    defaults, total = default_prompts(model, SPACE), torch.zeros(len(SPACE), model.config.text_dim)
    for sample in SHAPES[:3]:
        pixels = image_tensor(model, sample.image())
        states = model.decoder_states(model.encode_image([pixels]), defaults, all_heads=False)
        masks, labels = states.masks[0][0].sigmoid(), SemanticTask().target(sample, pixels.shape[1:], flip=False)
        for row in range(masks.shape[1]):
            for column in range(masks.shape[2]):
                place = (row * 4 + 2, column * 4 + 2)
                if place[0] < labels.shape[0] and place[1] < labels.shape[1] and labels[place] < 255:
                    total[int(labels[place])] += masks[:, row, column] @ states.captions[0][0]
    return F.normalize(total, dim=1)


def test_semantic_prompts_start_as_the_mean_embeddings_of_their_pixels(model: SeemSegmenter) -> None:
    nothing = {"steps": 1, "rate": 0.0, "progress": False, "weight": 1.0}
    prompts = promptseg.fit(model, SHAPES[:3], method="semprompt", start="prototype", **nothing).prompts
    lengths = default_prompts(model, SPACE).kinds["semantic"].norm(dim=1, keepdim=True)
    wanted = mean_embeddings(model) * lengths
    torch.testing.assert_close(prompts.kinds["semantic"], wanted, rtol=1e-3, atol=1e-4)
    with pytest.raises(PromptsegError, match="start is 'prototype': shots show classes, not spatial prompts"):
        promptseg.fit(model, SHAPES[:3], "ssprompt", start="prototype", progress=False)
