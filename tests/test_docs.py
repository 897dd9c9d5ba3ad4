"""The documents: commands parse, Python compiles, links lead somewhere, and the README's quick commands run."""

import ast
import json
import re
import shlex
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

import pytest
import typer
from PIL import Image

from promptseg.cli.experiments import read_variant
from promptseg.cli.main import app, run
from promptseg.engine.settings import FitSettings, resolve
from promptseg.methods.registry import METHODS, find_method
from promptseg.recipes.paper import find_recipe
from promptseg.recipes.reproduce import choose_data
from promptseg.tasks.registry import TASKS

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


def blocks(document, language):
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def commands(document):
    """The commands `promptseg ...` of a document, as argument lists without the program's name."""
    lines = (line for block in blocks(document, "sh") for line in block.splitlines())
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("promptseg ")]


FEW_STEPS = 20
"""Enough to show that an example runs; the demo's test trains in full."""

ALL_COMMANDS = [(document.name, command) for document in DOCUMENTS for command in commands(document)]
ALL_PYTHON = [(document.name, block) for document in DOCUMENTS for block in blocks(document, "python")]


def parsed(arguments):
    """Parse a command with all its options, without running it; gives the values by name."""
    context = typer.main.get_command(app).make_context("promptseg", list(arguments))
    while (group := context.command) and hasattr(group, "resolve_command"):
        rest = [*context._protected_args, *context.args]
        name, command, rest = group.resolve_command(context, rest)
        context = command.make_context(name, rest, parent=context)
    return context.params


def test_there_are_documents_and_examples():
    assert {"README.md", "command-line.md", "paper.md"} <= {document.name for document in DOCUMENTS}
    assert len(ALL_COMMANDS) > 10 and len(ALL_PYTHON) >= 2


@pytest.mark.parametrize(("document", "command"), ALL_COMMANDS)
def test_a_documented_command_parses(document, command):
    parsed(command)


def test_the_parser_of_this_test_can_refuse():
    with pytest.raises(typer.TyperException, match="No such option"):
        parsed(["fit", "--data", "x", "--out", "y", "--fast"])


@pytest.mark.parametrize(("document", "command"), [(d, c) for d, c in ALL_COMMANDS if "--set" in c])
def test_documented_settings_exist(document, command):
    kinds = (FitSettings, *(method.settings for method in METHODS.values()))
    known = {field.name for kind in kinds for field in fields(kind)}
    known |= {name for kind in TASKS.values() for name in kind.setting_names}
    given = {pair.partition("=")[0] for flag, pair in pairwise(command) if flag == "--set"}
    assert given <= known


@pytest.mark.parametrize(("document", "command"), [(d, c) for d, c in ALL_COMMANDS if c[0] == "compare"])
def test_documented_comparisons_are_of_methods_with_settings_that_exist(document, command):
    for text in parsed(command)["methods"].split(","):
        variant = read_variant(text)
        resolve("tuned", find_method(variant.method), variant.settings)


@pytest.mark.parametrize(("document", "command"), [(d, c) for d, c in ALL_COMMANDS if c[0] == "reproduce"])
def test_documented_tables_and_their_columns_exist(document, command):
    given = parsed(command)
    choose_data(find_recipe(given["name"]), given["data"] or ())


@pytest.mark.parametrize(("document", "block"), ALL_PYTHON)
def test_documented_python_uses_public_names_only(document, block):
    import promptseg

    used = {
        node.attr
        for node in ast.walk(ast.parse(block))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "promptseg"
    }
    assert used <= set(promptseg.__all__)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files(document):
    text = document.read_text(encoding="utf-8")
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target]
    missing = [target for target in targets if target and not (document.parent / target).exists()]
    assert missing == []


def test_every_command_is_documented():
    written = {tuple(word for word in command[:2] if not word.startswith("-")) for _, command in ALL_COMMANDS}
    for name in ("demo", "fit", "evaluate", "predict", "compare", "reproduce", "segment", "report", "analyze"):
        assert any(words[:1] == (name,) for words in written)
    assert {("data", command) for command in ("list", "check", "draw", "preview")} <= written
    assert {("models", command) for command in ("list", "info", "import")} <= written


@pytest.mark.slow
def test_the_readme_python_example_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    example = blocks(ROOT / "README.md", "python")[0].replace('out="runs/fog"', f'out="runs/fog", steps={FEW_STEPS}')
    assert f"steps={FEW_STEPS}" in example
    names = {}
    exec(compile(example, "README.md", "exec"), names)
    assert names["result"].miou > 0
    assert names["labels"].shape == names["data"].val[0].image().shape[:2]
    assert (tmp_path / "prompts/fog/prompts.safetensors").is_file()


@pytest.mark.slow
def test_the_readme_commands_for_own_photos_run(tmp_path, monkeypatch):
    import promptseg
    from promptseg.reports.pictures import write_labels, write_picture

    data = promptseg.load_dataset("streets:rain?train=8&val=2")
    for split in (data.train, data.val):
        for index, sample in enumerate(split):
            name = f"{split.name}/{index}.png"
            write_picture(tmp_path / "photos/images" / name, sample.image())
            write_labels(tmp_path / "photos/labels" / name, sample.semantic(), data.label_space.colors)
    (tmp_path / "photos/classes.json").write_text(json.dumps(list(data.label_space.names)))
    large = Image.fromarray(data.val[0].image()).resize((512, 256))
    large.save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    own = [command for command in commands(ROOT / "README.md") if command[0] != "models" and "--model" not in command]
    assert [command[0] for command in own] == ["data", "fit", "predict", "evaluate", "evaluate", "segment"]
    for command in own:
        shorter = ["--steps", str(FEW_STEPS)] if command[0] == "fit" else []
        assert run([*command, *shorter]) == 0, command
    assert len(list((tmp_path / "labelled/overlays").iterdir())) == 2


@pytest.mark.slow
def test_the_demo_runs(tmp_path, capsys):
    assert run(["demo", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert (tmp_path / "grid.png").stat().st_size > 10_000
    mean = next(line.split() for line in said.splitlines() if line.split()[:1] == ["mean"])
    before, after, change = map(float, mean[1:])
    assert after > before and change == pytest.approx(after - before, abs=0.05)
    following = shlex.split(said.splitlines()[-1].partition("promptseg ")[2])
    assert run(following) == 0
