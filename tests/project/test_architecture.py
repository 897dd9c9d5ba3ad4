"""The layout of the code, read from its imports: direction, no circles, nothing private across files, no long files."""

import ast
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from documents import command_names, text_of
from measure_code import imported_files
from places import ROOT

PACKAGE = ROOT / "src/promptseg"
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}
IMPORTS = {path: imported_files(path, tree, PACKAGE) for path, tree in TREES.items()}
LONGEST = 400
ROOT_ENTRIES = {
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE", "NOTICE"),
    *("src", "tests", "docs", "examples", "benchmarks", "tools"),
    *("pyproject.toml", "constraints.txt", "requirements.lock", "Makefile", ".ci", ".gitignore"),
}
"""What every project has, or CONTRIBUTING explains."""
HEAVY = ("torch", "numpy", "PIL", "rich", "tokenizers", "transformers")


def room(path: Path) -> str:
    """The folder below the package, or the name of a file at its top."""
    inside = path.relative_to(PACKAGE)
    return inside.parts[0] if len(inside.parts) > 1 else inside.stem


def ranks() -> dict[str, int]:
    """How high each room is: the rows of the table in docs/architecture.md, and below them single files."""
    section = text_of(ROOT / "docs/architecture.md").partition("## The rooms")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*?`) \|", section, re.MULTILINE)
    return {name: len(rows) - row for row, cells in enumerate(rows) for name in re.findall(r"`(\w+)`", cells)}


RANKS = ranks()


def test_the_table_of_rooms_is_the_tree():
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    files = {path.stem for path in PACKAGE.glob("*.py")}
    assert folders <= RANKS.keys(), "give the new folder a place in the table of docs/architecture.md"
    assert RANKS.keys() <= folders | files


def test_imports_run_downwards():
    upwards = [
        f"{path.relative_to(PACKAGE)} imports {other.relative_to(PACKAGE)}"
        for path, others in IMPORTS.items()
        for other in others
        if RANKS.get(room(path), 0) < RANKS.get(room(other), 0)
    ]
    assert upwards == []


def test_no_rooms_import_in_a_circle():
    between: dict[str, set[str]] = {}
    for path, others in IMPORTS.items():
        between.setdefault(room(path), set()).update(room(other) for other in others if room(other) != room(path))
    assert_no_circle(between)


def test_no_files_import_in_a_circle():
    assert_no_circle({str(path): set(map(str, others)) for path, others in IMPORTS.items()})


def assert_no_circle(graph: dict[str, set[str]]) -> None:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("path", TREES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_private_is_imported(path):
    private = [
        alias.name
        for node in ast.walk(TREES[path])
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if re.match(r"_(?!_)", alias.name)
    ]
    assert private == []


def test_no_file_is_long():
    files = [
        path for room in ("src", "tests", "tools", "benchmarks", "examples") for path in (ROOT / room).rglob("*.py")
    ]
    lengths = {str(path.relative_to(ROOT)): len(text_of(path).splitlines()) for path in files}
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


def test_nothing_in_the_root_is_a_riddle():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    assert {line.partition("/")[0] for line in listed.stdout.splitlines()} <= ROOT_ENTRIES


def test_importing_the_package_and_asking_for_help_load_nothing_heavy():
    script = f"""
import sys
import promptseg
from promptseg.cli.main import run
for name in {sorted(command_names())}:
    assert run([*name.split(), "--help"]) == 0
for arguments in (["--help"], ["--version"], ["models", "list"]):
    assert run(arguments) == 0
print([name for name in {HEAVY} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
