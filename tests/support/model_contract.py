"""What every promptable segmenter must do, whatever it is inside.

A model's test class inherits `ModelContract` and says how a small one is made:

    class TestMyModel(ModelContract):
        @classmethod
        def make_model(cls):
            return MyModel(...)  # random weights, the same on every call

        @classmethod
        def save_model(cls, model, folder):
            save_my_model(folder, model)
"""

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import promptseg
from promptseg.engine.defaults import default_prompts as prompts_of_model
from promptseg.errors import PromptsegError
from promptseg.label_space import ClassInfo, LabelSpace
from promptseg.models.base import ImageFeatures, Prediction, PromptableSegmenter
from promptseg.models.capabilities import ObjectPrompt
from promptseg.prompts import Prompts
from promptseg.tasks.masks import image_evidence, semantic_map
from promptseg.tasks.registry import TASKS

NAMES = ("road", "traffic light", "sky")
OBJECT = {
    "text": "traffic light",
    "points": ((10.0, 20.0),),
    "negative": ((30.0, 5.0),),
    "boxes": ((3.0, 4.0, 25.0, 30.0),),
    "strokes": (((5.0, 6.0), (12.0, 20.0)),),
}
"""A value for every field of `ObjectPrompt` but `previous`."""


class ModelContract:
    """Tests of the interface in models/base.py; optional parts are skipped where a model has none."""

    sizes: tuple[tuple[int, int], ...] = ((64, 96), (50, 71), (96, 33))
    """Image sizes (height, width) to go through, pixels."""
    tolerance: float = 1e-4
    """Largest difference that rounding may make, relative to the larger of 1 and the largest value."""

    @classmethod
    def make_model(cls) -> PromptableSegmenter:
        """A small model of random weights, the same on every call."""
        raise NotImplementedError

    @classmethod
    def save_model(cls, model: PromptableSegmenter, folder: Path) -> None:
        """Write a model folder that `load_model` reads."""
        raise NotImplementedError

    @classmethod
    def golden_differences(cls) -> Mapping[str, float]:
        """Largest relative difference from reference outputs, by stage; empty where there are none here."""
        return {}

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls) -> PromptableSegmenter:
        return cls.make_model()

    @pytest.fixture(scope="class")
    @classmethod
    def prompts(cls, model: PromptableSegmenter) -> Prompts:
        return default_prompts(model)

    @pytest.fixture(scope="class")
    @classmethod
    def features(cls, model: PromptableSegmenter) -> ImageFeatures:
        return model.encode_image([picture(*cls.sizes[0]), picture(*cls.sizes[0], seed=1)])

    def test_it_says_what_it_is(self, model):
        assert (
            model.id
            and model.licence
            and model.spatial_choices
            and model.prompt_spec
            and isinstance(model.device, torch.device)
        )
        assert len(model.fingerprint) == 64 and int(model.fingerprint, 16)

    def test_every_weight_is_frozen_and_live(self, model):
        weights = model.parameter_tensors()
        assert weights and not any(weight.requires_grad for weight in weights.values())
        assert all(weights[name].data_ptr() == again.data_ptr() for name, again in model.parameter_tensors().items())

    def test_the_fingerprint_is_of_the_weights(self, model):
        assert self.make_model().fingerprint == model.fingerprint
        changed = self.make_model()
        next(iter(changed.parameter_tensors().values())).view(-1)[0] += 1.0
        assert changed.fingerprint != model.fingerprint

    def test_it_takes_images_of_the_size_it_asks_for(self, model, prompts):
        for photo in ((300, 200), (77, 210)):
            size = model.input_size(photo)
            assert min(size) >= 1
            features = model.encode_image([picture(*size)])
            check_prediction(model.decode(features, prompts), features, prompts)

    def test_any_image_size_is_taken(self, model, prompts):
        for size in self.sizes:
            for dtype in (torch.uint8, torch.float32):
                features = model.encode_image([picture(*size).to(dtype)])
                assert features.image_sizes == (size,)
                check_prediction(model.decode(features, prompts), features, prompts)

    def test_images_of_unlike_size_share_a_canvas(self, model, prompts):
        features = model.encode_image([picture(*size) for size in self.sizes])
        assert features.image_sizes == self.sizes
        check_prediction(model.decode(features, prompts), features, prompts)

    def test_a_batch_is_its_images(self, model, prompts, features):
        together = model.decode(features, prompts)
        for index, alone in enumerate(self.single_predictions(model, prompts)):
            self.assert_same(together.split()[index], alone)

    def single_predictions(self, model, prompts):
        """The predictions of the two images of `features`, each encoded alone."""
        return [model.decode(model.encode_image([picture(*self.sizes[0], seed)]), prompts) for seed in (0, 1)]

    def assert_same(self, actual: Prediction, expected: Prediction) -> None:
        """Equal but for rounding."""
        assert relative_error(actual.class_logits, expected.class_logits) <= self.tolerance
        assert relative_error(actual.mask_logits, expected.mask_logits) <= self.tolerance

    def test_features_can_be_taken_apart_and_joined(self, model, prompts, features):
        parts = [features[index : index + 1].to("cpu").to(model.device) for index in range(len(features))]
        joined = ImageFeatures.cat(parts)
        assert joined.nbytes == features.nbytes > 0
        self.assert_same(model.decode(joined, prompts), model.decode(features, prompts))

    def test_it_looks_at_the_image(self, model, prompts, features):
        first, second = model.decode(features, prompts).split()
        assert not torch.allclose(first.mask_logits, second.mask_logits, atol=1e-3)

    def test_a_mirrored_image_has_other_masks_on_the_same_canvas(self, model, prompts):
        image = picture(*self.sizes[1])
        plain, mirrored = (model.decode(model.encode_image([i]), prompts) for i in (image, image.flip(-1)))
        assert plain.canvas == mirrored.canvas and plain.image_sizes == mirrored.image_sizes
        assert not torch.allclose(plain.mask_logits, mirrored.mask_logits, atol=1e-3)

    def test_the_same_twice_is_bit_equal(self, model, prompts, features):
        first, second = (model.decode(features, prompts) for _ in range(2))
        assert torch.equal(first.class_logits, second.class_logits)
        assert torch.equal(first.mask_logits, second.mask_logits)

    def test_the_last_of_all_answers_is_the_answer(self, model, prompts, features):
        answers = model.decode_all(features, prompts)
        for answer in answers:
            check_prediction(answer, features, prompts)
        self.assert_same(answers[-1], model.decode(features, prompts))

    def test_classes_follow_the_class_prompts(self, model, prompts, features):
        turned = prompts.updated({n: t.flip(0) for n, t in (prompts.of_role("class") | prompts.fixed).items()})
        plain_map, turned_map = (
            semantic_map(answer.class_logits, answer.mask_logits)
            for answer in (model.decode(features, p) for p in (prompts, turned))
        )
        assert relative_error(turned_map.flip(1), plain_map) <= self.tolerance
        assert not torch.equal(turned_map, plain_map)

    def test_default_prompts_are_copies(self, model):
        for choice in model.spatial_choices:
            for kind, first in model.default_spatial_prompts(choice).items():
                assert first.ndim == 2 and not first.requires_grad
                kept = first.clone()
                first.zero_()
                assert torch.equal(model.default_spatial_prompts(choice)[kind], kept)

    def test_its_own_prompts_are_what_it_says_it_takes(self, model):
        for choice in model.spatial_choices:
            prompts = default_prompts(model, choice)
            prompts.check(model.prompt_spec, "here")
            assert prompts.of_role("mask") and prompts.of_role("class")
            assert set(prompts.fixed) == {kind.name for kind in model.prompt_spec if not kind.learned}

    def test_texts_differ_by_name_and_are_copies(self, model):
        vectors = model.encode_text(NAMES)
        assert vectors.shape[0] == len(NAMES) and not vectors.requires_grad
        assert not torch.allclose(vectors[0], vectors[1], atol=1e-3)
        kept = vectors.clone()
        vectors.zero_()
        assert torch.equal(model.encode_text(list(NAMES)), kept)

    def test_gradients_reach_the_prompts_and_no_weight(self, model, features):
        for choice in model.spatial_choices:
            prompts = default_prompts(model, choice)
            leaves = {name: tensor.clone().requires_grad_(True) for name, tensor in prompts.kinds.items()}
            answer = model.decode(features, prompts.updated(leaves))
            (answer.class_logits.square().mean() + answer.mask_logits.square().mean()).backward()
            for name, leaf in leaves.items():
                assert leaf.grad is not None and torch.isfinite(leaf.grad).all(), (choice, name)
                assert bool((leaf.grad.abs().sum(dim=1) > 0).all()), (choice, name)
        assert all(weight.grad is None for weight in model.parameter_tensors().values())
        assert not any(tensor.requires_grad or tensor.is_inference() for tensor in features.tensors().values())

    def test_a_folder_gives_back_the_model(self, model, prompts, features, tmp_path):
        self.save_model(model, tmp_path / "saved")
        again = promptseg.load_model(tmp_path / "saved", device="cpu")
        assert again.id == str(tmp_path / "saved") and again.fingerprint == model.fingerprint
        assert torch.equal(again.encode_text(NAMES), model.encode_text(NAMES))
        self.assert_same(again.decode(features, prompts), model.decode(features, prompts))

    def test_what_does_not_fit_is_refused_in_one_line(self, model, prompts, features):
        given = prompts.kinds | prompts.fixed
        wide = {name: torch.cat((tensor, tensor[:, :1]), dim=1) for name, tensor in given.items()}
        needed = [kind.name for kind in model.prompt_spec if not kind.optional]
        calls = [
            lambda: model.encode_image([]),
            lambda: model.encode_image([torch.zeros(64, 64, 3)]),
            lambda: model.encode_text(NAMES, "no-such-templates"),
            lambda: model.default_spatial_prompts("no-such-choice"),
            *(lambda name=name: model.decode(features, prompts.updated({name: wide[name]})) for name in wide),
            *(lambda name=name: model.decode(features, without(prompts, name)) for name in needed),
            lambda: model.decode(features, replace(prompts, label_space=space(NAMES[:2]))),
        ]
        for call in calls:
            with pytest.raises(PromptsegError) as caught:
                call()
            assert "\n" not in str(caught.value)

    def test_dense_maps_are_as_they_are_announced(self, model, features):
        if not hasattr(model, "dense_maps"):
            pytest.skip("this model offers no dense maps")
        height, width = features.canvas
        maps = model.dense_maps(features)
        assert len(maps) == len(model.dense_map_specs) > 0
        for one, spec in zip(maps, model.dense_map_specs, strict=True):
            assert one.shape == (len(features), spec.dim, round(height / spec.stride), round(width / spec.stride)), spec

    def test_pixel_prompts_of_zero_change_no_answer(self, model, prompts, features):
        if not hasattr(model, "dense_maps"):
            pytest.skip("this model offers no dense maps")
        before, after = (model.decode(features, p) for p in (prompts, prompts.updated(zero_pixel_prompts(model))))
        for name, kind in TASKS.items():
            task = kind.build(kind.presets["tuned"])
            for index in range(len(features)):
                answers = [task.answer(p, index, (45, 67), space(NAMES, things=(1,))) for p in (before, after)]
                assert_same_answers(name, *answers)

    def test_pixel_prompts_are_what_the_products_with_the_maps_say(self, model, prompts, features):
        if not hasattr(model, "dense_maps"):
            pytest.skip("this model offers no dense maps")
        generator = torch.Generator().manual_seed(0)
        kinds = {name: torch.randn(t.shape, generator=generator) for name, t in zero_pixel_prompts(model).items()}
        answer = model.decode(features, prompts.updated(kinds))
        evidence = image_evidence(answer, 1)
        height, width = features.image_sizes[1]
        expected = kinds["pixel_bias"][:, :, None].expand(-1, height, width)
        columns = 0
        for one in model.dense_maps(features):
            large = F.interpolate(one[1:], features.canvas, mode="bilinear", align_corners=False)[0]
            part = kinds["pixel"][:, columns : columns + len(large)]
            expected = expected + torch.einsum("cd,dhw->chw", part, large[:, :height, :width])
            columns += len(large)
        assert relative_error(evidence, expected) <= self.tolerance

    def test_words_lead_to_the_same_texts(self, model):
        if not hasattr(model, "embed_texts"):
            pytest.skip("this model has no way in at its word embeddings")
        found, expected = model.encode_embedded(model.embed_texts(NAMES)), model.default_text_prompts(NAMES, "raw")
        assert model.text_kinds <= set(found) <= set(expected)
        for kind, tensor in found.items():
            assert relative_error(tensor.float(), expected[kind].float()) <= self.tolerance

    def test_points_lead_to_the_default_grid(self, model):
        if not hasattr(model, "encode_points"):
            pytest.skip("this model does not encode points")
        points = model.default_points().requires_grad_(True)
        codes = model.encode_points(points)
        torch.testing.assert_close({model.point_kind: codes}, model.default_spatial_prompts("grid"))
        codes.square().sum().backward()
        assert points.grad is not None

    def test_one_object_is_found_by_every_prompt_the_model_takes(self, model, features):
        if not hasattr(model, "segment"):
            pytest.skip("this model does not look for single objects")
        assert set(model.object_prompts) <= {field.name for field in fields(ObjectPrompt)}
        image = features[:1]
        first = model.segment(image, ObjectPrompt(**{name: OBJECT[name] for name in model.object_prompts[:1]}))
        for name in model.object_prompts:
            prompt = ObjectPrompt(points=OBJECT["points"])
            value = first.mask_logits if name == "previous" else OBJECT[name]
            answers = [model.segment(image, replace(prompt, **{name: value}), seed=1) for _ in range(2)]
            assert answers[0].class_logits.shape == (1, 1, 1) and answers[0].mask_logits.shape[:2] == (1, 1), name
            check_canvas(answers[0], image)
            assert torch.equal(answers[0].mask_logits, answers[1].mask_logits), name
            assert not answers[0].mask_logits.requires_grad

    def test_it_agrees_with_the_reference(self):
        differences = self.golden_differences()
        if not differences:
            pytest.skip("no reference outputs of this model here")
        assert {stage: value for stage, value in differences.items() if not value <= self.tolerance} == {}


