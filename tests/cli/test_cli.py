"""The command line: what it prints, writes and answers, with a model of random weights and six small photos."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import answer, refused
from PIL import Image
from tiny import tiny_folder

import promptseg
from promptseg.cards import Figures
from promptseg.cli.main import run
from promptseg.methods.registry import METHODS

COMMAND = [sys.executable, "-m", "promptseg"]
CLASSES = {"classes": [{"name": "sky", "color": [0, 0, 200]}, {"name": "field", "color": [0, 200, 0]}]}


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """A SEEM of random weights, small enough to fit in a second."""
    return tiny_folder(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """Four photos to train on and two to evaluate: sky above a field, the horizon at different heights."""
    root = tmp_path_factory.mktemp("photos")
    for index in range(6):
        name = f"{'train' if index < 4 else 'val'}/{index}"
        labels = np.zeros((32, 48), np.uint8)
        labels[10 + 2 * index :] = 1
        picture = np.array([c["color"] for c in CLASSES["classes"]], np.uint8)[labels]
        for kind, array in (("images", picture), ("labels", labels)):
            path = root / kind / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(path)
    (root / "classes.json").write_text(json.dumps(CLASSES))
    return root


@pytest.fixture(scope="session")
def fitted(tmp_path_factory, model_folder, photos):
    """The folder of a short run."""
    out = tmp_path_factory.mktemp("runs") / "run"
    arguments = ["fit", "--model", model_folder, "--data", photos, "--shots", 2, "--steps", 2, "--out", out]
    assert run(list(map(str, arguments))) == 0
    return out


def test_help_answers_in_half_a_second_of_processor_time():
    def spent() -> float:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return children.ru_utime + children.ru_stime

    before = spent()
    subprocess.run([*COMMAND, "--help"], capture_output=True, check=True)
    assert spent() - before < 0.5


def test_version(capsys):
    assert answer(capsys, "--version") == (0, f"promptseg {promptseg.__version__}\n", "")


@pytest.mark.parametrize("group", [(), ("data",), ("models",)])
def test_a_group_without_a_command_shows_its_help(capsys, group):
    code, out, err = answer(capsys, *group)
    assert code == 0 and "Commands:" in out and err == ""


def test_fit_help_names_every_method_and_preset(capsys):
    from promptseg.engine.settings import PRESETS

    _, out, _ = answer(capsys, "fit", "--help")
    for name in (*METHODS, *PRESETS):
        assert name in out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["fitt"], "Did you mean 'fit'"),
        (["fit", "--dat", "x"], "--data"),
        (["fit", "--data", "x"], "Missing option '--out'"),
        (["fit", "--data", "x", "--out", "y", "--shots", "many"], "--shots"),
        (["fit", "--data", "x", "--out", "y", "--threads", "0"], "--threads 0: give a whole number"),
        (["fit", "--data", "x", "--out", "y", "--set", "rate"], "--set rate: expected KEY=VALUE"),
        (["fit", "--data", "x", "--out", "y", "--set", "progress=false"], "unknown setting 'progress': choose one of"),
        (["fit", "--data", "x", "--out", "y", "--set", "steps=1", "--steps", "2"], "give one of them"),
        (["fit", "--data", "x", "--out", "y", "--set", "a=1", "--set", "a=2"], "already set to 1"),
        (["fit", "--data", "nowhere", "--out", "y"], "nowhere: no such folder"),
        (["evaluate", "--data", "x", "--prompts", "p", "--method", "zero-shot"], "give one of them"),
        (["evaluate", "--data", "x", "--method", "ssprompt"], "only zero-shot needs no learning"),
        (["evaluate", "--data", "x", "--prompts", "nowhere"], "nowhere"),
        (["predict", "nowhere.jpg", "--prompts", "nowhere", "--out", "y"], "nowhere: no such prompt folder"),
        (["data", "check", "nowhere"], "nowhere: no such folder"),
        (["demo", "--condition", "hail"], "hail"),
        (["models", "import", "nowhere.pt", "--config", "seem-lite", "--out", "y"], "nowhere.pt: no such file"),
    ],
)
def test_a_mistake_is_one_line(capsys, tmp_path, monkeypatch, arguments, expected):
    monkeypatch.chdir(tmp_path)
    assert expected in refused(capsys, *arguments)
    assert list(tmp_path.iterdir()) == []


def test_unknown_names_list_the_choices(capsys, tmp_path, model_folder, photos):
    base = ("fit", "--data", photos, "--model", model_folder, "--out", tmp_path / "run")
    assert ", ".join(sorted(METHODS)) in refused_last(capsys, *base, "--method", "magic")
    assert "weight_decay" in refused_last(capsys, *base, "--set", "speed=3")
    assert "paper, tuned" in refused_last(capsys, *base, "--preset", "fast")
    assert "cover, union" in refused_last(capsys, *base, "--rule", "best")
    assert "k is 0" in refused_last(capsys, *base, "--shots", "0")
    assert not (tmp_path / "run").exists()


def refused_last(capsys, *arguments):
    """The last line of a command that must fail with exit code 2 after it said what it does."""
    code, out, err = answer(capsys, *arguments)
    assert (code, out) == (2, "") and "Traceback" not in err
    return err.splitlines()[-1]


def test_fit_writes_a_run_and_says_how_to_go_on(capsys, tmp_path, model_folder, photos):
    out = tmp_path / "my run"
    code, said, _ = answer(
        capsys, "fit", "--model", model_folder, "--data", photos, "--shots", 1, "--steps", 2, "--seed", 3,
        "--method", "semprompt", "--set", "rate=0.5", "--set", "start=copy", "--set", "renormalise=true", "--out", out,
    )  # fmt: skip
    assert code == 0
    prompts = promptseg.Prompts.load(out / "prompts")
    record = prompts.record
    assert prompts.class_names == ("sky", "field")
    assert (record.method, record.seed, record.settings.steps, record.settings.rate) == ("semprompt", 3, 2, 0.5)
    assert [record.method_settings[key] for key in ("start", "renormalise")] == ["copy", True]
    assert f"'{out}/prompts' --data {photos}" in said and "kB" in said
    following = said.splitlines()[-1].partition("promptseg ")[2]
    assert following.startswith("evaluate --prompts ")


def test_effort_picks_the_method_and_fit_says_what_it_was_worth(capsys, tmp_path, model_folder, photos):
    base = ("fit", "--model", model_folder, "--data", photos, "--shots", 2, "--set", "pixels=500")
    for effort, method in ((None, "pixprompt"), ("minutes", "ssf-pixprompt")):
        out = tmp_path / method
        chosen = ("--effort", effort) if effort else ()
        code, text, said = answer(capsys, *base, "--out", out, "--steps", 2, *chosen)
        assert ("pixprompt is not trained step by step: --steps 2 changed nothing" in said) == (method == "pixprompt")
        record = promptseg.Prompts.load(out / "prompts").record
        assert code == 0 and record.method == method
        gain, error = (record.metrics[f"held_out_{name}"] for name in ("gain", "gain_error"))
        assert (f"gain:    {100 * gain:+.1f} +- " if gain > error else "gain:    none: on held-out shots") in text
    both = (*base, "--out", tmp_path / "both", "--method", "ssprompt", "--effort", "seconds")
    assert "--method ssprompt and --effort seconds: give one of them" in refused_last(capsys, *both)
    assert "choose one of" in refused_last(capsys, *base, "--out", tmp_path / "none", "--effort", "years")


def test_fit_refuses_to_overwrite_a_run_but_resumes_it(capsys, model_folder, photos, fitted):
    base = ("fit", "--model", model_folder, "--data", photos, "--shots", 2, "--steps", 2, "--out", fitted)
    before = (fitted / "prompts" / "prompts.safetensors").read_bytes()
    assert "finished run" in refused_last(capsys, *base)
    assert answer(capsys, *base, "--resume")[0] == 0
    assert (fitted / "prompts" / "prompts.safetensors").read_bytes() == before


def test_ctrl_c_in_fit_says_how_to_go_on(capsys, tmp_path, model_folder, photos, monkeypatch):
    def interrupted(*arguments, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr(promptseg, "fit", interrupted)
    code, _, err = answer(capsys, "fit", "--model", model_folder, "--data", photos, "--out", tmp_path / "run")
    assert code == 130
    assert err.splitlines()[-1].startswith("promptseg: stopped; the same command with --resume")


def test_ctrl_c_elsewhere_is_one_line(capsys, monkeypatch):
    def interrupted(spec):
        raise KeyboardInterrupt

    monkeypatch.setattr(promptseg, "load_dataset", interrupted)
    assert answer(capsys, "data", "draw", "x") == (130, "", "promptseg: stopped\n")


@pytest.mark.slow
def test_a_signal_leaves_a_run_that_can_be_resumed(tmp_path, model_folder, photos):
    out = tmp_path / "run"
    command = [
        *COMMAND,
        "fit",
        "--method",
        "ssprompt",
        "--model",
        model_folder,
        "--data",
        photos,
        "--shots",
        2,
        "--steps",
        100_000,
        "--out",
        out,
    ]
    process = subprocess.Popen(
        list(map(str, command)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    checkpoint = out / "checkpoint.safetensors"
    try:
        deadline = time.monotonic() + 60
        while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        said, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, said) == (130, "")
    assert "Traceback" not in err and "--resume" in err.splitlines()[-1]
    assert checkpoint.exists() and not (out / "prompts").exists()


def test_evaluate_prints_fractions_as_json(capsys, photos, fitted):
    code, out, _ = answer(capsys, "evaluate", "--data", photos, "--prompts", fitted / "prompts", "--json")
    result = json.loads(out)
    prompts = promptseg.Prompts.load(fitted / "prompts")
    data = promptseg.load_dataset(str(photos))
    expected = promptseg.evaluate(promptseg.load_model(prompts.model_id), prompts, data.val)
    assert code == 0
    assert result["miou"] == expected.miou and 0 <= result["miou"] <= 1
    assert result["per_class"] == expected.per_class
    assert (result["split"], result["num_images"]) == ("val", 2)
    figures = Figures.read(result, prompts.fingerprint, "scores")  # what `push --figures` reads
    assert figures.scores["miou"] == expected.miou and (figures.data, figures.images) == (photos.name, 2)


def test_evaluate_is_zero_shot_without_prompts(capsys, photos, model_folder):
    base = ("evaluate", "--data", photos, "--model", model_folder, "--split", "train")
    implied, stated = (
        json.loads(answer(capsys, *base, "--json", *more)[1]) for more in ((), ("--method", "zero-shot"))
    )
    assert implied == stated and implied["prompts"] == "zero-shot" and implied["num_images"] == 4
    code, table, _ = answer(capsys, *base)
    rows = {line.split()[0]: line.split()[-1] for line in table.splitlines() if line.strip()}
    assert code == 0
    assert rows["mean"] == f"{100 * implied['miou']:.1f}" and {"sky", "field"} < set(rows)


def test_evaluate_refuses_a_split_without_images(capsys, photos):
    assert "has no images in split 'test': it has train, val" in refused(
        capsys, "evaluate", "--data", photos, "--split", "test"
    )


def test_predict_labels_folders_and_files_and_goes_on_after_a_bad_one(capsys, tmp_path, photos, fitted):
    given, out = tmp_path / "given", tmp_path / "out"
    (given / "deep").mkdir(parents=True)
    for name in ("a.png", "deep/b.JPG"):
        Image.open(photos / "images/val/4.png").save(given / name)
    (given / "broken.png").write_bytes(b"no photo")
    (given / "notes.txt").write_text("no photo either")
    single = photos / "images/val/5.png"
    code, said, err = answer(capsys, "predict", given, single, "--prompts", fitted / "prompts", "--out", out)
    assert code == 2
    assert err.count("\n") == 1 and "broken.png" in err
    written = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    assert written == [
        "labels/5.png", "labels/a.png", "labels/deep/b.png",
        "overlays/5.jpg", "overlays/a.jpg", "overlays/deep/b.jpg",
        "predict.json", "records/1-of-1.jsonl", "shares.json",
    ]  # fmt: skip
    shares = json.loads((out / "shares.json").read_text())
    assert shares["classes"] == ["sky", "field"] and set(shares["images"]) == {"5", "a", "deep/b"}
    labels = np.asarray(Image.open(out / "labels/5.png"))
    prompts = promptseg.Prompts.load(fitted / "prompts")
    assert (labels == promptseg.predict(promptseg.load_model(prompts.model_id), prompts, single)).all()
    for index, name in enumerate(shares["classes"]):
        assert shares["images"]["5"].get(name, 0) == (labels == index).mean()
    with Image.open(out / "overlays/5.jpg") as overlay:
        assert overlay.height > labels.shape[0]
    assert "3 of 4 photos" in said


def test_predict_shows_the_colours_of_the_classes(capsys, tmp_path, photos, fitted):
    assert (
        answer(capsys, "predict", photos / "images/val/4.png", "--prompts", fitted / "prompts", "--out", tmp_path)[0]
        == 0
    )
    image = Image.open(tmp_path / "labels/4.png")
    expected = np.array([c["color"] for c in CLASSES["classes"]], np.uint8)[np.asarray(image)]
    assert (np.asarray(image.convert("RGB")) == expected).all()


def test_predict_again_takes_no_result_for_a_photo(capsys, tmp_path, photos, fitted):
    Image.open(photos / "images/val/4.png").save(tmp_path / "a.png")
    command = ("predict", tmp_path, "--prompts", fitted / "prompts", "--out", tmp_path / "out")
    for _ in range(2):
        assert "1 of 1 photos" in answer(capsys, *command)[1]


def test_predict_refuses_photos_that_would_share_a_name(capsys, tmp_path, photos, fitted):
    for name in ("a.png", "a.jpg"):
        Image.open(photos / "images/val/4.png").save(tmp_path / name)
    assert "both be written to a.png" in refused(
        capsys, "predict", tmp_path, "--prompts", fitted / "prompts", "--out", tmp_path / "out"
    )


def test_predict_refuses_a_folder_without_photos(capsys, tmp_path, fitted):
    assert "no photos" in refused(
        capsys, "predict", tmp_path, "--prompts", fitted / "prompts", "--out", tmp_path / "out"
    )


def test_data_draw_prints_the_ids_and_keeps_the_record(capsys, tmp_path, photos):
    code, out, err = answer(capsys, "data", "draw", photos, "--shots", 2, "--seed", 1, "--out", tmp_path / "draw.json")
    expected = promptseg.draw_shots(promptseg.load_dataset(str(photos)).train, k=2, seed=1)
    assert code == 0
    assert tuple(out.splitlines()) == expected.ids
    assert json.loads((tmp_path / "draw.json").read_text())["ids"] == list(expected.ids)
    assert "seed 1" in err


def test_data_check_passes_a_good_folder(capsys, tmp_path, photos):
    code, out, _ = answer(capsys, "data", "check", photos, "--json", tmp_path / "report.json")
    assert code == 0
    assert "train: 4 images" in out and "0 errors" in out
    assert json.loads((tmp_path / "report.json").read_text())["ok"] is True


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (PermissionError(13, "Permission denied", "/x/y"), "promptseg: /x/y: Permission denied; choose a place"),
        (OSError(28, "No space left on device"), "promptseg: No space left on device; free some space"),
        (MemoryError(), "promptseg: out of memory"),
        (torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate"), "promptseg: out of memory"),
        (promptseg.PromptsegError("two\nlines"), "promptseg: two lines\n"),
    ],
)
def test_shortages_are_one_line(capsys, monkeypatch, error, expected):
    def fails(spec):
        raise error

    monkeypatch.setattr(promptseg, "load_dataset", fails)
    assert refused(capsys, "data", "draw", "x").startswith(expected)


def test_a_fault_of_ours_keeps_its_traceback(monkeypatch):
    def fails(spec):
        raise ZeroDivisionError

    monkeypatch.setattr(promptseg, "load_dataset", fails)
    with pytest.raises(ZeroDivisionError):
        run(["data", "draw", "x"])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_under_standard_output_is_one_line():
    with open("/dev/full", "w") as full:
        done = subprocess.run([*COMMAND, "--help"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("promptseg: No space left on device") and done.stderr.count("\n") == 1


def test_a_reader_that_goes_away_gets_no_traceback():
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*COMMAND, "--help"], stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert done.stderr == ""
