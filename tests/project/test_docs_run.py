"""The documents' commands run: on small data of the shapes that they speak of, with two training steps."""

import gzip
import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from documents import DOCUMENTS, Command, blocks, commands, parsed
from PIL import Image
from places import ROOT
from tiny import tiny_folder

import promptseg
from promptseg.cli.main import run
from promptseg.data.images import write_labels
from promptseg.models.registry import list_models
from promptseg.reports.pictures import write_picture

SMALL = "train=4&val=2&size=128x64"
TWO_STEPS = ("--steps", "2", "--shots", "1")
TRAINING = ("fit", "compare")
OWN_TESTS = ("demo", "reproduce", "app", "serve", "label-studio", "push")
"""Minutes long, without an end, or elsewhere: the demo is run below, all others by their own tests."""
NAMES = {entry.name for entry in list_models()}


def words(command: Command) -> list[str]:
    """The arguments of a command, for small streets, two steps, one seed and one thread."""
    small = [f"{word.partition('?')[0]}?{SMALL}" if word.startswith("streets:") else word for word in command.promptseg]
    name, given = parsed(command.promptseg)
    small += TWO_STEPS if name in TRAINING else ()
    small += ("--seeds", "0") if name == "compare" else ()
    return [*small, *(("--threads", "1") if "threads" in given else ())]


def runs_here(command: Command) -> bool:
    """Whether it needs neither official weights nor data from elsewhere."""
    name, given = parsed(command.promptseg)
    elsewhere = ("/data/", "camvid", "sam", "hub:") if name != "models info" else ()
    official = name == "models import" or given.get("model") in NAMES - {"seem-lite"}
    return name not in OWN_TESTS and not official and not any(part in str(command.promptseg) for part in elsewhere)


def is_slow(command: Command) -> bool:
    """Whether it takes more than a few seconds."""
    name, given = parsed(command.promptseg)
    return name in TRAINING or given.get("to") == "onnx"


FOUND = [c for document in DOCUMENTS for c in commands(document) if c.words[0] == "promptseg" and runs_here(c)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder, with everything that commands of the documents read."""
    home = tmp_path_factory.mktemp("home")
    draw_photos(home)
    write_captions(home)
    tiny_folder(home / "models/focal-t")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        for out, task in (
            ("fog", "semantic"),
            ("fog-panoptic", "panoptic"),
            ("photos", "semantic"),
            ("snow-pixels", "semantic"),
        ):
            data = "photos" if out == "photos" else f"streets:{out.partition('-')[0]}?{SMALL}"
            assert run(["fit", "--data", data, "--task", task, "--out", f"runs/{out}", *TWO_STEPS]) == 0
    return home


def draw_photos(home: Path) -> None:
    """`photos` with its splits, `photo.jpg` and `more-photos`."""
    data = promptseg.load_dataset("streets:rain?train=4&val=4&size=128x64")
    photos, ids = home / "photos", {}
    for name, split in (("train", data.train), ("val", data.val[:2]), ("test", data.val[2:])):
        ids[name] = [f"{name}/{index}" for index in range(len(split))]
        for place, sample in zip(ids[name], split, strict=True):
            write_picture(photos / f"images/{place}.png", sample.image())
            write_labels(photos / f"labels/{place}.png", sample.semantic(), data.label_space.colors)
    (photos / "classes.json").write_text(json.dumps(list(data.label_space.names)))
    (photos / "splits").mkdir()
    for name, split in (("dusk_train", "train"), ("dusk_test", "val"), ("dusk_dev", "test")):
        (photos / f"splits/{name}.txt").write_text("\n".join(ids[split]))
    large = Image.fromarray(data.val[0].image()).resize((1024, 512))
    for name in ("photo.jpg", "more-photos/one.jpg"):
        (home / name).parent.mkdir(exist_ok=True)
        large.save(home / name)


def write_captions(home: Path) -> None:
    """Captions in each form, and lists of words."""
    duckdb = pytest.importorskip("duckdb")
    for name, column in (("captions/a.parquet", "caption"), ("laion/part-0.parquet", "TEXT")):
        (home / name).parent.mkdir()
        duckdb.sql(f"COPY (SELECT 'a car on the road' AS {column}) TO '{home / name}'")
    (home / "captions.txt").write_text("a car\na traffic light\n")
    with gzip.open(home / "more.csv.gz", "wt") as file:
        file.write("caption\na person\n")
    (home / "own.json").write_text('{"person": ["walker"]}')
    (home / "words.txt").write_text("car\nroad\nsky\nfog\n")


@pytest.mark.parametrize(
    "command",
    [pytest.param(c, marks=pytest.mark.slow) if is_slow(c) else c for c in FOUND],
    ids=str,
)
def test_a_command_runs(command: Command, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PROMPTSEG_CACHE", str(folder / "cache"))
    if command.promptseg[0] == "fit" and "--resume" not in command.promptseg:
        shutil.rmtree(parsed(command.promptseg)[1]["out"], ignore_errors=True)
    assert run(words(command)) == 0


def test_most_commands_run() -> None:
    assert len(FOUND) >= 50


@pytest.mark.slow
def test_the_readme_python_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    example = blocks(ROOT / "README.md", "python")[0]
    names: dict[str, Any] = {}
    exec(compile(example, "README.md", "exec"), names)
    assert names["result"].miou > 0
    assert names["labels"].shape == names["data"].val[0].image().shape[:2]
    assert (tmp_path / "prompts/snow/prompts.safetensors").is_file()


@pytest.mark.slow
def test_the_demo_runs_and_what_it_names_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["demo", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert (tmp_path / "grid.png").stat().st_size > 10_000
    mean = next(line.split() for line in said.splitlines() if line.split()[:1] == ["mean"])
    before, _, after, change = map(float, mean[1:])
    assert after > before and change == pytest.approx(after - before, abs=0.05)
    following = shlex.split(said.splitlines()[-1].partition("promptseg ")[2])
    assert run(following) == 0