def picture(height: int, width: int, seed: int = 0) -> Tensor:
    """A random photo (3, H, W) uint8."""
    return torch.randint(256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def space(names: tuple[str, ...], things: tuple[int, ...] = ()) -> LabelSpace:
    """Classes of these names."""
    classes = tuple(ClassInfo(name, (index, 0, 0), index in things) for index, name in enumerate(names))
    return LabelSpace("contract", classes)


def zero_pixel_prompts(model: PromptableSegmenter) -> dict[str, Tensor]:
    """Pixel prompts that say nothing: no embedding, no bias, full trust in the model."""
    dims = {kind.name: kind.dim for kind in model.prompt_spec if kind.role == "pixel"}
    return {name: torch.full((len(NAMES), dim), float(name == "pixel_trust")) for name, dim in dims.items()}


def assert_same_answers(task: str, before: Any, after: Any) -> None:
    """Answers of a task, equal to the last bit."""
    match task:
        case "semantic":
            assert np.array_equal(before, after)
        case "instance":
            assert all(torch.equal(getattr(before, f), getattr(after, f)) for f in ("class_ids", "scores", "masks"))
        case _:
            assert np.array_equal(before.map, after.map) and before.segments == after.segments


def default_prompts(model: PromptableSegmenter, spatial: str | None = None, names: tuple[str, ...] = NAMES) -> Prompts:
    """What the frozen prompt encoders give."""
    return prompts_of_model(model, space(names), spatial)


def without(prompts: Prompts, name: str) -> Prompts:
    """The prompts without one kind."""
    kinds, fixed = ({n: t for n, t in group.items() if n != name} for group in (prompts.kinds, prompts.fixed))
    return replace(prompts, kinds=kinds, fixed=fixed)


def check_prediction(answer: Prediction, features: ImageFeatures, prompts: Prompts) -> None:
    """Shapes, finite numbers, and what `check_canvas` asks for."""
    batch, rows, columns = answer.class_logits.shape
    assert batch == len(features) and rows >= 1 and columns == len(prompts.class_names) + 1
    assert answer.mask_logits.shape[:2] == (batch, rows)
    assert torch.isfinite(answer.class_logits).all()
    check_canvas(answer, features)


def check_canvas(answer: Prediction, features: ImageFeatures) -> None:
    """Finite masks that cover the canvas, and a canvas that holds every image."""
    assert torch.isfinite(answer.mask_logits).all()
    assert (answer.canvas, answer.image_sizes) == (features.canvas, features.image_sizes)
    assert answer.canvas[0] * answer.mask_logits.shape[3] == answer.canvas[1] * answer.mask_logits.shape[2]
    assert all(size[axis] <= answer.canvas[axis] for size in answer.image_sizes for axis in (0, 1))


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """Largest absolute difference, relative to the larger of 1 and the largest value expected."""
    assert actual.shape == expected.shape
    return float((actual - expected).abs().max() / expected.abs().max().clamp(min=1.0))
