"""Packages that only some users need: what misses them says in one line what to install, and the extras bring them."""

import ast
import subprocess
import sys
import tomllib

import pytest
from places import ROOT

from promptseg.cli.main import run
from promptseg.errors import PromptsegError
from promptseg.extras import import_extra

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]


def calls_of_import_extra():
    """(module, extra) of every call in the package."""
    for path in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "import_extra":
                module, extra, _ = (ast.literal_eval(argument) for argument in node.args)
                yield module, extra


@pytest.mark.parametrize(("module", "extra"), sorted(set(calls_of_import_extra())))
def test_the_extra_that_a_message_names_brings_the_package(module, extra):
    package = module.partition(".")[0]
    assert any(requirement.startswith(f"{package}>=") for requirement in EXTRAS[extra])
    assert not any(requirement.startswith(f"{package}>=") for requirement in PROJECT["dependencies"])


def test_who_develops_has_every_extra():
    named = EXTRAS["dev"][0].removeprefix("promptseg[").removesuffix("]").split(",")
    assert set(named) == EXTRAS.keys() - {"dev"}


def test_a_package_that_is_not_there_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(PromptsegError) as caught:
        import_extra("transformers", "sam", "SAM")
    assert str(caught.value) == "SAM needs transformers: pip install 'promptseg[sam]'"


def test_a_package_that_is_broken_keeps_its_own_error(tmp_path, monkeypatch):
    (tmp_path / "brittle.py").write_text("import nowhere_to_be_found")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="nowhere_to_be_found"):
        import_extra("brittle", "sam", "SAM")


def test_the_command_line_says_what_captions_need(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "duckdb", None)
    (tmp_path / "a.txt").write_text("a car\n")
    command = ["analyze", "captions", str(tmp_path / "a.txt"), "--classes", "car", "--out", str(tmp_path / "out")]
    assert run(command) == 2
    assert capsys.readouterr().err.endswith("counting captions needs duckdb: pip install 'promptseg[analyze]'\n")


def test_a_fit_needs_no_extra(tmp_path):
    packages = sorted({module.partition(".")[0] for module, _ in calls_of_import_extra()})
    script = f"""
import sys
sys.modules.update(dict.fromkeys({packages}))
from promptseg.cli.main import run
data = "streets:fog?train=2&val=1&size=128x64"
assert run(["fit", "--data", data, "--steps", "1", "--shots", "1", "--out", "fog"]) == 0
assert run(["evaluate", "--data", data, "--prompts", "fog/prompts"]) == 0
"""
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
