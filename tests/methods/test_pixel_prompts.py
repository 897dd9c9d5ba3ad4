"""Pixel prompts: samples against resizes and counts, the solver against another, and what `fit` makes of them."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from shapes import SHAPES, SPACE
from tiny import tiny_segmenter
from torch.nn import functional as F

import promptseg
from promptseg.data.keep_out import UnlabelledClasses
from promptseg.engine.defaults import default_prompts
from promptseg.engine.runs import Run
from promptseg.engine.trainer import Trainer
from promptseg.errors import PromptsegError
from promptseg.features.encode import image_tensor
from promptseg.features.features_cache import FeaturesCache
from promptseg.label_space import IGNORE
from promptseg.methods.pixel.choice import FEW, FOLDS, PIXELS, choose, compared, folds, mean_iou
from promptseg.methods.pixel.samples import PixelSampler, PixelSamples, draw_pixels, look_up, own_evidence
from promptseg.methods.pixel.solver import AXES, HOLD, PixelProblem, Recipe
from promptseg.models.base import Prediction
from promptseg.models.evidence import FLOOR, Evidence
from promptseg.tasks.label_maps import label_map, pixel_scores
from promptseg.tasks.masks import masks_at, query_logits, semantic_map
from promptseg.tasks.semantic import MeanIoU


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [(5, 7), (1, 3), (16, 24), (40, 9)])
def test_a_look_up_is_the_resize_at_that_pixel(size) -> None:
    values, canvas = random(4, *size), (16, 24)
    large = F.interpolate(values[None], canvas, mode="bilinear", align_corners=False)[0]
    rows, columns = (torch.tensor(x) for x in ([0, 0, 15, 15, 7, 3, 11], [0, 23, 0, 23, 5, 22, 14]))
    torch.testing.assert_close(look_up(values, canvas, rows, columns), large[:, rows, columns].mT, rtol=1e-5, atol=1e-6)


def test_own_evidence_is_the_semantic_map_at_that_pixel() -> None:
    prediction = Prediction(random(1, 6, 4), random(1, 6, 5, 8, seed=1), (20, 32), ((17, 30),))
    whole = semantic_map(prediction.class_logits[0], masks_at(prediction, 0, (17, 30)))
    rows, columns = torch.tensor([0, 16, 8]), torch.tensor([0, 29, 11])
    torch.testing.assert_close(own_evidence(prediction, rows, columns), whole[:, rows, columns].mT)


def labels_with_a_rare_class() -> torch.Tensor:
    labels = torch.zeros(60, 80, dtype=torch.uint8)
    labels[20:] = 1
    labels[40:42, 10:12] = 3
    labels[:, 70:] = IGNORE
    return labels


def test_drawn_pixels_are_labelled_all_different_and_rare_classes_have_some() -> None:
    labels = labels_with_a_rare_class()
    rows, columns, weights = draw_pixels(labels, 200, torch.Generator().manual_seed(0))
    found = labels[rows, columns]
    assert 195 <= len(rows) <= 200 and (found != IGNORE).all() and (weights >= 1 - 1e-9).all()
    assert len(set(zip(rows.tolist(), columns.tolist(), strict=True))) == len(rows)
    assert Counter(found.tolist())[3] == 4  # all there are
    again = draw_pixels(labels, 200, torch.Generator().manual_seed(0))
    assert torch.equal(again[0], rows) and torch.equal(again[1], columns)


def test_weights_make_sums_over_drawn_pixels_unbiased() -> None:
    labels, value = labels_with_a_rare_class(), random(60, 80)
    counts = {int(c): int((labels == c).sum()) for c in (0, 1, 3)}
    sums = torch.zeros(300)
    for seed in range(len(sums)):
        rows, columns, weights = draw_pixels(labels, 150, torch.Generator().manual_seed(seed))
        for c, count in counts.items():
            of_class = labels[rows, columns] == c
            assert abs(weights[of_class].sum() / count - 1) < 0.1
        sums[seed] = (weights * value[rows, columns]).sum()
    error = sums.std() / len(sums) ** 0.5
    assert (sums.mean() - value[labels != IGNORE].sum()).abs() < 4 * error


def test_a_photo_without_labels_and_one_smaller_than_its_share_are_taken_whole() -> None:
    nothing = torch.full((3, 4), IGNORE, dtype=torch.uint8)
    assert [len(part) for part in draw_pixels(nothing, 5, torch.Generator())] == [0, 0, 0]
    rows, _, weights = draw_pixels(torch.zeros(3, 4, dtype=torch.uint8), 50, torch.Generator())
    assert len(rows) == 12 and torch.allclose(weights, torch.ones(12, dtype=torch.float64))


def test_the_budget_holds_whatever_the_number_of_photos() -> None:
    for photos in (1, 7):
        sampler = PixelSampler(300, photos, 3, seed=0)
        for shot in range(photos):
            prediction = Prediction(random(1, 4, 4), random(1, 4, 8, 8), (32, 32), ((32, 32),))
            labels = torch.randint(3, (32, 32), generator=torch.Generator().manual_seed(shot), dtype=torch.uint8)
            sampler.take(shot, (random(1, 5, 8, 8), random(1, 2, 4, 4)), prediction, labels)
        samples = sampler.samples()
        assert 0.95 * 300 - photos <= len(samples) <= 300
        assert samples.features.shape == (len(samples), 7) and samples.answers.shape == (len(samples), 3)
        assert set(samples.shots.tolist()) == set(range(photos))


def problem(count: int = 400, dim: int = 6, classes: int = 3, seed: int = 0) -> PixelSamples:
    """Samples whose label depends on features and the model's own answer, but not on them alone."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(count, dim, generator=generator) * torch.logspace(-1, 1, dim) + 3
    answers = torch.rand(count, classes, generator=generator)
    hidden = ((features - 3) / torch.logspace(-1, 1, dim)) @ torch.randn(dim, classes, generator=generator)
    labels = (hidden + 2 * answers.log() + torch.randn(count, classes, generator=generator)).argmax(1)
    weights = torch.rand(count, generator=generator) + 0.5
    return PixelSamples(features, labels, answers, weights, torch.arange(count) % 8)


