"""Tiny SEEMs of every version answer as they did when all outputs of the official code were met.

Most of those outputs are too large to keep in the repository (`golden.py` says where they are looked for). What is
kept is small: answers of networks whose weights follow from their names, recorded from a code that met every one of
those outputs. Recording them anew checks that first:

    python tests/models/test_seem_reference.py
"""

import sys
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
import torch
from golden import error, golden_cases
from places import GOLDEN
from safetensors.torch import load_file, save_file
from shapes import ShapeSample
from test_seem_golden import PATTERNS, PROMPT_PATTERNS, TOLERANCE
from tiny import VERSIONS, tiny_segmenter
from torch import Tensor

import promptseg
from promptseg.models.seem.segmenter import SeemSegmenter

FOLDER = GOLDEN / "reference"
SAMPLE = ShapeSample(0)
POINT, BOX = (30.0, 20.0), (10.0, 8.0, 60.0, 40.0)
OBJECT_PROMPTS = {
    "point": {"points": [POINT], "negative": [(70.0, 40.0)]},
    "box": {"boxes": [BOX]},
    "stroke": {"strokes": [[(5.0, 5.0), (40.0, 30.0)]]},
    "text": {"text": "red car"},
    "point_and_text": {"points": [POINT], "text": "car"},
}
OFFICIAL_CASES = 31
"""Of seven models, by class names and by every kind of prompt."""


def reference_segmenter(version: str) -> SeemSegmenter:
    """A tiny model of a version, every parameter drawn by a generator that its name seeds."""
    model = tiny_segmenter(config=VERSIONS[version])
    with torch.no_grad():
        for name, tensor in model.parameter_tensors().items():
            if tensor.is_floating_point() and tensor.ndim:
                tensor.copy_(_drawn(name, tensor))
    return model


def _drawn(name: str, tensor: Tensor) -> Tensor:
    # The stream of RandomState is promised never to change.
    values = torch.from_numpy(np.random.RandomState(crc32(name.encode())).standard_normal(tensor.shape)).float()
    if tensor.ndim == 1:
        return (0.0 if name.endswith("bias") else 1.0) + 0.2 * values
    return values if "query" in name else values / tensor[0].numel() ** 0.5


def answers(version: str) -> dict[str, Tensor]:
    """Class and mask logits of the default prompts; mask logits of one object, by each kind of prompt that it takes."""
    model, photo = reference_segmenter(version), SAMPLE.image()
    shots = promptseg.draw_shots([SAMPLE], k=1)
    prompts = promptseg.fit(model, shots, method="zero-shot").prompts
    features = model.encode_image([torch.from_numpy(photo).permute(2, 0, 1)])
    prediction = model.decode(features, prompts)
    found = {"class_logits": prediction.class_logits, "mask_logits": prediction.mask_logits}
    for name, given in OBJECT_PROMPTS.items():
        if given.keys() <= set(model.object_prompts):
            first = promptseg.segment(model, photo, **given)
            found[f"object/{name}"] = first.logits
            if "previous" in model.object_prompts:
                second = promptseg.segment(model, photo, **given, previous=first, seed=1)
                found[f"object/{name}/again"] = second.logits
    return {name: tensor.contiguous() for name, tensor in found.items()}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_version_answers_as_recorded(version: str) -> None:
    recorded, found = load_file(FOLDER / f"{version}.safetensors"), answers(version)
    assert found.keys() == recorded.keys()
    for name, tensor in found.items():
        assert error(tensor, recorded[name]) <= TOLERANCE, name


def record() -> None:
    """Write the answers of every version."""
    cases = sum(len(golden_cases(pattern)) for pattern in (*PATTERNS, *PROMPT_PATTERNS))
    here = Path(__file__).parent
    if cases < OFFICIAL_CASES:
        sys.exit(f"{cases} of {OFFICIAL_CASES} cases of the official code are here: nothing is recorded")
    if pytest.main(["-q", str(here / "test_seem_golden.py"), str(here / "test_seem_text.py")]):
        sys.exit("the official outputs are not met: nothing is recorded")
    FOLDER.mkdir(exist_ok=True)
    for version in VERSIONS:
        save_file(answers(version), FOLDER / f"{version}.safetensors")


if __name__ == "__main__":
    record()
