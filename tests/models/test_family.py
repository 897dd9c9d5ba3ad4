"""A model family is one file and one line, here an entry point of another package: all commands know it at once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import plugin
import pytest
from places import SUPPORT

from promptseg.errors import PromptsegError
from promptseg.models import registry
from promptseg.registry import Registry


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder for sys.path with a package of one model family."""
    code = (SUPPORT / "toy_family.py").read_text()
    entry_points = {"promptseg.families": {"toy": "toy_colors:FAMILY"}}
    return plugin.install(tmp_path / "site", "toy-colors", entry_points, {"toy_colors": code})


def promptseg(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join((str(folder), os.environ.get("PYTHONPATH", ""), *sys.path))
    environment = {**os.environ, "PYTHONPATH": paths, "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "promptseg", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_every_command_knows_a_family_of_another_package(installed: Path, tmp_path: Path) -> None:
    listed = promptseg(installed, "models", "list")
    assert any(line.split()[:2] == ["toy-colors", "0.0"] for line in listed.stdout.splitlines()), listed
    told = promptseg(installed, "models", "info", "toy-colors").stdout
    assert "model:         toy-colors: Toy" in told and "spatial prompts: colors" in told
    run = tmp_path / "run"
    fitted = promptseg(
        installed,
        *("fit", "--model", "toy-colors", "--data", "streets:clear", "--shots", "1", "--steps", "3"),
        *("--method", "ssprompt", "--out", str(run), "--device", "cpu"),
    )
    assert fitted.returncode == 0, fitted.stderr
    assert (run / "prompts" / "prompts.safetensors").is_file()


def test_folders_of_a_family_are_recognised(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"toy": True}))
    assert f"{tmp_path}: Toy" in promptseg(installed, "models", "info", str(tmp_path)).stdout
    (tmp_path / "config.json").write_text("[]")
    refused = promptseg(installed, "models", "info", str(tmp_path)).stderr
    assert "of no known model family (seem: architecture is seem; sam: " in refused and "toy: toy is true)" in refused


def test_two_models_of_one_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    families = {"toy": "toy_family:FAMILY", "again": "toy_family:FAMILY"}
    both = Registry("model family", "promptseg.none", "promptseg.models.family:Family", families)
    monkeypatch.setattr(registry, "FAMILIES", both)
    with pytest.raises(PromptsegError, match="model families toy and again both have a model 'toy-colors'"):
        registry.list_models()


def test_a_family_without_imports_says_so(tmp_path: Path, installed: Path) -> None:
    refused = promptseg(installed, "models", "import", "some.pt", "--family", "toy", "--out", str(tmp_path / "out"))
    assert refused.returncode == 2 and "some.pt: models of this family need no import" in refused.stderr
    unknown = promptseg(installed, "models", "import", "some.pt", "--family", "yolo", "--out", str(tmp_path / "out"))
    assert "unknown model family 'yolo': choose one of sam, seem, toy" in unknown.stderr