def objective(samples: PixelSamples, recipe: Recipe, numbers: np.ndarray) -> float:
    """What is minimised, written down anew in float64 over channels scaled to variance 1."""
    x, y = samples.features.double().numpy(), samples.labels.numpy()
    logs = np.log(samples.answers.double().numpy() + FLOOR)
    n, dim, classes = len(y), x.shape[1], logs.shape[1]
    weights = samples.weights.double().numpy() / samples.weights.double().numpy().sum()
    mean = weights @ x
    x = (x - mean) / np.sqrt(weights @ (x - mean) ** 2)
    frequency = np.array([weights[y == c].sum() for c in range(classes)])
    weights = weights * frequency[y] ** recipe.balance
    weights /= weights.sum()
    p, b = numbers[: classes * dim].reshape(classes, dim), numbers[classes * dim : classes * (dim + 1)]
    t = numbers[classes * (dim + 1) :] if recipe.trust == "learned" else np.full(classes, recipe.trust)
    scores = x @ p.T + b + t * logs
    top = scores.max(1)
    log_sum = np.log(np.exp(scores - top[:, None]).sum(1)) + top
    value = weights @ (log_sum - scores[np.arange(n), y]) + recipe.ridge / 2 * (p**2).sum()
    return float(value + (HOLD / 2 * ((t - 1) ** 2).sum() if recipe.trust == "learned" else 0.0))


