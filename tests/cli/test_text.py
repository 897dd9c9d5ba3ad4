"""Names as content: where they leave for a terminal, a page or a spreadsheet, they are text and nothing else."""

import csv
import io
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from PIL import Image
from toy_prompts import toy_prompts

from promptseg.errors import PromptsegError
from promptseg.label_space import MAX_CLASSES, ClassInfo, LabelSpace
from promptseg.reports.tables import Table
from promptseg.text import csv_rows, markdown, shown

HOSTILE = "\x1b[2J\x1b]0;title\x07<script>alert(1)</script>\u202egnp.exe\r\n|=1+1"
BAD = ("\x1b", "\x07", "\u202e", "\r")


def test_a_terminal_is_shown_what_it_must_not_obey() -> None:
    assert shown("plain text") == "plain text"
    assert shown("Größe 大小 👩\u200d🚒") == "Größe 大小 👩\u200d🚒"
    assert shown("\x1b[31mred\u202e\udc80") == "\\x1b[31mred\\u202e\\udc80"
    assert shown("two\nlines\x08", keep="\n") == "two\nlines\\x08"


def test_tables_hold_hostile_names() -> None:
    table = Table(("class", HOSTILE), ((HOSTILE, "1"), ("road", "2")))
    text = table.to_text()
    assert not any(sign in text for sign in BAD) and len(text.splitlines()) == 4
    page = table.to_markdown()
    assert len(page.splitlines()) == 4 and "\\<script\\>" in page
    assert not any(sign in page for sign in BAD)
    assert all(line.replace("\\|", "").count("|") == 3 for line in page.splitlines())


def test_markdown_is_one_line_without_marks() -> None:
    assert markdown("a\n# b [x](y) <b>`c`") == "a # b \\[x\\](y) \\<b\\>\\`c\\`"


def test_a_model_card_is_no_page_of_its_own() -> None:
    space = LabelSpace("toy", tuple(ClassInfo(name, (0, 0, 0)) for name in (HOSTILE, "---\nlicense: none\n# sky")))
    card = replace(toy_prompts(), label_space=space, model_id='x"\nlicense: mine').card().text()
    assert not any(sign in card for sign in BAD) and "<script>" not in card
    _, metadata, _ = card.split("---\n", 2)
    read = yaml.safe_load(metadata)
    assert (read["base_model"], read["license"]) == ('x"\nlicense: mine', "mit") and "\n# sky" not in card


@pytest.mark.parametrize("name", ["=cmd|' /C calc'!A0", "+1", "-1", "@sum(1)", "\t=1", "\r=1"])
def test_no_cell_of_a_csv_is_a_formula(name: str) -> None:
    read = list(csv.reader(io.StringIO(csv_rows([{"class": name, "n": -1.5, name: None}], ("class", "n", name)))))
    cell = f"'{name.strip()}"
    assert read == [["class", "n", cell], [cell, "-1.5", ""]]


def test_more_classes_than_labels_can_tell_apart_are_refused() -> None:
    colors = [ClassInfo(str(number), (0, 0, 0)) for number in range(MAX_CLASSES + 1)]
    assert len(LabelSpace("most", tuple(colors[:-1]))) == 254
    with pytest.raises(PromptsegError, match="'more' has 255 classes: give at most 254"):
        LabelSpace("more", tuple(colors))


CHECK = (sys.executable, "-m", "promptseg", "data", "check")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Data whose check says much, about names that are not ASCII and not harmless."""
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
        for name in ("größe", "\x1b[31mred", *map(str, range(50))):
            Image.new("L", (8, 8), 9).save(tmp_path / kind / f"{name}.png")
    (tmp_path / "classes.json").write_text('["sky"]')
    return tmp_path


def told(folder: Path, shell: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """What a shell with a check of the folder says, which would end with 2."""
    command = f'"$@" {shell}'
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **variables}
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}", "x", *CHECK, str(folder)], env=variables, capture_output=True
    )


@pytest.mark.parametrize("variables", [{}, {"LC_ALL": "C"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}])
def test_a_terminal_gets_names_in_any_locale(folder: Path, variables: dict[str, str]) -> None:
    done = told(folder, "", **variables)
    assert done.returncode == 2 and b"Traceback" not in done.stderr
    assert b"\x1b" not in done.stdout and b"images/" in done.stdout + done.stderr


@pytest.mark.parametrize("shell", ["| head -1", ">&-", "2>&-", "<&-", ">&- 2>&-"])
def test_a_reader_that_goes_or_was_never_there_changes_nothing(folder: Path, shell: str) -> None:
    done = told(folder, shell)
    assert done.returncode == 2 and b"Traceback" not in done.stderr and b"Exception" not in done.stderr


def test_a_full_device_is_one_line(folder: Path) -> None:
    done = told(folder, "> /dev/full")
    assert done.returncode == 2
    assert done.stderr.decode().splitlines()[-1] == (
        "promptseg: No space left on device; free some space, or write elsewhere"
    )
