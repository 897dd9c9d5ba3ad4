"""Benchmarks that take long, or cannot be tried where they matter, are rehearsed here: they work the first time."""

import json
import os
import subprocess
import sys

import pytest
from places import ROOT

SMALL = ["--device", "cpu", "--configs", "seem-lite", "--size", "64", "128", "--batches", "1", "2", "--eager"]
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
SMALL_SAM = ["--classes", "3", "--sam-side", "64", "--sam-classes", "2", "9"]


@pytest.mark.slow
def test_the_gpu_benchmark_runs_through_on_a_cpu(tmp_path):
    command = [str(ROOT / "benchmarks/gpu.sh"), str(tmp_path), *SMALL, *SMALL_SAM, "--seconds", "600"]
    subprocess.run(command, check=True, env=os.environ | ONE_THREAD | {"PYTHON": sys.executable})
    rows = json.loads((tmp_path / "gpu.json").read_text())["rows"]
    assert {"seem-lite: encode, bfloat16", "SAM ViT-B: SSPrompt step, 9 classes, all decoded"} <= {
        row["name"] for row in rows
    }
    assert [row for row in rows if "error" in row or "left_out" in row] == []
    agreement = next(row for row in rows if row["name"] == "seem-lite: against the CPU, float32")
    assert max(agreement["relative error"].values()) < 1e-5  # the CPU against itself
    assert len((tmp_path / "gpu.md").read_text().splitlines()) == len(rows) + 4


@pytest.mark.slow
def test_graphs_are_measured_beside_pytorch(tmp_path):
    command = [sys.executable, str(ROOT / "benchmarks/onnx_against_torch.py"), "--size", "64", "128", "--rounds", "2"]
    subprocess.run([*command, "--out", str(tmp_path / "onnx.json")], check=True, env=os.environ | ONE_THREAD)
    (row,) = json.loads((tmp_path / "onnx.json").read_text())["rows"]
    exact, small = (row["beside PyTorch"][f"onnxruntime, {precision}"] for precision in ("float32", "int8"))
    assert max(exact["largest difference"].values()) < 1e-3 and exact["least equal"] >= 0.999
    assert max(small["largest difference"].values()) > 1e-3 and small["least equal"] > 0.9
    assert set(row["seconds"]) > set(row["peak memory, MB"]) > set(row["file, MB"]) == set(row["beside PyTorch"])
    assert row["file, MB"]["onnxruntime, int8"] < row["file, MB"]["onnxruntime, float32"]


@pytest.mark.slow
def test_growth_is_measured_one_thing_at_a_time(tmp_path):
    grown = ["--photos", "1", "2", "--classes", "2", "3", "--sides", "64"]
    command = [sys.executable, str(ROOT / "benchmarks/growth.py"), *grown, "--out", str(tmp_path / "growth.json")]
    subprocess.run(command, check=True, env=os.environ | ONE_THREAD)
    rows = json.loads((tmp_path / "growth.json").read_text())["rows"]
    assert [(row["photos"], row["classes"], row["side"]) for row in rows] == [(1, 3, 64), (2, 3, 64), (2, 2, 64)]
    assert all(value > 0 for row in rows for value in row.values())


SHORT = {
    "budget": ["--shots", "1", "--rounds", "1", "--data", "streets:snow?size=128x64"],
    "caption_counting": ["--rows", "2000"],
    "data_loading": ["--threads", "1", "--count", "2", "--rounds", "1"],
    "first_gradients": ["--data", "streets:snow?size=128x64", "--short-side", "64", "--images", "1"],
    "input_size": ["--sides", "64", "--images", "1"],
    "large_photos": ["--megapixels", "0.3"],
    "metrics_time": ["--images", "2"],
    "one_object": ["--data", "streets:clear?size=128x64", "--images", "1"],
    "pixel_fit": ["--shots", "1"],
    "seem_stages": ["--model", "seem-lite", "--repeats", "1"],
    "tiles": ["--side", "1", "--photos", "1", "--tiles", "256"],
    "training_step": [
        *("--configs", "seem-lite", "--classes", "3", "--size", "64", "128", "--repeats", "1"),
        *("--variants", "plain CoOp", "+ encode once", "+ loss by tiles = SSPrompt"),
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SHORT)
def test_a_benchmark_runs_through_when_little_is_asked_of_it(name, tmp_path):
    command = [sys.executable, str(ROOT / f"benchmarks/{name}.py"), *SHORT[name]]
    done = subprocess.run(command, env=os.environ | ONE_THREAD, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0), done.stderr
    assert done.stdout.strip()