ALL = torch.ones(3, dtype=torch.bool)
RECIPES = [Recipe(1e-2), Recipe(1e-3, -0.5), Recipe(1e-2, 0.0, 1.0), Recipe(3e-2, -0.5, 0.0)]


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_solution_is_that_of_another_solver(recipe) -> None:
    samples = problem()
    size = 3 * 7 + (3 if recipe.trust == "learned" else 0)
    expected = minimize(lambda v: objective(samples, recipe, v), np.ones(size) * 0.1, method="BFGS", tol=1e-9)
    solver = PixelProblem.of(clone(samples))
    solution = solver.solve(recipe, steps=200)
    assert abs(solution.value - expected.fun) < 1e-5
    embedding, bias, trust = solver.folded(solution)
    scores = samples.features @ embedding.mT + bias[:, 0] + trust[:, 0] * (samples.answers + FLOOR).log()
    # What is folded back, scaled again, has the least value that the other solver found, and no neighbour has less.
    mean, scale = moments(samples)
    scaled = (embedding * scale).double().numpy()
    shifted = (bias[:, 0] + embedding @ mean).double().numpy()
    numbers = np.concatenate([scaled.ravel(), shifted, *([trust[:, 0].numpy()] if recipe.trust == "learned" else [])])
    assert abs(objective(samples, recipe, numbers) - expected.fun) < 1e-5
    random_ = np.random.default_rng(0)
    for size_ in (1e-2, 1e-1):
        neighbour = numbers + size_ * random_.normal(size=numbers.shape)
        assert objective(samples, recipe, neighbour) > expected.fun
    assert torch.equal(scores.argmax(1), solver.answered(solution))


def clone(samples: PixelSamples) -> PixelSamples:
    return replace(samples, features=samples.features.clone())


def moments(samples: PixelSamples) -> tuple[torch.Tensor, torch.Tensor]:
    weights = samples.weights / samples.weights.sum()
    mean = weights @ samples.features
    return mean, (weights @ (samples.features - mean).square()).sqrt()


def test_a_start_changes_the_way_but_not_the_end() -> None:
    samples = problem()
    solver = PixelProblem.of(clone(samples))
    cold = solver.solve(Recipe(1e-2), steps=200)
    for other in RECIPES:
        warm = solver.solve(Recipe(1e-2), start=solver.solve(other, steps=200), steps=200)
        assert abs(warm.value - cold.value) < 1e-5
        torch.testing.assert_close(warm.axes, cold.axes, rtol=0, atol=2e-2)


def test_few_axes_and_samples_are_a_start_for_all_of_them() -> None:
    samples = problem(3000, dim=300)
    solver = PixelProblem.of(clone(samples))
    few = solver.leading(torch.arange(0, 3000, 2))
    assert few.x.shape == (1500, AXES)
    for recipe in RECIPES[:2]:
        best = solver.solve(recipe, steps=300)
        assert solver.solve_from_leading(recipe, 60).value - best.value < 1e-4
        assert solver.solve_from_leading(recipe, 8).value <= solver.solve(recipe, steps=8).value + 1e-5


def test_channels_that_never_change_have_no_part_in_the_answer() -> None:
    samples = problem()
    samples.features[:, 2] = 5.0
    solver = PixelProblem.of(clone(samples))
    embedding, bias, trust = solver.folded(solver.solve(Recipe(1e-2)))
    assert (embedding[:, 2] == 0).all()
    assert all(torch.isfinite(one).all() for one in (embedding, bias, trust))


def test_whole_shots_are_held_out_each_once() -> None:
    for count in (2, FEW, FEW + 5):
        shots = torch.arange(count).repeat_interleave(7)
        found = list(folds(shots, count, seed=0))
        assert len(found) == (count if count <= FEW else FOLDS)
        held_out = [set(shots[rows].tolist()) for _, rows in found]
        assert sorted(s for one in held_out for s in one) == list(range(count))
        for (rows, _), one in zip(found, held_out, strict=True):
            assert not one & set(shots[rows].tolist())
    many = torch.arange(10).repeat_interleave(4000)
    rows = compared(many, seed=0)
    assert len(set(rows.tolist())) == len(rows) == PIXELS and set(many[rows].tolist()) == set(range(10))


