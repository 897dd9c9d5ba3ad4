"""The documents: commands parse and name what exists, links lead somewhere, nothing is left to fill in."""

import ast
import importlib.util
import re
import tomllib
from dataclasses import fields
from itertools import pairwise

import pytest
import typer
from documents import (
    DOCUMENTS,
    ROOT,
    Command,
    anchors,
    blocks,
    code_spans,
    command_names,
    command_spans,
    commands,
    links,
    options_of,
    parsed,
    prose,
)

import promptseg
from promptseg.cli.experiments import read_variant
from promptseg.data.registry import FORMATS
from promptseg.engine.settings import PRESETS, resolve
from promptseg.methods.registry import METHODS
from promptseg.models.registry import list_models
from promptseg.recipes.paper import find_recipe
from promptseg.recipes.reproduce import choose_data
from promptseg.record import FitSettings
from promptseg.tasks.registry import TASKS

COMMANDS = [command for document in DOCUMENTS for command in commands(document)]
SPANS = [command for document in DOCUMENTS for command in command_spans(document)]
WHOLE = [command for command in COMMANDS if command.promptseg]
PYTHON = [(document.name, block) for document in DOCUMENTS for block in blocks(document, "python")]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
REGISTERED = {
    "method": METHODS,
    "task": TASKS,
    "preset": PRESETS,
    "config": [entry.name for entry in list_models()],
    "rule": ("cover", "union"),
    "device": ("cpu", "cuda"),
}
"""What the values of options are names of."""


def ids(command: Command) -> str:
    return str(command)


def test_there_are_documents_and_commands():
    assert {"README.md", "CONTRIBUTING.md", "command-line.md", "paper.md"} <= {document.name for document in DOCUMENTS}
    assert len(COMMANDS) > 80 and len(SPANS) > 10 and len(PYTHON) >= 4


@pytest.mark.parametrize("command", WHOLE, ids=ids)
def test_a_command_parses(command):
    parsed(command.promptseg)


def test_the_parser_of_this_test_can_refuse():
    with pytest.raises(typer.TyperException, match="No such option"):
        parsed(("fit", "--data", "x", "--out", "y", "--fast"))


@pytest.mark.parametrize("command", [span for span in SPANS if span.promptseg], ids=ids)
def test_a_command_in_running_text_exists(command):
    words, options = command.promptseg, {word for word in command.promptseg if word.startswith("--")}
    groups = {name.split()[0] for name in command_names() if " " in name}
    name = " ".join(words[: 2 if words[0] in groups else 1])
    assert name in command_names() | groups | {"COMMAND"}
    assert options <= options_of("" if name == "COMMAND" else name)


@pytest.mark.parametrize("command", [c for c in (*COMMANDS, *SPANS) if not c.promptseg], ids=ids)
def test_another_command_names_what_is_there(command):
    program, *arguments = command.words
    options = [word.partition("=")[0] for word in arguments if word.startswith("--")]
    if program in ("python", "torchrun"):
        source = (ROOT / next(word for word in arguments if word.endswith(".py"))).read_text(encoding="utf-8")
        assert all(f'"{option}"' in source for option in options)
    elif program == "make":
        assert set(arguments) <= TARGETS
    elif program == "pip":
        extras = re.findall(r"\[([\w,]+)\]", " ".join(arguments))
        assert {extra for names in extras for extra in names.split(",")} <= EXTRAS.keys()
    else:
        assert program in ("source", "cd", "export")


@pytest.mark.parametrize("command", WHOLE, ids=ids)
def test_the_names_in_a_command_are_registered(command):
    _, given = parsed(command.promptseg)
    for option, known in REGISTERED.items():
        assert given.get(option) is None or given[option] in known, option
    if (model := given.get("model")) is not None:
        assert "/" in model or model in [entry.name for entry in list_models()]
    data = given.get("data") or ()
    for spec in (data,) if isinstance(data, str) else data:
        format_ = re.match(r"(?:\w+=)?(\w+):", spec)
        assert format_ is None or format_[1] in FORMATS, spec


@pytest.mark.parametrize("command", [command for command in WHOLE if "--set" in command.words], ids=ids)
def test_the_settings_in_a_command_exist(command):
    kinds = (FitSettings, *(method.settings for method in METHODS.values()))
    known = {field.name for kind in kinds for field in fields(kind)}
    known |= {name for kind in TASKS.values() for name in kind.setting_names}
    given = {pair.partition("=")[0] for flag, pair in pairwise(command.words) if flag == "--set"}
    assert given <= known


@pytest.mark.parametrize("command", [command for command in WHOLE if command.promptseg[0] == "compare"], ids=ids)
def test_a_comparison_is_of_methods_with_settings_that_exist(command):
    _, given = parsed(command.promptseg)
    for text in given["methods"].split(","):
        variant = read_variant(text)
        resolve(given["preset"], METHODS.find(variant.method), variant.settings)


@pytest.mark.parametrize("command", [command for command in WHOLE if command.promptseg[0] == "reproduce"], ids=ids)
def test_a_table_and_its_columns_exist(command):
    _, given = parsed(command.promptseg)
    choose_data(find_recipe(given["name"]), given["data"] or ())


def test_every_command_is_documented():
    assert command_names() == {parsed(command.promptseg)[0] for command in WHOLE}


@pytest.mark.parametrize(("document", "block"), PYTHON)
def test_python_uses_public_names_only(document, block):
    used = {
        node.attr
        for node in ast.walk(ast.parse(block))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "promptseg"
    }
    assert used <= set(promptseg.__all__)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_file_or_module_in_running_text_is_there(document):
    for span in code_spans(document):
        if re.fullmatch(r"[\w-]+/[\w./-]+\.py|(src|tests|docs|benchmarks|tools|examples)/[\w./-]+", span):
            assert (ROOT / span).exists() or (ROOT / "src/promptseg" / span).exists(), span
        if re.fullmatch(r"promptseg(\.\w+)+", span):
            parent, _, name = span.rpartition(".")
            there = hasattr(importlib.import_module(parent), name)
            assert there or importlib.util.find_spec(span), span


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files_and_headings(document):
    for link in links(document):
        name, _, anchor = link.partition("#")
        target = document.parent / name if name else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_nothing_is_left_to_fill_in(document):
    text = re.sub(r"`[^`]*`", "", prose(document))
    assert re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b|\b(?:TODO|TBD|FIXME|XXX)\b", text) == []
