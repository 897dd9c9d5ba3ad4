"""A task of another package, one module and one entry point, goes through every command that the built-in ones do."""

import json
import sys
from pathlib import Path

import plugin
import pytest
from shapes import SHAPES, SPACE
from tiny import tiny_folder

from promptseg.cli.main import run
from promptseg.data.images import write_labels
from promptseg.reports.pictures import write_picture
from promptseg.tasks.registry import TASKS

PRESENCE = '''
"""Which classes are in a photo: those that fill at least a part of it."""

import json
from dataclasses import dataclass

import numpy as np

from promptseg.tasks.base import Columns, Drawing, Scores, TaskKind, counted
from promptseg.tasks.semantic import SemanticTask


@dataclass(frozen=True)
class PresenceSettings:
    least: float = 0.1


class PresenceTask:
    name = "presence"
    samples_masks = False

    def __init__(self, settings):
        self.settings = settings
        self.labels, self.target, self.loss = SemanticTask().labels, SemanticTask().target, SemanticTask().loss
        self.check_targets, self.shown = SemanticTask().check_targets, SemanticTask().shown
        self.windowed = SemanticTask().windowed

    def answer(self, prediction, index, size, label_space):
        return present(SemanticTask().answer(prediction, index, size, label_space), label_space, self.settings.least)

    def metric(self, label_space):
        return Accuracy(label_space, self.settings.least)

    def drawing(self, answer, label_space):
        return Drawing(counted(answer, "classes"))

    def writer(self, out, label_space):
        return PresenceWriter(out)


def present(labels, space, least):
    return [name for index, name in enumerate(space.names) if (labels == index).mean() >= least]


class Accuracy:
    def __init__(self, space, least):
        self.space, self.least, self.right = space, least, []

    def count(self, truth, answer):
        wanted = present(truth, self.space, self.least)
        self.right.append([(name in wanted) == (name in answer) for name in self.space.names])

    def compute(self):
        per_class = np.mean(self.right, axis=0).tolist()
        return Scores({"accuracy": float(np.mean(per_class))}, dict(zip(self.space.names, per_class)))


class PresenceWriter:
    def __init__(self, out):
        self.files = (out / "presence.json",)

    def files_of(self, name):
        return ()

    def add(self, name, file_name, answer, place):
        return {"present": answer}

    def merge(self, told):
        self.files[0].write_text(json.dumps(told))


TASK = TaskKind(
    PresenceTask, {"tuned": PresenceSettings(), "paper": PresenceSettings()}, Columns({"accuracy": "right"}, "right")
)
'''


@pytest.fixture
def presence(tmp_path, monkeypatch):
    """The task, installed beside this package."""
    entry_points = {"promptseg.tasks": {"presence": "presence_task:TASK"}}
    plugin.install(tmp_path / "site", "presence-task", entry_points, {"presence_task": PRESENCE})
    monkeypatch.syspath_prepend(tmp_path / "site")
    vars(TASKS).pop("_sources", None)  # installed packages are looked through once
    yield
    vars(TASKS).pop("_sources", None)
    sys.modules.pop("presence_task", None)


@pytest.fixture
def photos(tmp_path):
    for index, sample in enumerate(SHAPES):
        split = "train" if index < 4 else "val"
        write_picture(tmp_path / "photos" / "images" / split / f"{index}.png", sample.image())
        write_labels(tmp_path / "photos" / "labels" / split / f"{index}.png", sample.semantic(), SPACE.colors)
    (tmp_path / "photos" / "classes.json").write_text(json.dumps(list(SPACE.names)))
    return tmp_path / "photos"


def test_one_file_and_one_registration_make_a_task(
    presence: None, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    model, prompts, predicted = tiny_folder(tmp_path / "model"), tmp_path / "run" / "prompts", tmp_path / "predicted"
    given = ["--model", str(model), "--data", str(photos), "--task", "presence", "--shots", "2", "--steps", "2"]
    assert run(["fit", *given, "--set", "least=0.2", "--out", str(tmp_path / "run")]) == 0
    capsys.readouterr()
    assert run(["evaluate", "--prompts", str(prompts), "--data", str(photos), "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert (scores["task"], scores["num_images"]) == ("presence", 2)
    assert scores["accuracy"] == pytest.approx(sum(scores["per_class"].values()) / 3)
    assert run(["predict", str(photos / "images" / "val"), "--prompts", str(prompts), "--out", str(predicted)]) == 0
    said = capsys.readouterr().out
    found = json.loads((predicted / "presence.json").read_text())
    assert sorted(found) == ["4", "5"] and set(found["4"]["present"]) <= set(SPACE.names)
    assert f"4.png: {len(found['4']['present'])} classes" in said and "presence.json" in said
    assert sorted(path.name for path in (predicted / "overlays").iterdir()) == ["4.jpg", "5.jpg"]
    compared = [
        "compare",
        *given,
        "--methods",
        "zero-shot,ssprompt",
        "--seeds",
        "0",
        "--out",
        str(tmp_path / "compared"),
    ]
    assert run(compared) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert next(row for row in rows if row[:1] == ["method"])[1] == "right"
    assert {"zero-shot", "ssprompt"} <= {row[0] for row in rows if row}
    assert run([*compared[:6], "absence", *compared[7:]]) == 2
    assert "choose one of instance, panoptic, presence, semantic" in capsys.readouterr().err
