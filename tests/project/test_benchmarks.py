"""Benchmarks that cannot be tried where they matter are rehearsed here, so that they work the first time."""

import json
import os
import subprocess
import sys

import pytest
from places import ROOT

SMALL = ["--device", "cpu", "--configs", "seem-lite", "--size", "64", "128", "--batches", "1", "2", "--eager"]
SMALL_SAM = ["--classes", "3", "--sam-side", "64", "--sam-classes", "2", "9"]


@pytest.mark.slow
def test_the_gpu_benchmark_runs_through_on_a_cpu(tmp_path):
    command = [str(ROOT / "benchmarks/gpu.sh"), str(tmp_path), *SMALL, *SMALL_SAM, "--seconds", "600"]
    subprocess.run(command, check=True, env=os.environ | {"PYTHON": sys.executable, "OMP_NUM_THREADS": "1"})
    rows = json.loads((tmp_path / "gpu.json").read_text())["rows"]
    assert {"seem-lite: encode, bfloat16", "SAM ViT-B: SSPrompt step, 9 classes"} <= {row["name"] for row in rows}
    assert [row for row in rows if "error" in row or "left_out" in row] == []
    agreement = next(row for row in rows if row["name"] == "seem-lite: against the CPU, float32")
    assert max(agreement["relative error"].values()) < 1e-5  # the CPU against itself
    assert len((tmp_path / "gpu.md").read_text().splitlines()) == len(rows) + 4