def test_mean_iou_is_that_of_the_task() -> None:
    truth, answer = (np.random.default_rng(s).integers(0, 3, (9, 9)).astype(np.uint8) for s in (0, 1))
    metric = MeanIoU(("a", "b", "c", "d"))
    metric.count(truth, answer)
    assert mean_iou(metric.confusion.astype(float)) == pytest.approx(metric.compute().values["miou"])


def test_what_helps_on_held_out_shots_is_chosen_and_its_gain_is_told() -> None:
    samples = problem(1200)
    choice = choose(PixelProblem.of(clone(samples)), samples.shots, seed=0)
    assert choice.recipe is not None and choice.gain > choice.deviation > 0
    assert choice.trials[0].recipe is None
    assert choice.gain == pytest.approx(max(t.miou for t in choice.trials[1:]) - choice.trials[0].miou)


@pytest.mark.parametrize("shots", [2, 8])
def test_the_models_own_answer_stays_where_it_cannot_be_beaten(shots) -> None:
    samples = problem(1200)
    truth = F.one_hot(samples.labels, 3).float() * 0.9 + 0.05
    samples = replace(samples, answers=truth, features=random(1200, 6), shots=torch.arange(1200) % shots)
    choice = choose(PixelProblem.of(clone(samples)), samples.shots, seed=0)
    assert choice.recipe is None and choice.trials[0].miou == 1


def test_query_logits_gain_the_mean_evidence_under_the_mask() -> None:
    logits, masks = random(1, 3, 3), random(1, 3, 4, 6, seed=1)
    evidence = Evidence((random(1, 2, 4, 6, seed=2),), torch.tensor([0.5, -1.0]), torch.tensor([1.0, 0.25]), ALL[:2])
    prediction = Prediction(logits, masks, (16, 24), ((16, 16),), evidence=evidence)
    found = query_logits(prediction, 0)
    share = masks[0].sigmoid()[:, :, :4]  # the image covers 4 of the 6 columns
    for q in range(3):
        for c in range(2):
            mean = (share[q] * evidence.maps[0][0, c, :, :4]).sum() / share[q].sum() + evidence.bias[c]
            expected = logits[0, q, c] + (evidence.trust[c] - 1) * logits[0, q].log_softmax(0)[c] + mean
            assert found[q, c] == pytest.approx(expected.item(), abs=1e-5)
    assert torch.equal(found[:, 2], logits[0, :, 2])


def test_an_answer_is_the_argmax_of_the_stated_distribution() -> None:
    evidence = Evidence(
        (random(1, 3, 4, 6, seed=2), random(1, 3, 2, 3, seed=3)), random(3), torch.tensor([1, 0.3, 0.0]), ALL
    )
    prediction = Prediction(random(1, 5, 4), random(1, 5, 4, 6, seed=1), (16, 24), ((16, 24),), evidence=evidence)
    own = semantic_map(prediction.class_logits[0], masks_at(prediction, 0, (16, 24)))
    e = sum(F.interpolate(one, (16, 24), mode="bilinear", align_corners=False)[0] for one in evidence.maps)
    p = (own + FLOOR) ** evidence.trust[:, None, None] * (e + evidence.bias[:, None, None]).exp()
    assert np.array_equal(label_map(prediction, 0, (16, 24)), p.argmax(0).numpy())


