"""Images that are decoded together score as they do alone."""

from typing import Any

import pytest
from shapes import SPACE, ShapeSample
from tiny import tiny_segmenter

import promptseg
from promptseg.engine.defaults import default_prompts
from promptseg.models.base import ImageFeatures, Prediction
from promptseg.models.seem.segmenter import SeemSegmenter
from promptseg.prompts import Prompts


class Counting:
    """A model that notes how many images it decodes at once."""

    def __init__(self, model: SeemSegmenter) -> None:
        self._model = model
        self.counts: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def decode(self, features: ImageFeatures, prompts: Prompts) -> Prediction:
        self.counts.append(len(features))
        return self._model.decode(features, prompts)


def test_images_of_one_canvas_are_decoded_together_with_the_same_scores() -> None:
    model = Counting(tiny_segmenter())
    prompts = default_prompts(model, SPACE)
    samples = [*map(ShapeSample, range(5)), *(ShapeSample(number, height=80) for number in range(2))]
    alone = promptseg.evaluate(model, prompts, samples)
    assert model.counts == [1] * 7
    together = promptseg.evaluate(model, prompts, samples, batch_size=3)
    assert model.counts[7:] == [3, 2, 2]
    assert together.per_class == pytest.approx(alone.per_class, abs=1e-3) and together.num_images == 7
