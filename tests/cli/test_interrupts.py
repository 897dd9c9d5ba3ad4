"""Ctrl-C before a command has begun its work."""

import subprocess
import sys

import pytest

INTERRUPTED_ANSWER = """
import signal
from promptseg.__main__ import main
from promptseg.models import registry
def load_model(*arguments, **named):
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        raise ValueError("could not determine the shape")
registry.load_model = load_model
main()
"""

INTERRUPTED_IMPORT = """
import signal, sys
from promptseg.__main__ import main
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Finder())
main()
"""


@pytest.mark.parametrize("module", ["typer", "torch", "scipy.spatial"])
def test_ctrl_c_while_a_library_is_loaded_is_one_line(module, tmp_path):
    script = INTERRUPTED_IMPORT.format(module=module)
    command = [sys.executable, "-c", script, "fit", "--data", "streets:snow", "--out", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "promptseg: stopped\n")


def test_ctrl_c_that_a_library_takes_for_an_error_of_its_own_is_one_line(tmp_path):
    """PyTorch does where it asks a storage for its shape, in the midst of reading weights."""
    command = [
        sys.executable,
        "-c",
        INTERRUPTED_ANSWER,
        "fit",
        "--data",
        "streets:snow",
        "--out",
        str(tmp_path / "run"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "promptseg: stopped\n")


def test_ctrl_c_in_a_comparison_is_no_failed_trial(tmp_path):
    script = INTERRUPTED_ANSWER.replace("load_model(", "fit(").replace(".load_model = load_model", ".fit = fit")
    script = script.replace("promptseg.models import registry", "promptseg.experiments import compare as registry")
    command = [sys.executable, "-c", script, "compare", "--data", "streets:snow?size=64x32&train=2&val=1&test=1"]
    command += ["--methods", "zero-shot", "--shots", "1", "--seeds", "0", "--threads", "1", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    line = f"promptseg: stopped; the same command goes on with {tmp_path}"
    assert (done.returncode, done.stderr.splitlines()[-1]) == (130, line)
    assert not list(tmp_path.glob("failed/*"))