def test_classes_that_were_not_taught_keep_their_share_beside_the_others() -> None:
    taught, trust = torch.tensor([True, False, True]), torch.tensor([0.5, 1.0, 0.0])
    maps, bias = random(1, 3, 4, 6, seed=2) * taught[:, None, None], random(3) * taught
    evidence = Evidence((maps,), bias, trust, taught)
    prediction = Prediction(random(1, 5, 4), random(1, 5, 4, 6, seed=1), (4, 6), ((4, 6),), evidence=evidence)
    own = semantic_map(prediction.class_logits[0], prediction.mask_logits[0]).double() + FLOOR
    among = own[taught] ** trust[taught, None, None] * (maps[0] + bias[:, None, None])[taught].exp()
    p = own.clone()
    p[taught] = own[taught].sum(0) * among / among.sum(0)
    (_, scores), *_ = pixel_scores(prediction, 0, (4, 6))
    torch.testing.assert_close(scores.probabilities().double(), p / p.sum(0), atol=1e-6, rtol=1e-5)
    assert np.array_equal(label_map(prediction, 0, (4, 6)), p.argmax(0).numpy())
    shares, before = query_logits(prediction, 0).softmax(1), prediction.class_logits[0].softmax(1)
    torch.testing.assert_close(shares[:, [1, 3]], before[:, [1, 3]])  # the class and the background


def test_a_class_that_no_shot_shows_is_left_to_the_model() -> None:
    model, shots = tiny_segmenter(), [UnlabelledClasses(sample, (1,)) for sample in SHAPES]
    prompts = promptseg.fit(model, shots, "pixprompt", progress=False, pixels=3000).prompts
    assert not prompts.kinds["pixel"][1].any() and prompts.kinds["pixel"][[0, 2]].any()
    assert prompts.kinds["pixel_bias"][1] == 0 and prompts.kinds["pixel_trust"][1] == 1
    zero_shot = default_prompts(model, SPACE)
    for sample in SHAPES[:3]:
        features = model.encode_image([image_tensor(model, sample.image())])
        own, learned = (
            next(pixel_scores(model.decode(features, one), 0, (16, 16)))[1].probabilities()
            for one in (zero_shot, prompts)
        )
        torch.testing.assert_close(learned[1], own[1], atol=1e-4, rtol=1e-3)


@pytest.fixture(scope="module")
def run() -> Run:
    return promptseg.fit(tiny_segmenter(), SHAPES, "pixprompt", progress=False, pixels=3000)


def test_fit_learns_pixel_prompts_and_says_what_they_are_worth(run, tmp_path) -> None:
    model = tiny_segmenter()
    zero_shot = promptseg.fit(model, SHAPES, "zero-shot", progress=False)
    score, before = (promptseg.evaluate(model, one.prompts, SHAPES).miou for one in (run, zero_shot))
    assert score > before + 0.2
    assert run.losses == [] and run.parameters == sum(
        run.prompts.kinds[k].numel() for k in run.prompts.of_role("pixel")
    )
    metrics = run.record.metrics
    assert metrics["held_out_gain"] == pytest.approx(metrics["held_out_miou"] - metrics["held_out_own_miou"])
    assert run.record.tried[0]["ridge"] is None and len(run.record.tried) > 5
    for kind, tensor in zero_shot.prompts.kinds.items():
        assert torch.equal(run.prompts.kinds[kind], tensor)
    again = promptseg.Prompts.load(run.prompts.save(tmp_path / "prompts"))
    assert again.record == run.record
    assert promptseg.evaluate(model, again, SHAPES).miou == score


@pytest.mark.parametrize("method", ["pixprompt", "linear"])
def test_a_single_shot_is_learned_from_without_an_estimate(method) -> None:
    run = promptseg.fit(tiny_segmenter(), SHAPES[:1], method, progress=False)
    assert run.record.tried == () and run.record.metrics == {}
    assert run.prompts.kinds["pixel"].isfinite().all() and run.prompts.kinds["pixel"].any()


