"""Evaluations and comparisons in several processes: their parts add up to what one process finds."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from drawn_segments import SPACE as DRAWN
from drawn_segments import random_instances, random_segments, random_truth
from shapes import CARS, SPACE
from tiny import tiny_folder

import promptseg
from promptseg.cli.main import run
from promptseg.data.images import write_labels
from promptseg.data.sample import ObjectLabels
from promptseg.reports.pictures import write_picture
from promptseg.tasks.registry import build_task

SETTINGS = [
    ("semantic", {}),
    ("panoptic", {}),
    ("instance", {}),
    ("instance", {"rules": "cityscapes"}),
]

PAIR = {
    "semantic": lambda rng, truth: (truth.semantic(), rng.integers(0, 6, truth.map.shape).astype(np.uint8)),
    "panoptic": lambda rng, truth: (truth, random_segments(rng, truth)),
    "instance": lambda rng, truth: (ObjectLabels.of(truth), random_instances(rng, truth)),
}
"""Labels and an answer to them, by task."""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return promptseg.load_model(str(tiny_folder(tmp_path_factory.mktemp("model"))), device="cpu")


@pytest.mark.parametrize(("task", "settings"), SETTINGS)
def test_parts_of_every_metric_add_up_through_json(task, settings):
    rng = np.random.default_rng(0)
    truths = [random_truth(rng) for _ in range(7)]
    pairs = [PAIR[task](rng, truth) for truth in truths]
    metrics = [build_task(task, settings).metric(DRAWN) for _ in range(5)]
    for metric, some in zip(metrics[:4], (pairs, pairs[0::3], pairs[1::3], pairs[2::3]), strict=True):
        for truth, answer in some:
            metric.count(truth, answer)
    metrics[4].merge(json.loads(json.dumps([metric.state() for metric in metrics[1:4]])))
    whole, merged = metrics[0].compute(), metrics[4].compute()
    assert merged.values == pytest.approx(whole.values) and merged.per_class == pytest.approx(whole.per_class)
    assert all(0 < value < 1 for value in whole.values.values())


@pytest.fixture
def photos(tmp_path) -> Path:
    """The cars as a folder with label maps: three to train on, the others to evaluate."""
    for index, sample in enumerate(CARS):
        name = f"{'train' if index < 2 else 'val'}/{index}.png"
        write_picture(tmp_path / "photos/images" / name, sample.image())
        write_labels(tmp_path / "photos/labels" / name, sample.semantic(), SPACE.colors)
    (tmp_path / "photos/classes.json").write_text(json.dumps(list(SPACE.names)))
    return tmp_path / "photos"


def test_evaluate_in_shards_prints_the_scores_of_all(model, photos, tmp_path, capsys):
    given = ["evaluate", "--data", str(photos), "--model", model.id, "--json"]
    assert run(given) == 0
    whole, out = json.loads(capsys.readouterr().out), ["--out", str(tmp_path / "parts")]
    for shard in ("2/3", "1/3"):
        assert run([*given, *out, "--shard", shard]) == 0
        printed = capsys.readouterr()
        assert not printed.out and "still missing" in printed.err
    assert run([*given, *out, "--shard", "3/3"]) == 0
    assert json.loads(capsys.readouterr().out) == whole
    assert run([*given, *out, "--shard", "1/3", "--split", "train"]) == 2
    assert "other split" in capsys.readouterr().err
    assert run([*given, "--shard", "1/3"]) == 2 and "give --out" in capsys.readouterr().err


def test_compare_in_shards_makes_the_tables_of_all(model, photos, tmp_path, capsys):
    given = ["compare", "--data", str(photos), "--model", model.id, "--shots", "1", "--seeds", "0,1", "--steps", "1"]
    given += ["--methods", "zero-shot,semprompt", "--out"]
    assert run([*given, str(tmp_path / "one")]) == 0
    for shard in ("1/2", "2/2"):
        assert run([*given, str(tmp_path / "two"), "--shard", shard]) == 0
        assert len(list((tmp_path / "two/trials").iterdir())) == (2 if shard == "1/2" else 4)
    found = [
        {path.name: json.loads(path.read_text())["score"]["scores"] for path in (tmp_path / name / "trials").iterdir()}
        for name in ("one", "two")
    ]
    assert found[0] == found[1] and "2 in part 2/2" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("task", ["semantic", "panoptic", "instance"])
def test_two_processes_of_torchrun_print_the_scores_of_all_once(model, tmp_path, task):
    given = ["--data", "streets:fog?train=1&val=5&size=128x64", "--model", model.id, "--task", task, "--json"]
    given += ["--threads", "1"]
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        "2",
        "-m",
        "promptseg",
    ]
    found = subprocess.run([*command, "evaluate", *given], capture_output=True, text=True, timeout=300)
    assert found.returncode == 0, found.stderr
    alone = subprocess.run([sys.executable, "-m", "promptseg", "evaluate", *given], capture_output=True, text=True)
    assert json.loads(found.stdout) == json.loads(alone.stdout) and json.loads(found.stdout)["num_images"] == 5
