"""Instance and panoptic segmentation from labels to prompts: targets, losses, fits, scores, predictions, refusals."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from places import SHARED
from shapes import CARS, SHAPES, SPACE
from tiny import tiny_folder, tiny_segmenter

import promptseg
from promptseg.cli.main import run as run_command
from promptseg.data.registry import load_dataset
from promptseg.data.sample import Dataset, ObjectLabels, PanopticLabels, Segment, Split
from promptseg.engine.defaults import default_prompts
from promptseg.errors import PromptsegError
from promptseg.experiments.compare import compare
from promptseg.experiments.plan import Plan, Variant
from promptseg.label_space import LabelSpace
from promptseg.methods.registry import METHODS
from promptseg.models.base import Prediction
from promptseg.models.seem.segmenter import SeemSegmenter
from promptseg.recipes.paper import RECIPES
from promptseg.recipes.reproduce import reproduce
from promptseg.tasks.instance import InstanceSettings, InstanceTask
from promptseg.tasks.matched_loss import MatchedSettings, SegmentTarget, cell_counts, segment_target, segments_loss
from promptseg.tasks.panoptic import PanopticSettings, PanopticTask
from promptseg.tasks.registry import TASKS

FEW = {"steps": 2, "batch_size": 2}
EVERYTHING = {"object_threshold": 0, "overlap_threshold": 0}
"""Thresholds at which random weights find segments."""
BOTH = pytest.mark.parametrize("task", ["instance", "panoptic"])
SAMPLES = SHARED / "samples"


DATA = Dataset(
    "cars", SPACE, Split(CARS[:2], "cars", "train"), Split(CARS[2:], "cars", "val"), Split([], "cars", "test")
)


@pytest.fixture(scope="module")
def model() -> SeemSegmenter:
    return tiny_segmenter()


LABELS = ObjectLabels.of(
    PanopticLabels(
        np.array([[5, 5, 9, 9], [5, 5, 9, 9], [0, 7, 8, 8], [0, 7, 8, 8]], np.int32),
        (Segment(5, 0), Segment(9, 1), Segment(7, 1, is_crowd=True), Segment(8, 1)),
    )
)
"""A stuff segment, two things, a crowd and some void."""


def test_a_target_numbers_its_segments_and_mirrors_them() -> None:
    everything = segment_target(LABELS, (0, 1), (4, 4), flip=False)
    assert everything.classes.tolist() == [0, 1, 1]
    assert everything.map.tolist() == [[1, 1, 2, 2]] * 2 + [[4, 4, 3, 3]] * 2  # void and crowd alike: 4, ignored
    things = segment_target(LABELS, (1,), (4, 4), flip=True)
    assert things.classes.tolist() == [1, 1]
    assert things.map.tolist() == [[1, 1, 0, 0]] * 2 + [[2, 2, 3, 3]] * 2
    assert segment_target(LABELS, (1,), (2, 2), flip=False).map.tolist() == [[0, 1], [3, 2]]


def test_cells_count_the_pixels_of_every_segment() -> None:
    target = segment_target(LABELS, (0, 1), (4, 4), flip=False)
    assert cell_counts(target, (4, 4), (2, 2)).tolist() == [
        [0] * 4,
        [4, 0, 0, 0],
        [0, 4, 0, 0],
        [0, 0, 0, 4],
        [0, 0, 4, 0],
    ]
    coarse = cell_counts(target, (8, 8), (2, 2))  # the image fills a quarter of its canvas
    assert coarse[:, 0].tolist() == [0, 4, 4, 4, 4] and not coarse[:, 1:].any()


def logits_of(map_: np.ndarray, size: int = 4) -> Prediction:
    """A prediction that is sure of everything: class and mask of segments 1 to 3, and a query of background."""
    masks = torch.stack([torch.from_numpy(map_ == n).float() * 40 - 20 for n in (1, 2, 3, 99)])[None]
    classes = 30 * torch.eye(3)[[0, 1, 1, 2]][None]
    return Prediction(classes, masks, (size, size), ((size, size),))


@pytest.mark.parametrize("loss", ["matched", "matched+dice"])
def test_the_right_answer_costs_nothing_and_what_is_ignored_has_no_say(loss: str) -> None:
    settings = MatchedSettings(loss=loss)
    target = segment_target(LABELS, (0, 1), (4, 4), flip=False)
    right = target.map.numpy()
    assert segments_loss(logits_of(right), [target], 1, settings) < 1e-5
    ignored = np.where(right == 4, 2, right)  # the second segment spreads over crowd and void
    assert segments_loss(logits_of(ignored), [target], 1, settings) < 1e-5
    wrong = np.where(right == 1, 2, right)
    assert segments_loss(logits_of(wrong), [target], 1, settings) > 1


def test_the_paper_loss_is_cross_entropy_of_classes_and_of_masks() -> None:
    target = SegmentTarget(torch.tensor([1]), torch.tensor([[1, 0], [0, 0]]), torch.tensor([[False, True, False]]))
    prediction = Prediction(torch.zeros(1, 1, 3), torch.full((1, 1, 2, 2), 1.0), (2, 2), ((2, 2),))
    inside, outside = np.log1p(np.exp(-1.0)), np.log1p(np.exp(1.0))
    expected = 2 * np.log(3) + 5 * (inside + 3 * outside) / 4
    assert segments_loss(prediction, [target], 1, MatchedSettings(loss="matched")).item() == pytest.approx(expected)


def test_the_background_weight_sets_how_much_queries_without_a_segment_count() -> None:
    target = SegmentTarget(torch.tensor([0]), torch.tensor([[1, 1], [1, 1]]), torch.tensor([[False, True, False]]))
    masks = torch.tensor([20.0, -20.0])[:, None, None].expand(2, 2, 2)[None]
    classes = torch.tensor([[[0.0, 0.0], [3.0, 0.0]]])  # the second query should be background, and is not
    first, second = np.log(2), np.log1p(np.exp(3))
    for weight in (0.1, 1.0):
        loss = segments_loss(
            Prediction(classes, masks, (2, 2), ((2, 2),)), [target], 1, MatchedSettings(background_weight=weight)
        )
        assert loss.item() == pytest.approx(2 * (first + weight * second) / (1 + weight), rel=1e-5)


@pytest.mark.parametrize("settings", [MatchedSettings(), MatchedSettings(loss="matched")])
def test_the_loss_gradient_agrees_with_finite_differences(settings: MatchedSettings) -> None:
    generator = torch.Generator().manual_seed(0)
    classes = torch.randn(2, 4, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    masks = torch.randn(2, 4, 3, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    targets = [segment_target(LABELS, (0, 1), (11, 15), flip) for flip in (False, True)]

    def value(class_logits: torch.Tensor, mask_logits: torch.Tensor) -> torch.Tensor:
        return segments_loss(
            Prediction(class_logits, mask_logits, (12, 16), ((11, 15), (11, 15))), targets, 1, settings
        )

    assert torch.autograd.gradcheck(value, (classes, masks), eps=1e-6, atol=1e-6)


def test_points_are_a_sample_of_the_cells_and_the_same_for_the_same_prediction() -> None:
    generator = torch.Generator().manual_seed(0)
    target = segment_target(LABELS, (0, 1), (64, 64), flip=False)
    prediction = Prediction(
        torch.randn(1, 5, 3, generator=generator), torch.randn(1, 5, 32, 32, generator=generator), (64, 64), ((64, 64),)
    )
    whole, some, again = (
        segments_loss(prediction, [target], 1, MatchedSettings(points=p)).item() for p in (0, 300, 300)
    )
    assert some == again != whole and some == pytest.approx(whole, rel=0.1)
    assert segments_loss(prediction, [target], 1, MatchedSettings(points=10**6)).item() == whole


def test_a_stride_is_of_pixels_and_never_finer_than_the_masks() -> None:
    generator = torch.Generator().manual_seed(0)
    target = segment_target(LABELS, (0, 1), (64, 64), flip=False)
    prediction = Prediction(
        torch.randn(1, 5, 3, generator=generator), torch.randn(1, 5, 16, 16, generator=generator), (64, 64), ((64, 64),)
    )
    losses = [segments_loss(prediction, [target], stride, MatchedSettings()).item() for stride in (1, 4, 8)]
    assert losses[0] == losses[1] != losses[2]


def test_an_image_without_segments_teaches_background() -> None:
    labels = ObjectLabels(np.zeros((8, 8), np.int32), (), ())
    classes = torch.zeros(1, 2, 3, requires_grad=True)
    masks = torch.zeros(1, 2, 2, 2, requires_grad=True)
    target = segment_target(labels, (0, 1), (8, 8), flip=False)
    segments_loss(Prediction(classes, masks, (8, 8), ((8, 8),)), [target], 1, MatchedSettings()).backward()
    assert (classes.grad[..., 2] < 0).all() and (classes.grad[..., :2] > 0).all()


@pytest.mark.parametrize(("task", "method"), [*(("panoptic", m) for m in sorted(METHODS)), ("instance", "ssprompt")])
def test_every_method_learns_every_task(model: SeemSegmenter, task: str, method: str) -> None:
    run = promptseg.fit(model, CARS[:2], method, task, progress=False, steps=1, batch_size=2)
    assert run.record.task == task and all(np.isfinite(run.losses))
    result = promptseg.evaluate(model, run.prompts, CARS[:2])
    assert result.task == task and result.headline is not None and 0 <= result.headline <= 1


@pytest.mark.slow
@BOTH
def test_training_lowers_the_loss(model: SeemSegmenter, task: str) -> None:
    run = promptseg.fit(model, CARS, "ssprompt", task=task, steps=60, batch_size=4, progress=False)
    assert sum(run.losses[-10:]) < 0.85 * sum(run.losses[:10])


def test_settings_of_the_fit_hold_until_others_are_given(model: SeemSegmenter) -> None:
    run = promptseg.fit(
        model, CARS, "ssprompt", task="instance", progress=False, max_detections=3, rules="cityscapes", **FEW
    )
    assert len(promptseg.predict(model, run.prompts, CARS[0].image(), "instance")) <= 3
    assert len(promptseg.predict(model, run.prompts, CARS[0].image(), "instance", max_detections=16)) > 3
    assert promptseg.predict(model, run.prompts, CARS[0].image(), "semantic").shape == (48, 80)
    assert promptseg.evaluate(model, run.prompts, CARS, "semantic").miou is not None
    with pytest.raises(PromptsegError, match="no miou of the task 'instance': take one of ap50, ap"):
        _ = promptseg.evaluate(model, run.prompts, CARS).miou


@pytest.mark.parametrize(
    ("task", "settings", "message"),
    [
        ("instance", {"rules": "voc"}, "unknown rules of average precision 'voc': choose one of cityscapes, coco"),
        ("instance", {"max_detections": 0}, "max_detections is 0: give a whole number of at least 1"),
        ("panoptic", {"object_threshold": 1.5}, "object_threshold is 1.5: give a number from 0 to 1"),
        ("panoptic", {"overlap_threshold": "high"}, "overlap_threshold is 'high': give a number from 0 to 1"),
        ("panoptic", {"loss": "cross-entropy"}, "unknown loss of matched segments 'cross-entropy': choose"),
        ("instance", {"points": -1}, "points is -1: give a whole number of at least 0"),
        ("instance", {"background_weight": True}, "background_weight is True: give a number from 0 to 1"),
        ("semantic", {"rules": "coco"}, "unknown setting 'rules'"),
    ],
)  # fmt: skip
def test_a_bad_setting_is_one_line(model: SeemSegmenter, task: str, settings: dict[str, object], message: str) -> None:
    with pytest.raises(PromptsegError) as error:
        promptseg.fit(model, CARS, "ssprompt", task=task, progress=False, **settings)
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


@BOTH
def test_data_without_instance_labels_are_refused_in_one_line(model: SeemSegmenter, task: str, tmp_path: Path) -> None:
    prompts = default_prompts(model, SPACE)
    shapes = Dataset(
        "shapes", SPACE, Split(SHAPES[:3], "s", "train"), Split(SHAPES[3:], "s", "val"), Split([], "s", "test")
    )
    for refused in (
        lambda: promptseg.fit(model, SHAPES, "ssprompt", task=task, progress=False),
        lambda: promptseg.evaluate(model, prompts, SHAPES, task),
        lambda: compare(model, [shapes], Plan((Variant("ssprompt"),), task=task), tmp_path, lambda line: None),
    ):
        with pytest.raises(PromptsegError, match="shape/.*: shapes have no instance labels"):
            refused()


def test_classes_without_things_have_no_instances(model: SeemSegmenter) -> None:
    stuff = LabelSpace("flat", tuple(replace(info, is_thing=False) for info in SPACE.classes))
    samples = [replace(sample, label_space=stuff) for sample in CARS]
    with pytest.raises(PromptsegError, match="flat: none of its classes is a thing"):
        promptseg.fit(model, samples, "ssprompt", task="instance", progress=False)
    with pytest.raises(PromptsegError, match="flat: none of its classes is a thing"):
        promptseg.predict(model, default_prompts(model, stuff), CARS[0].image(), "instance")


def test_a_comparison_shows_the_scores_of_its_task(model: SeemSegmenter, tmp_path: Path) -> None:
    said: list[str] = []
    plan = Plan((Variant("zero-shot"), Variant("semprompt")), (2,), (0,), FEW, task="panoptic")
    outcomes = compare(model, [DATA], plan, tmp_path, said.append)
    prompts = default_prompts(model, SPACE)
    expected = promptseg.evaluate(model, prompts, DATA.val, "panoptic")
    score = outcomes[0].score
    assert score is not None and (score.scores, score.per_class) == (expected.scores, expected.per_class)
    assert said[1] == f"zero-shot on cars, panoptic, 2 shots, seed 0: {100 * expected.scores['pq']:.1f} PQ"
    other = compare(model, [DATA], replace(plan, task="instance"), tmp_path, said.append)
    assert other[0].trial != outcomes[0].trial and other[0].score is not None  # one folder, two tasks


def test_table_4_has_a_column_for_each_task(model: SeemSegmenter, tmp_path: Path) -> None:
    plan = Plan((Variant("zero-shot"),), seeds=(0, 1), settings=FEW)
    made = reproduce(RECIPES["table4"], model, {"streets:fog": DATA}, plan, tmp_path, lambda line: None)
    row = dict(zip(made.table.headers, made.table.rows[1], strict=True))
    assert [row[f"Cityscapes, {name}: paper, tiny"] for name in ("mIoU", "AP50", "PQ")] == ["55.2", "37.7", "38.0"]
    for task, name in (("semantic", "mIoU"), ("instance", "AP50"), ("panoptic", "PQ")):
        found = [
            o.score.scores for o in made.outcomes if (o.trial.task, o.trial.variant) == (task, "ssprompt") and o.score
        ]
        mean = np.mean([scores[TASKS[task].columns.headline] for scores in found])
        assert len(found) == 2 and row[f"streets:fog, {name}: ours"].startswith(f"{100 * mean:.1f} ± ")
    records = [json.loads(path.read_text())["record"] for path in (tmp_path / "trials").iterdir()]
    assert {record["settings"].get("rules") for record in records} == {None, "cityscapes"}
    one = RECIPES["table4"].of_task("instance")
    assert [row.paper["tiny"] for row in one.rows] == [(32.7,), (37.7,)]
    with pytest.raises(PromptsegError, match="unknown task of table5 'panoptic': choose one of semantic"):
        RECIPES["table5"].of_task("panoptic")


def test_the_commands_take_a_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr("promptseg.load_dataset", lambda spec: DATA)
    folder = str(tiny_folder(tmp_path / "model"))
    base = ["--model", folder, "--data", "cars", "--shots", "2", "--steps", "2"]
    assert run_command(["fit", *base, "--task", "panoptic", "--out", str(tmp_path / "run")]) == 0
    prompts = str(tmp_path / "run/prompts")
    capsys.readouterr()
    assert run_command(["evaluate", "--data", "cars", "--prompts", prompts, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["task"] == "panoptic"
    assert (
        run_command(
            ["evaluate", "--data", "cars", "--prompts", prompts, "--task", "instance", "--set", "rules=cityscapes"]
        )
        == 0
    )
    said = capsys.readouterr().out
    assert "AP50 in percent" in said and said.splitlines()[-1].startswith("AP50 ")
    assert (
        run_command(
            [
                "compare",
                *base,
                "--task",
                "instance",
                "--methods",
                "zero-shot",
                "--seeds",
                "0",
                "--out",
                str(tmp_path / "c"),
            ]
        )
        == 0
    )
    assert "AP50" in capsys.readouterr().out and "cars, instance" in (tmp_path / "c/table.md").read_text()
    table = [
        "reproduce",
        "table4",
        "--task",
        "panoptic",
        "--model",
        folder,
        "--seeds",
        "0",
        "--steps",
        "2",
        "--out",
        str(tmp_path / "t"),
    ]
    assert run_command(table) == 0
    assert "PQ" in capsys.readouterr().out


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="no samples beside the repository")
@pytest.mark.parametrize("folder", ["coco_panoptic", "coco_stuff21"])
@BOTH
def test_real_photos_with_objects(model: SeemSegmenter, folder: str, task: str, tmp_path: Path) -> None:
    data = load_dataset(f"coco_panoptic:{SAMPLES / folder}")
    photos = [*data.train, *data.val][:2]
    run = promptseg.fit(model, photos, "ssprompt", task=task, progress=False, **FEW)
    result = promptseg.evaluate(model, run.prompts, photos)
    assert result.headline is not None and result.num_images == len(photos)
    assert InstanceTask(InstanceSettings()).labels(photos[0]).segments
    assert PanopticTask(PanopticSettings()).labels(photos[0]).segments
