"""Pixel prompts with changes of weights: solved before, in place while these are learned, and solved again behind."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from shapes import SHAPES
from tiny import tiny_segmenter

import promptseg
from promptseg.errors import PromptsegError
from promptseg.features.encode import image_tensor
from promptseg.methods.pixel.pixprompt import PixelPrompts, PixelSettings
from promptseg.models.adapted import adapted
from promptseg.models.seem.segmenter import SeemSegmenter
from promptseg.prompts import Prompts
from promptseg.tasks.semantic import SemanticTask

PHOTO = SHAPES[5].image()


@pytest.fixture(scope="module")
def model() -> SeemSegmenter:
    return tiny_segmenter()


METHODS = ("ssf", "lora")


@pytest.mark.parametrize("method", METHODS)
def test_pixel_prompts_are_solved_on_the_adapted_maps(method: str, model: SeemSegmenter, tmp_path: Path) -> None:
    trained = {"steps": 5, "batch_size": 2, "progress": False}
    both = promptseg.fit(model, SHAPES[:4], method=f"{method}-pixprompt", pixels=1500, **trained)
    alone = promptseg.fit(model, SHAPES[:4], method=method, **trained)
    assert both.parameters == alone.parameters + 3 * (4 * 32 + 2)
    solver, used = PixelPrompts(model, 3, 4, PixelSettings(pixels=1500), 0), adapted(model, both.prompts)
    with torch.no_grad():
        for shot, sample in enumerate(SHAPES[:4]):
            pixels = image_tensor(model, sample.image())
            features = used.encoder.encode_image([pixels])
            target = SemanticTask().target(sample, pixels.shape[1:], flip=False)
            solver.show(shot, features, used.decoder.decode(features, used.prompts), target)
    for name, tensor in solver.solve().kinds.items():
        # Steps that end before the optimum make more of a rounding than an optimum would.
        torch.testing.assert_close(both.prompts.kinds[name], tensor, rtol=0, atol=0.01 * float(tensor.abs().max()))
    loaded = Prompts.load(both.prompts.save(tmp_path))
    scores = [promptseg.evaluate(model, prompts, SHAPES).miou for prompts in (both.prompts, loaded, alone.prompts)]
    assert scores[0] == scores[1] > scores[2]
    with pytest.raises(PromptsegError, match="these prompts change"):
        model.decode(model.encode_image([image_tensor(model, PHOTO)]), loaded)
    assert promptseg.predict(model, replace(loaded, weights={}), PHOTO).shape == PHOTO.shape[:2]


@pytest.mark.parametrize("method", METHODS)
def test_weights_are_learned_with_pixel_prompts_in_place(method: str) -> None:
    model, task = tiny_segmenter(), SemanticTask()
    pixels = promptseg.fit(model, SHAPES, "pixprompt", progress=False, pixels=600)
    still = {
        "steps": 1,
        "rate": 0.0,
        "batch_size": len(SHAPES),
        "auxiliary": 0.0,
        "flip": False,
        "zoom": 1.0,
        "jitter": 0.0,
    }
    run = promptseg.fit(model, SHAPES, f"{method}-pixprompt", progress=False, pixels=600, **still)
    losses = []
    for sample in SHAPES:
        image = image_tensor(model, sample.image())
        target = task.target(sample, (image.shape[1], image.shape[2]), flip=False)
        losses.append(task.loss(model.decode(model.encode_image([image]), pixels.prompts), [target], 4).item())
    assert run.losses[0] == pytest.approx(np.mean(losses), rel=1e-4)
    # What is said of held-out shots comes from maps that had not seen them.
    assert run.record.metrics == pixels.record.metrics and run.record.tried == pixels.record.tried
