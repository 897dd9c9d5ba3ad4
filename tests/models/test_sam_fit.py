"""Learning on the SAM family through the public functions, from folders on disk."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from places import ROOT
from shapes import SHAPES
from tiny_sams import sam_folder, sam_spec, stored_text

import promptseg
from promptseg.cli.main import run
from promptseg.errors import PromptsegError
from promptseg.experiments.compare import compare
from promptseg.experiments.plan import Plan, Variant

FEW = {"steps": 2, "batch_size": 2, "progress": False}
METHODS = {
    "sam": ("ssprompt", "spaprompt", "semprompt", "coop", "locn", "vspl"),
    "sam2": ("ssprompt", "coop", "vspl"),
    "sam3": ("ssprompt", "spaprompt", "locn"),
}


@pytest.fixture(scope="module")
def specs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sams")
    return {kind: sam_spec(folder, kind) for kind in METHODS}


@pytest.mark.parametrize("kind", METHODS)
def test_prompts_are_learned_kept_and_used(specs, kind, tmp_path):
    model = promptseg.load_model(specs[kind], "cpu")
    before = {name: tensor.clone() for name, tensor in model.parameter_tensors().items()}
    defaults = promptseg.fit(model, SHAPES, method="zero-shot", progress=False).prompts
    for method in METHODS[kind]:
        run = promptseg.fit(model, SHAPES, method=method, out=tmp_path / method, **FEW)
        assert len(run.losses) == 2 and all(map(torch.isfinite, map(torch.tensor, run.losses)))
        assert not all(torch.equal(tensor, defaults.kinds[kind]) for kind, tensor in run.prompts.kinds.items())
        assert set(run.prompts.fixed) == set(defaults.fixed)
    for name, tensor in model.parameter_tensors().items():
        assert torch.equal(tensor, before[name]) and tensor.grad is None, name
    saved = promptseg.Prompts.load(tmp_path / "ssprompt" / "prompts")
    again = promptseg.load_model(saved.model_id, "cpu")
    assert 0 <= promptseg.evaluate(again, saved, SHAPES).miou <= 1
    labels = promptseg.predict(again, saved, SHAPES[0].image())
    assert labels.shape == SHAPES[0].image().shape[:2]


@pytest.mark.parametrize("settings", [{"start": "normal", "weight": 1.0}, {"start_noise": 9.0, "rate": 5.0}])
def test_no_learning_reaches_what_is_fixed(specs, settings):
    """SAM 3 knows the padding of its texts by truth values beside the numbers that are learned."""
    model = promptseg.load_model(specs["sam3"], "cpu")
    defaults = promptseg.fit(model, SHAPES, method="zero-shot", progress=False).prompts
    prompts = promptseg.fit(model, SHAPES, "ssprompt", **FEW, **settings).prompts
    assert not torch.allclose(prompts.kinds["semantic"], defaults.kinds["semantic"], atol=0.1)
    assert defaults.fixed.keys() == {"tokens"} and torch.equal(prompts.fixed["tokens"], defaults.fixed["tokens"])


def test_the_card_says_the_bases_licence(specs, tmp_path):
    for kind, licence in (("sam", "Apache-2.0"), ("sam3", "SAM License")):
        model = promptseg.load_model(specs[kind], "cpu")
        promptseg.fit(model, SHAPES, method="zero-shot", out=tmp_path / kind, progress=False)
        assert f"- licence: of the model: {licence}" in (tmp_path / kind / "prompts" / "README.md").read_text()


def test_a_method_that_needs_words_is_a_failed_cell_and_the_others_go_on(specs, tmp_path):
    names = SHAPES[0].label_space.names
    folder = sam_folder(tmp_path / "sam", "sam")
    model = promptseg.load_model(f"{folder}?text={stored_text(tmp_path / 'classes.safetensors', names)}", "cpu")
    with pytest.raises(PromptsegError, match="stored embeddings have no words to learn"):
        promptseg.fit(model, SHAPES, method="coop", **FEW)
    assert promptseg.fit(model, SHAPES, method="semprompt", **FEW).losses


def test_the_command_line_takes_a_spec_with_options(specs, tmp_path, capsys):
    data = "streets:fog?size=64x32&train=4&val=2&test=1"
    fit = ["fit", "--model", f"{specs['sam']}&chunk=4", "--data", data, "--shots", "1", "--steps", "2"]
    assert run([*fit, "--out", str(tmp_path / "run")]) == 0
    prompts = str(tmp_path / "run" / "prompts")
    capsys.readouterr()
    assert run(["evaluate", "--prompts", prompts, "--data", data, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == f"{specs['sam']}&chunk=4"
    assert run([*fit[:2], f"{specs['sam']}&speed=4", *fit[3:], "--out", str(tmp_path / "other")]) == 2
    assert "unknown option" in capsys.readouterr().err


def test_compare_runs_on_sam(specs, tmp_path):
    data = promptseg.load_dataset("streets:fog?size=64x32&train=6&val=2&test=1")
    plan = Plan((Variant("zero-shot"), Variant("ssprompt")), (1,), (0,), {"steps": 2})
    outcomes = compare(promptseg.load_model(specs["sam"], "cpu"), [data], plan, tmp_path, lambda _: None)
    assert all(outcome.score is not None for outcome in outcomes)


def test_table9_needs_a_base_and_runs_on_any(specs, tmp_path, capsys):
    command = ["reproduce", "table9", "--out", str(tmp_path), "--seeds", "0", "--steps", "1"]
    assert run(command) == 2
    assert "give --model sam-vit-base" in capsys.readouterr().err
    data = "streets:fog?size=64x32&train=6&val=2&test=1"
    assert run([*command, "--model", specs["sam"], "--data", data]) == 0
    said = capsys.readouterr().out
    assert all(figure in said for figure in ("14.3", "14.9", "20.1", "the released SAM, its size not stated"))


def test_table2_runs_on_sam3_with_pixel_prompts(specs, tmp_path, capsys):
    data = "Cityscapes=streets:fog?size=64x32&train=6&val=2&test=1"
    command = ["reproduce", "table2", "--model", specs["sam3"], "--data", data, "--seeds", "0", "--steps", "1"]
    assert run([*command, "--out", str(tmp_path)]) == 0
    assert f"ours: {specs['sam3']}" in capsys.readouterr().out
    (ours,) = (place for place, name in enumerate(_table(tmp_path)["headers"]) if name == "Cityscapes: ours")
    found = {row[0]: float(row[ours]) for row in _table(tmp_path)["rows"]}
    assert {"SEEM", "SSPrompt", "pixel prompts (not in the paper)"} < set(found)
    assert all(0 <= score <= 100 for score in found.values())


def _table(folder: Path):
    return json.loads((folder / "table2.json").read_text())


@pytest.mark.slow
def test_the_example_trains_a_base_that_table9_runs_on(tmp_path, capsys):
    """As its docstring says, with a few steps."""
    example = ROOT / "examples/tiny_sam.py"
    folder = tmp_path / "tiny-sam"
    command = [sys.executable, example, "--out", folder, "--steps", "3", "--photos", "8"]
    subprocess.run(list(map(str, command)), check=True)
    data = "streets:fog?size=64x32&train=6&val=2&test=1"
    table = ["reproduce", "table9", "--model", str(folder), "--data", data, "--seeds", "0", "--steps", "1"]
    assert run([*table, "--out", str(tmp_path / "table9")]) == 0
    assert "SSPrompt" in capsys.readouterr().out
