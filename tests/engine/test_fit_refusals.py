"""What `fit` refuses, or ends with, in a line."""

import pytest
from shapes import SHAPES
from tiny import tiny_segmenter

import promptseg
from promptseg.errors import PromptsegError
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
