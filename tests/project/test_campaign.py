"""The campaign of kills, signals, crowds and shortages, in its short form."""

import subprocess
import sys

import pytest
from places import ROOT


@pytest.mark.slow
def test_everything_that_was_tried_held() -> None:
    done = subprocess.run([sys.executable, ROOT / "tests/campaign"], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout
    tried, held = done.stdout.splitlines()[-1].removeprefix("all").split()[:2]
    assert int(tried) == int(held) > 100


@pytest.mark.slow
def test_broken_files_are_one_line() -> None:
    command = [sys.executable, ROOT / "tests/campaign/fuzz.py", "--count", "500"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout
