"""Many photos into one folder: resumed, split among processes, killed in the middle; labellers in other processes."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from shapes import SHAPES, SPACE
from tiny import tiny_folder

import promptseg
from promptseg.cli.main import run
from promptseg.engine.defaults import default_prompts
from promptseg.engine.result_folder import ResultFolder
from promptseg.engine.shards import Shard
from promptseg.errors import PromptsegError

COUNT = 7
TASKS = {"semantic": "shares.json", "instance": "instances.json", "panoptic": "panoptic.json"}


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> Path:
    """A folder with `photos` of three shapes and `prompts` of a model of random weights."""
    root = tmp_path_factory.mktemp("given")
    model = promptseg.load_model(str(tiny_folder(root / "model")), device="cpu")
    default_prompts(model, SPACE).save(root / "prompts")
    rng = np.random.default_rng(0)
    for index in range(COUNT):
        noise = rng.integers(0, 60, SHAPES[0].image().shape)
        picture = np.clip(SHAPES[index % len(SHAPES)].image().astype(int) + noise, 0, 255).astype(np.uint8)
        path = root / "photos" / f"{'deep/' if index % 2 else ''}{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
    return root


def command(given: Path, out: Path, *more: str) -> list[str]:
    return ["predict", str(given / "photos"), "--prompts", str(given / "prompts"), "--out", str(out), *more]


def results(out: Path) -> dict[str, bytes]:
    """All files but the records, whose order tells which process was when."""
    files = [path for path in out.rglob("*") if path.is_file() and "records" not in path.parts]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}


@pytest.mark.parametrize("task", list(TASKS))
def test_shards_in_any_order_write_what_one_process_writes(given, tmp_path, capsys, task):
    more = ["--task", task]
    assert run(command(given, tmp_path / "one", *more)) == 0
    for shard in ("3/3", "1/3", "2/3"):
        assert run(command(given, tmp_path / "three", *more, "--shard", shard)) == 0
    assert results(tmp_path / "three") == results(tmp_path / "one")
    assert TASKS[task] in results(tmp_path / "one")
    assert "of part 2/3 labelled" in capsys.readouterr().out


def test_the_same_command_does_nothing_again_and_what_is_missing_is_made_again(given, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(command(given, out)) == 0
    first, capsys_out = results(out), capsys.readouterr().out
    assert capsys_out.count(".png: ") == COUNT
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    assert run(command(given, out)) == 0
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.png")} == times
    assert f"{COUNT} of {COUNT} photos labelled ({COUNT} before)" in capsys.readouterr().out
    (out / "labels/0.png").unlink()
    shutil.rmtree(out / "overlays")
    assert run(command(given, out, "--no-overlays")) == 0
    assert f"({COUNT - 1} before)" in capsys.readouterr().out and not (out / "overlays").exists()
    assert run(command(given, out)) == 0 and results(out) == first


def test_other_settings_prompts_and_strange_folders_are_refused(given, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(command(given, out)) == 0
    before = results(out)
    assert run(command(given, out, "--task", "panoptic")) == 2
    assert "other task" in capsys.readouterr().err
    model = promptseg.load_model(str(given / "model"), device="cpu")
    default_prompts(model, SPACE, "grid").save(tmp_path / "grid")
    assert run([*command(given, out)[:3], str(tmp_path / "grid"), "--out", str(out)]) == 2
    assert "other prompts" in capsys.readouterr().err
    assert results(out) == before
    (tmp_path / "mine/labels").mkdir(parents=True)
    assert run(command(given, tmp_path / "mine")) == 2
    assert "is there already" in capsys.readouterr().err and not results(tmp_path / "mine")


def test_a_changed_photo_is_labelled_again_and_another_of_its_name_is_not(given, tmp_path, capsys):
    photos, out = tmp_path / "photos", tmp_path / "out"
    shutil.copytree(given / "photos", photos)
    base = ["--prompts", str(given / "prompts"), "--out", str(out)]
    assert run(["predict", str(photos), *base]) == 0
    before = results(out)
    Image.fromarray(255 - np.asarray(Image.open(photos / "0.png"))).save(photos / "0.png")
    assert run(["predict", str(photos), *base]) == 0
    changed = results(out)
    assert {name for name in before if before[name] != changed[name]} >= {"overlays/0.jpg"}
    capsys.readouterr()
    assert run(["predict", str(given / "photos/0.png"), *base]) == 2
    assert "another photo" in capsys.readouterr().err and results(out) == changed


def test_a_line_that_was_cut_short_costs_its_photo_alone(given, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(command(given, out)) == 0
    first, records = results(out), out / "records/1-of-1.jsonl"
    lines = records.read_bytes().splitlines(keepends=True)
    records.write_bytes(b"".join(lines[:3]) + lines[3][:40])
    capsys.readouterr()
    assert run(command(given, out)) == 0
    assert "(3 before)" in capsys.readouterr().out and results(out) == first
    names = [json.loads(line)["name"] for line in records.read_bytes().splitlines() if line.endswith(b"}")]
    assert sorted(names) == sorted(json.loads((out / "shares.json").read_text())["images"])


def record(name):
    return {"name": name, "path": f"/{name}.png", "content": "0", "told": {}}


def test_merging_notices_who_finished_meanwhile(tmp_path):
    mine, other = (ResultFolder(tmp_path, {"task": "x"}, Shard(number, 2), ()) for number in (1, 2))
    written = []

    def write(records):
        if not written:
            other.add(record("b"))
        written.append(sorted(records))

    mine.add(record("a"))
    mine.merge(write)
    assert written == [["a"], ["a", "b"]]


@pytest.mark.slow
def test_killed_processes_lose_nothing(given, tmp_path):
    assert run(command(given, tmp_path / "whole")) == 0
    out = tmp_path / "killed"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    for kill in (signal.SIGKILL, signal.SIGINT):
        arguments = [sys.executable, "-m", "promptseg", *command(given, out, "--threads", "1")]
        process = subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None and ".png: " in process.stdout.readline()
        process.send_signal(kill)
        process.wait(timeout=60)
        process.stdout.close()
    both = [
        subprocess.Popen(
            [sys.executable, "-m", "promptseg", *command(given, out, "--shard", shard)],
            env=environment,
            stdout=subprocess.DEVNULL,
        )
        for shard in ("1/2", "2/2")
    ]
    assert [process.wait(timeout=120) for process in both] == [0, 0]
    left = {name for name in results(out) if Path(name).name.startswith(".")}  # what SIGKILL left half written
    assert {name: data for name, data in results(out).items() if name not in left} == results(tmp_path / "whole")


def test_shards_are_read_from_the_option_and_from_slurm():
    photos = list(range(10))
    parts = [Shard(number, 3).part(photos) for number in (1, 2, 3)]
    assert sorted(item for part in parts for item in part) == photos and len(parts[0]) == 4
    blocks = [Shard(number, 3).block(photos) for number in (1, 2, 3)]
    assert blocks == [[0, 1, 2], [3, 4, 5], [6, 7, 8, 9]]
    array = {
        f"SLURM_ARRAY_TASK_{name}": value for name, value in (("ID", "7"), ("MIN", "3"), ("MAX", "9"), ("STEP", "2"))
    }
    assert Shard.of(None, array) == Shard(3, 4) and Shard.of("1/2", array) == Shard(1, 2)
    assert Shard.of(None, {}) == Shard(1, 1)
    for wrong in ("0/2", "3/2", "2", "a/b", "1/0", "-1/2", "1/2/3"):
        with pytest.raises(PromptsegError, match="--shard"):
            Shard.of(wrong)


def test_a_labeller_says_what_predict_says(given):
    prompts, pictures = promptseg.Prompts.load(given / "prompts"), [sample.image() for sample in SHAPES]
    labeller = promptseg.Labeller(given / "prompts", device="cpu")
    model = promptseg.load_model(prompts.model_id, device="cpu")
    for answer, picture in zip(labeller(pictures), pictures, strict=True):
        assert np.array_equal(answer, promptseg.predict(model, prompts, picture))
    assert labeller([]) == []
    small = labeller([pictures[0][:30, :70], pictures[1]])
    assert small[0].shape == (30, 70) and np.array_equal(small[1], labeller([pictures[1]])[0])


def test_a_labeller_goes_to_other_processes_without_its_model(given):
    labeller, pictures = promptseg.Labeller(given / "prompts", device="cpu"), [sample.image() for sample in SHAPES[:4]]
    here = labeller(pictures)
    assert len(pickle.dumps(labeller)) < 200_000
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        there = list(pool.map(labeller, [pictures[:2], pictures[2:]]))
    assert all(np.array_equal(a, b) for a, b in zip(here, there[0] + there[1], strict=True))


def test_ctrl_c_says_how_to_go_on(given, tmp_path, capsys, monkeypatch):
    done = []

    def stopping(self, photos):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(len(photos))
        return labels(self, photos)

    labels = promptseg.Labeller.__call__
    monkeypatch.setattr(promptseg.Labeller, "__call__", stopping)
    assert run(command(given, tmp_path / "out")) == 130
    assert "the same command goes on" in capsys.readouterr().err
    assert len(json.loads((tmp_path / "out/shares.json").read_text())["images"]) == 2
