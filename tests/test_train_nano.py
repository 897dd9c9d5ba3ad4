"""The tool that trains small models, run as a user runs it, for very few steps."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from shapes import SHAPES, SPACE
from tiny import tiny_folder

import promptseg

TOOL = Path(__file__).parents[1] / "tools" / "train_nano.py"


def train(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(TOOL), "--threads", "1", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for kind in ("images", "labels"):
        (folder / kind / "train").mkdir(parents=True)
    for sample in SHAPES:
        Image.fromarray(sample.image()).save(folder / "images" / "train" / f"{sample.number}.png")
        Image.fromarray(sample.semantic()).save(folder / "labels" / "train" / f"{sample.number}.png")
    (folder / "classes.json").write_text(json.dumps(list(SPACE.names)))
    return folder


@pytest.mark.slow
def test_it_goes_on_from_a_model_on_photos_and_repeats_itself(tmp_path: Path, photos: Path) -> None:
    start = tiny_folder(tmp_path / "start")
    outs = [tmp_path / "a", tmp_path / "b"]
    for out in outs:
        done = train("--data", str(photos), "--init", str(start), "--out", str(out), "--steps", "3", "--batch", "2")
        assert done.returncode == 0, done.stderr
    models = [promptseg.load_model(folder, device="cpu") for folder in (start, *outs)]
    assert models[1].fingerprint == models[2].fingerprint != models[0].fingerprint
    labels = promptseg.predict(
        models[1], promptseg.fit(models[1], SHAPES, method="zero-shot", progress=False).prompts, SHAPES[0].image()
    )
    assert labels.shape == (48, 80)
    assert labels.dtype == np.uint8
    assert "license: other" in (outs[0] / "README.md").read_text()
    assert not (outs[0] / "checkpoint.safetensors").exists()


@pytest.mark.slow
def test_it_starts_from_scratch_on_generated_streets(tmp_path: Path) -> None:
    done = train("--out", str(tmp_path / "nano"), "--steps", "1", "--batch", "1")
    assert done.returncode == 0, done.stderr
    model = promptseg.load_model(tmp_path / "nano", device="cpu")
    assert sum(tensor.numel() for tensor in model.parameter_tensors().values()) > 5e6
    assert (tmp_path / "nano" / "model.safetensors").stat().st_size < 15 * 2**20
    assert all(torch.isfinite(tensor).all() for tensor in model.parameter_tensors().values())


def test_a_wrong_path_is_one_line(tmp_path: Path) -> None:
    done = train("--data", str(tmp_path / "nothing"), "--out", str(tmp_path / "out"))
    assert done.returncode != 0
    assert done.stderr.startswith("train_nano: ")
    assert done.stderr.count("\n") == 1
