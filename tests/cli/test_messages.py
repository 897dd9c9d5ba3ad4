"""What commands say about their work: where it goes, how often, and how early a mistake is found."""

import json
import re

import pytest
from shapes import SHAPES, SPACE
from tiny import tiny_folder

from promptseg.cli.main import run
from promptseg.data.images import write_labels
from promptseg.reports.pictures import write_picture


@pytest.fixture
def fit(tmp_path):
    """The start of a command that fits a tiny model to photos."""
    photos = tmp_path / "photos"
    for index, sample in enumerate(SHAPES):
        split = "train" if index < 4 else "val"
        write_picture(photos / "images" / split / f"{index}.png", sample.image())
        write_labels(photos / "labels" / split / f"{index}.png", sample.semantic(), SPACE.colors)
    (photos / "classes.json").write_text(json.dumps(list(SPACE.names)))
    model = tiny_folder(tmp_path / "model")
    return ["fit", "--model", str(model), "--data", str(photos), "--shots", "1", "--steps", "3"]


def test_a_log_gets_lines_of_progress_and_quiet_leaves_results_alone(capsys, tmp_path, fit, monkeypatch):
    monkeypatch.setattr("promptseg.progress.SECONDS_BETWEEN_LINES", 0.0)
    log_file = tmp_path / "logs" / "fit.log"
    fit = [*fit, "--method", "ssprompt"]
    assert run([*fit, "--out", str(tmp_path / "loud"), "--log-file", str(log_file)]) == 0
    loud = capsys.readouterr()
    assert re.search(r"^fit 2/3, .*loss \d", loud.err, re.MULTILINE) and "encode 1/" in loud.err
    log = log_file.read_text().splitlines()
    assert [line.split(" ", 2)[2] for line in log] == loud.err.splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", line) for line in log)
    assert run([*fit, "--out", str(tmp_path / "quiet"), "--quiet"]) == 0
    quiet = capsys.readouterr()
    assert quiet.err == "" and quiet.out.count("\n") == loud.out.count("\n")
    assert run([*fit, "--out", str(tmp_path / "quiet"), "--quiet"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("promptseg: ") and err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("fit", "--method", "magic"), "unknown method 'magic'"),
        (("fit", "--preset", "fast"), "unknown preset 'fast'"),
        (("fit", "--task", "depth"), "unknown task 'depth'"),
        (("compare", "--methods", "ssprompt:speed=3"), "ssprompt:speed=3: unknown setting 'speed'"),
        (("compare", "--rule", "best"), "choose one of cover, union"),
        (("compare", "--shots", "4,0"), "--shots 4,0: '0' is not a whole number from 1"),
        (("evaluate", "--set", "speed=3"), "'speed'"),
    ],
)
def test_mistakes_in_names_are_found_before_data_and_model(capsys, tmp_path, arguments, expected):
    command, *rest = arguments
    out = [] if command == "evaluate" else ["--out", str(tmp_path / "out")]
    assert run([command, "--data", "nowhere", "--model", "nowhere", *out, *rest]) == 2
    err = capsys.readouterr().err
    assert expected in err and err.count("\n") == 1 and not (tmp_path / "out").exists()
