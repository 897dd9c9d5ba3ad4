"""`fit` says how far the shots are from what the base was trained on."""

from pathlib import Path

import numpy as np
import pytest
import torch
from shapes import SHAPES
from tiny import tiny_folder, tiny_segmenter

import promptseg
from promptseg.cli.main import run
from promptseg.engine.expectation import expectation
from promptseg.errors import PromptsegError
from promptseg.features.encode import image_tensor
from promptseg.files import write_json
from promptseg.models.seem.training import STATISTICS_FILE, Statistics, measured_statistics, read_training
from promptseg.typed_json import to_json


def features(model, count: int, shift: float = 0.0):
    images = [torch.from_numpy(sample.image()).permute(2, 0, 1).float() + shift for sample in SHAPES[:count]]
    return [model.encode_image([image]) for image in images]


def test_distance_is_the_mean_s_in_deviations() -> None:
    model = tiny_segmenter()
    seen = features(model, 3)
    statistics = measured_statistics(seen)
    level = torch.cat([one.levels[0].flatten(2) for one in seen]).double().numpy()  # (images, D, places)
    mean, deviation = level.mean((0, 2)), level.std((0, 2))
    np.testing.assert_allclose(statistics.means, mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(statistics.deviations, deviation, rtol=1e-3)
    assert statistics.distance(seen) < 1e-4
    other = features(model, 2, shift=60.0)
    moved = np.concatenate([one.levels[0].flatten(2).numpy() for one in other]).mean((0, 2))
    assert statistics.distance(other) == pytest.approx(np.sqrt((((moved - mean) / deviation) ** 2).mean()), rel=1e-3)


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    assert read_training(tmp_path, ("car",)).statistics is None
    write_json(tmp_path / STATISTICS_FILE, {"means": [0.0, 1.0], "deviations": [1.0]})
    with pytest.raises(PromptsegError, match=r"statistics.json: means and deviations"):
        read_training(tmp_path, None)


@pytest.mark.parametrize(("gap", "words"), [(0.1, ()), (0.3, ("related", "next step")), (0.9, ("far", "next step"))])
def test_fit_says_what_to_expect(tmp_path: Path, capsys, gap: float, words: tuple[str, ...]) -> None:
    folder = tiny_folder(tmp_path / "model")
    model = promptseg.load_model(folder, device="cpu")
    photos = [image_tensor(model, sample.image()) for sample in SHAPES[:4]]
    own = measured_statistics([model.encode_image([photo]) for photo in photos])
    means = tuple(m + gap * d for m, d in zip(own.means, own.deviations, strict=True))
    write_json(folder / STATISTICS_FILE, to_json(Statistics(means, own.deviations)))
    assert expectation(model, SHAPES) == ()  # read before the file was there
    lines = expectation(promptseg.load_model(folder, device="cpu"), SHAPES)
    assert len(lines) == len(words) and all(word in line for word, line in zip(words, lines, strict=True))
    assert not lines or f"distance {gap:.2f}" in lines[0]


def test_the_command_says_it_before_the_fit(tmp_path: Path, capsys) -> None:
    given = ["fit", "--data", "streets:night?train=4&val=2&size=64x32", "--shots", "1", "--steps", "1"]
    assert run([*given, "--out", str(tmp_path / "run")]) == 0
    assert "its own answer is" in capsys.readouterr().err
