"""The campaign of kills, signals, crowds and shortages, in its short form."""

import os
import subprocess
import sys

import pytest
from places import ROOT


@pytest.mark.slow
@pytest.mark.skipif(
    "PROMPTSEG_CAMPAIGN" not in os.environ, reason="minutes of kills: set PROMPTSEG_CAMPAIGN=1 on a calm machine"
)
def test_everything_that_was_tried_held() -> None:
    done = subprocess.run([sys.executable, ROOT / "tests/campaign"], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout
    assert " all " in f" {done.stdout.splitlines()[-1]}"


@pytest.mark.slow
def test_broken_files_are_one_line() -> None:
    command = [sys.executable, ROOT / "tests/campaign/fuzz.py", "--count", "500"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout
