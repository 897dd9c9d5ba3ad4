"""The method that CONTRIBUTING.md shows, installed by another package, goes through every command that ours do."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import plugin
import pytest
import torch
from documents import blocks
from places import ROOT
from shapes import SHAPES, SPACE
from tiny import tiny_folder

import promptseg
from promptseg.cli.main import run
from promptseg.data.images import write_labels
from promptseg.engine.settings import resolve
from promptseg.errors import PromptsegError
from promptseg.methods.registry import METHODS
from promptseg.reports.pictures import write_picture

EXAMPLE = next(block for block in blocks(ROOT / "CONTRIBUTING.md", "python") if "PromptModule" in block)
FEW = {"steps": 2, "batch_size": 2, "progress": False}


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The example as the module of another package, and one that reaches for what is fixed."""
    greedy = EXAMPLE.replace("frozenset(self._defaults)", 'frozenset({"tokens"})')
    entry_points = {"promptseg.methods": {"scale": "scale_method:METHOD", "greedy": "greedy_method:METHOD"}}
    plugin.install(tmp_path / "site", "scale-method", entry_points, {"scale_method": EXAMPLE, "greedy_method": greedy})
    monkeypatch.syspath_prepend(tmp_path / "site")
    vars(METHODS).pop("_sources", None)  # installed packages are looked through once
    yield
    vars(METHODS).pop("_sources", None)
    for name in ("scale_method", "greedy_method"):
        sys.modules.pop(name, None)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for index, sample in enumerate(SHAPES[:4]):
        split = "train" if index < 3 else "val"
        write_picture(tmp_path / "photos" / "images" / split / f"{index}.png", sample.image())
        write_labels(tmp_path / "photos" / "labels" / split / f"{index}.png", sample.semantic(), SPACE.colors)
    (tmp_path / "photos" / "classes.json").write_text(json.dumps(list(SPACE.names)))
    return tmp_path / "photos"


def test_the_example_is_short() -> None:
    assert len(EXAMPLE.splitlines()) <= 40


def test_one_file_and_one_line_make_a_method(
    installed: None, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    model, out = tiny_folder(tmp_path / "model"), tmp_path / "run"
    given = ["--model", str(model), "--data", str(photos), "--shots", "2", "--steps", "2"]
    assert run(["fit", *given, "--method", "scale", "--set", "start=0.9", "--out", str(out)]) == 0
    prompts = promptseg.Prompts.load(out / "prompts")
    assert prompts.record is not None
    assert prompts.record.method == "scale" and prompts.record.method_settings == {"start": 0.9}
    defaults = promptseg.load_model(model, "cpu").encode_text(SPACE.names)
    ratio = prompts.kinds["semantic"] / defaults
    assert torch.allclose(ratio, ratio[:, :1].expand_as(ratio), rtol=1e-3) and not torch.allclose(
        ratio, ratio * 0 + 0.9
    )
    assert run(["evaluate", "--prompts", str(out / "prompts"), "--data", str(photos)]) == 0
    compared = ["compare", *given, "--methods", "zero-shot,scale:start=1", "--seeds", "0", "--out", str(tmp_path / "c")]
    assert run(compared) == 0
    capsys.readouterr()
    assert run(["fit", *given, "--method", "scale", "--set", "start=-1", "--out", str(tmp_path / "other")]) == 2
    assert "start is -1: give a number of at least 0" in capsys.readouterr().err


def test_its_name_and_settings_are_known(installed: None) -> None:
    with pytest.raises(
        PromptsegError, match="unknown method 'scales': choose one of .*coop, .*greedy, .*locn, .*scale"
    ):
        METHODS.find("scales")
    assert resolve("tuned", METHODS.find("scale"), {"start": 2}).method.start == 2


def test_a_method_that_learns_what_the_model_does_not_let_it_is_refused(installed: None, tmp_path: Path) -> None:
    model = promptseg.load_model(tiny_folder(tmp_path / "model"), "cpu")
    with pytest.raises(PromptsegError, match="greedy learns 'tokens' prompts, .* lets background, .*semantic"):
        promptseg.fit(model, SHAPES[:2], method="greedy", **FEW)
