"""What `fit` refuses, or ends with, in a line."""

import pytest
from shapes import SHAPES, SPACE, ShapeSample
from tiny import tiny_segmenter

import promptseg
from promptseg.engine.defaults import default_prompts
from promptseg.errors import PromptsegError
from promptseg.label_space import ClassInfo, LabelSpace
from promptseg.methods.registry import METHODS
from promptseg.models.seem.segmenter import SeemSegmenter


@pytest.fixture(scope="module")
def model() -> SeemSegmenter:
    return tiny_segmenter()


@pytest.mark.parametrize("method", ["zero-shot", "pixprompt", "ssprompt"])
def test_a_seed_below_zero_is_refused_at_once(model: SeemSegmenter, method: str) -> None:
    with pytest.raises(PromptsegError, match="^seed is -1: give a whole number of at least 0$"):
        promptseg.fit(model, SHAPES, method, seed=-1, progress=False)


@pytest.mark.parametrize("task", ["semantic", "instance", "panoptic"])
def test_a_rate_that_is_too_high_is_told_for_every_task(model: SeemSegmenter, task: str) -> None:
    shots = promptseg.load_dataset("streets:fog?train=2&val=1&size=64x32").train
    wild = {"steps": 5, "batch_size": 2, "rate": 1e20, "progress": False}
    with pytest.raises(PromptsegError, match="^the loss is nan: lower the learning rate"):
        promptseg.fit(model, shots, "ssprompt", task, **wild)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"method": "magic"},
            f"unknown method 'magic': choose one of {', '.join(sorted(METHODS))}",
        ),
        ({"task": "depth"}, "unknown task 'depth': choose one of instance, panoptic, semantic"),
        ({"preset": "fast"}, "unknown preset 'fast': choose one of paper, tuned"),
        ({"speed": 0.9}, "unknown setting 'speed': choose one of absent_classes, auxiliary, batch_size, "),
        ({"steps": 0}, "steps is 0: give a whole number of at least 1"),
        ({"loss_stride": 0}, "loss_stride is 0: give a whole number of at least 1"),
        ({"rate": -1.0}, "rate is -1.0: give a number of at least 0"),
        ({"optimizer": "lion"}, "unknown optimizer 'lion': choose one of adamw, sgd"),
        ({"momentum": 0.9}, "momentum is 0.9: adamw has its own; leave momentum out"),
        ({"schedule": "step"}, "unknown schedule 'step': choose one of cosine, poly"),
        ({"spatial": "dots"}, "unknown spatial 'dots': choose one of both, grid, queries"),
        ({"templates": "poem"}, "unknown templates 'poem'"),
        ({"flip": "yes"}, "flip is 'yes': give true or false"),
    ],
)
def test_what_is_unknown_or_out_of_range_is_one_line(model: SeemSegmenter, settings: dict, message: str) -> None:
    with pytest.raises(PromptsegError) as error:
        promptseg.fit(model, SHAPES, progress=False, **{"method": "ssprompt", **settings})
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_no_shots_and_mixed_data_are_refused(model: SeemSegmenter) -> None:
    with pytest.raises(PromptsegError, match="there are no shots"):
        promptseg.fit(model, [], "ssprompt", progress=False)
    other = ShapeSample(0, label_space=LabelSpace("other", (ClassInfo("a", (0, 0, 0)),)))
    with pytest.raises(PromptsegError, match="mix label spaces"):
        promptseg.fit(model, [SHAPES[0], other], "ssprompt", progress=False)


def test_evaluate_refuses_foreign_prompts_and_classes(model: SeemSegmenter) -> None:
    prompts = default_prompts(tiny_segmenter(seed=1), SPACE)
    with pytest.raises(PromptsegError, match="these prompts belong to tiny-1"):
        promptseg.evaluate(model, prompts, SHAPES)
    wrong = default_prompts(model, LabelSpace("other", (ClassInfo("tree", (0, 0, 0)),)))
    with pytest.raises(PromptsegError, match="the prompts are for 1 classes"):
        promptseg.evaluate(model, wrong, SHAPES)
    with pytest.raises(PromptsegError, match="the split is empty"):
        promptseg.evaluate(model, default_prompts(model, SPACE), [])