def test_the_same_seed_gives_the_same_prompts_and_another_others(run) -> None:
    again = promptseg.fit(tiny_segmenter(), SHAPES, "pixprompt", progress=False, pixels=3000)
    other = promptseg.fit(tiny_segmenter(), SHAPES, "pixprompt", progress=False, pixels=3000, seed=1)
    assert torch.equal(again.prompts.kinds["pixel"], run.prompts.kinds["pixel"])
    assert not torch.equal(other.prompts.kinds["pixel"], run.prompts.kinds["pixel"])


def test_other_numbers_of_threads_give_the_same_prompts_to_a_thousandth(run) -> None:
    threads, found = torch.get_num_threads(), []
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            found.append(promptseg.fit(tiny_segmenter(), SHAPES, "pixprompt", progress=False, pixels=3000).prompts)
    finally:
        torch.set_num_threads(threads)
    for name, tensor in found[0].of_role("pixel").items():
        assert (found[1].kinds[name] - tensor).abs().max() <= 1e-3 * tensor.abs().max()


def test_every_shot_is_encoded_and_decoded_once(monkeypatch) -> None:
    model, counts = tiny_segmenter(), Counter()
    for name in ("encode_image", "decode"):
        inner = getattr(model, name)
        monkeypatch.setattr(model, name, lambda *args, n=name, f=inner: counts.update([n]) or f(*args))
    promptseg.fit(model, SHAPES, "pixprompt", progress=False, pixels=1000)
    assert counts == {"encode_image": len(SHAPES), "decode": len(SHAPES)}


@pytest.mark.parametrize("task", ["instance", "panoptic"])
def test_other_tasks_take_pixel_prompts(task) -> None:
    model, shots = tiny_segmenter(), promptseg.load_dataset("streets:clear?size=64x48&train=4&val=1").train
    learned, semantic = (
        promptseg.fit(model, shots, "pixprompt", name, progress=False, pixels=1000) for name in (task, "semantic")
    )
    assert torch.equal(learned.prompts.kinds["pixel"], semantic.prompts.kinds["pixel"])
    result = promptseg.evaluate(model, learned.prompts, shots)
    assert result.task == task and result.headline is not None


def test_maps_of_the_backbone_are_a_setting_of_the_model() -> None:
    plain, more = tiny_segmenter(), tiny_segmenter()
    more.maps = "all"
    assert [spec.dim for spec in more.dense_map_specs[4:]] == list(more.config.backbone.channels)
    cache, image = FeaturesCache(torch.device("cpu"), "memory"), torch.zeros(3, 64, 64, dtype=torch.uint8)
    assert cache.key(plain, image) != cache.key(more, image)
    assert len(more.dense_maps(cache.features(more, image))) == 8
    prompts = promptseg.fit(more, SHAPES, "pixprompt", progress=False, pixels=1000).prompts
    assert prompts.kinds["pixel"].shape == (len(SPACE), 4 * 32 + sum(more.config.backbone.channels))
    with pytest.raises(PromptsegError, match="pixel prompts have shape"):
        promptseg.evaluate(plain, prompts, SHAPES)


def test_a_solver_over_trained_prompts_sees_answers_on_shots_they_were_not_trained_on(monkeypatch) -> None:
    trained: list[list[str]] = []
    inner = Trainer.run

    def recording(self, shots, progress):
        trained.append([shot.id for shot in shots])
        return inner(self, shots, progress)

    monkeypatch.setattr(Trainer, "run", recording)
    few = {"steps": 2, "batch_size": 2, "pixels": 600, "progress": False}
    ids = [shot.id for shot in SHAPES]
    run = promptseg.fit(tiny_segmenter(), SHAPES, "sspixprompt", **few)
    assert trained == [ids, ids[1::2], ids[::2]]
    trained.clear()
    promptseg.fit(tiny_segmenter(), SHAPES, "sspixprompt", cross_fit=0, **few)
    assert trained == [ids]
    learned = {name for name in run.prompts.kinds if f"{name}.learned" in run.prompts.parts}
    assert learned == {"spatial", "semantic"} and run.prompts.of_role("pixel") and len(run.losses) == 2
