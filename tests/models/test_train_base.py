"""The tool that trains the embedded model, run as a user runs it, for very few steps."""

import importlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image
from places import ROOT
from shapes import SHAPES, SPACE
from tiny import tiny_folder

import promptseg
from promptseg.label_space import IGNORE

TOOLS = ROOT / "tools"
SMALL = ("--batch", "2", "--fresh", "1", "--keep", "4", "--size", "128x96", "--threads", "1", "--workers", "1")


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(TOOLS / "train_base.py"), "--device", "cpu", *SMALL, "--held-out", "1", *arguments]


def train(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=600)


@pytest.fixture(scope="module")
def tools() -> ModuleType:
    """The module that turns scenes into training examples."""
    sys.path.insert(0, str(TOOLS))
    try:
        yield importlib.import_module("base_looks")
    finally:
        sys.path.remove(str(TOOLS))


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


def painted_squares(tools: ModuleType, count: int):
    """Scenes with a white square (segment 2, class 5) on black (segment 1, class 3) and an unlabelled strip."""
    scenes = importlib.import_module("base_scenes")
    image, segments = np.zeros((96, 160, 3), np.uint8), np.ones((96, 160), np.uint8)
    image[20:60, 50:110], segments[20:60, 50:110], segments[90:] = 255, 2, 0
    classes = np.full(scenes.SEGMENTS, IGNORE, np.uint8)
    classes[1:3] = 3, 5
    pool = scenes.Pool(count, torch.device("cpu"), (96, 160))
    return pool.take(pool.add([(image, segments, classes)] * count))


def test_crops_move_labels_with_the_pixels(tools: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "looks", lambda images, numbers, random: images)
    batch = tools.examples(painted_squares(tools, 8), (64, 96), torch.Generator().manual_seed(0))
    assert batch.pixels.shape == (8, 3, 64, 96) and batch.labels.shape == (8, 64, 96)
    assert set(batch.labels.unique().tolist()) <= {3, 5, IGNORE}
    white = batch.pixels.mean(1) > 127
    labelled = batch.labels != IGNORE
    agree = (white == (batch.labels == 5))[labelled].float().mean()
    assert agree > 0.98  # all but pixels on the edge
    assert len({label.numpy().tobytes() for label in batch.labels}) == 8


def test_segments_are_the_labels_at_the_stride_of_masks(tools: ModuleType) -> None:
    batch = tools.examples(painted_squares(tools, 4), (64, 96), torch.Generator().manual_seed(1))
    for labels, segments in zip(batch.labels, batch.segments, strict=True):
        assert segments.masks.shape[1] == 16 * 24
        for class_id, mask in zip(segments.classes, segments.masks, strict=True):
            assert mask.sum() * 16 == pytest.approx(float((labels == class_id).sum()))


def test_looks_change_the_photo_and_repeat_with_the_seed(tools: ModuleType) -> None:
    scenes = painted_squares(tools, 6)
    first, again, other = (
        tools.examples(scenes, (64, 96), torch.Generator().manual_seed(seed)).pixels for seed in (3, 3, 4)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert first.min() >= 0 and first.max() <= 255 and first.isfinite().all()


@pytest.mark.slow
def test_the_loss_falls_and_a_seed_repeats_itself(tmp_path: Path) -> None:
    outs = [tmp_path / "a", tmp_path / "b"]
    for out in outs:
        done = train("--out", str(out), "--steps", "12", "--log-every", "1")
        assert done.returncode == 0, done.stderr
    losses = [float(line.split("  loss ")[1].split()[0]) for line in done.stdout.splitlines() if "  loss " in line]
    assert len(losses) == 12 and np.mean(losses[-3:]) < 0.95 * np.mean(losses[:3])
    models = [promptseg.load_model(out, device="cpu") for out in outs]
    assert models[0].fingerprint == models[1].fingerprint
    assert (outs[0] / "model.safetensors").stat().st_size < 15 * 2**20
    assert "held out: clear" in done.stdout and "| snow |" in (outs[0] / "README.md").read_text()


@pytest.mark.slow
def test_a_kept_backbone_stays_and_a_tuned_one_moves(tmp_path: Path) -> None:
    start = tiny_folder(tmp_path / "start")
    before = promptseg.load_model(start, device="cpu").parameter_tensors()
    for name, rate, moves in (("kept", "0", False), ("tuned", "0.1", True)):
        out = tmp_path / name
        done = train("--init", str(start), "--out", str(out), "--steps", "2", "--backbone-rate", rate)
        assert done.returncode == 0, done.stderr
        after = promptseg.load_model(out, device="cpu").parameter_tensors()
        changed = {n for n, tensor in after.items() if not torch.allclose(tensor, before[n], rtol=2e-3, atol=1e-6)}
        assert any(n.startswith("backbone.") for n in changed) == moves
        assert any(n.startswith("sem_seg_head.") for n in changed)


@pytest.mark.slow
def test_it_goes_on_from_a_model_on_photos(tmp_path: Path, photos: Path) -> None:
    start = tiny_folder(tmp_path / "start")
    out = tmp_path / "out"
    done = train("--data", str(photos), "--init", str(start), "--out", str(out), "--steps", "3")
    assert done.returncode == 0, done.stderr
    models = [promptseg.load_model(folder, device="cpu") for folder in (start, out)]
    assert models[0].fingerprint != models[1].fingerprint
    assert "license: other" in (out / "README.md").read_text()


@pytest.mark.slow
def test_out_of_time_and_killed_runs_write_their_model(tmp_path: Path) -> None:
    done = train("--out", str(tmp_path / "timed"), "--minutes", "0.02")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "timed" / "model.safetensors").is_file()
    killed = subprocess.Popen(
        command("--out", str(tmp_path / "killed"), "--log-every", "1"), stdout=subprocess.PIPE, text=True
    )
    assert killed.stdout is not None and killed.stdout.readline().startswith("step 0")
    time.sleep(0.5)
    killed.send_signal(signal.SIGTERM)
    out, _ = killed.communicate(timeout=120)
    assert killed.returncode == 0 and "stopped: the model is written as it is" in out
    promptseg.load_model(tmp_path / "killed", device="cpu")


def test_a_wrong_path_is_one_line(tmp_path: Path) -> None:
    done = train("--data", str(tmp_path / "nothing"), "--out", str(tmp_path / "out"))
    assert done.returncode != 0
    assert done.stderr.startswith("train_base: ")
    assert done.stderr.count("\n") == 1
