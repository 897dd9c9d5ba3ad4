"""Comparisons: equal to single fits, never computed twice, refused under other settings, not stopped by a failure."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shutil import copytree

import pytest
import torch
from shapes import SHAPES, SPACE
from tiny import tiny_folder, tiny_segmenter

import promptseg
import promptseg.experiments.compare as experiment
from promptseg.cli.main import run
from promptseg.data.images import write_labels
from promptseg.data.sample import Dataset, Split
from promptseg.engine.runs import read_header
from promptseg.errors import PromptsegError
from promptseg.experiments.compare import compare
from promptseg.experiments.plan import Outcome, Plan, Score, Trial, Variant
from promptseg.experiments.results import classes_table, csv_text, group_by_seed, summary_table
from promptseg.models.seem.segmenter import SeemSegmenter
from promptseg.reports.pictures import write_picture

FEW = {"steps": 3, "batch_size": 2}
DATA = Dataset(
    "shapes",
    SPACE,
    Split(SHAPES[:4], "shapes", "train"),
    Split(SHAPES[4:], "shapes", "val"),
    Split([], "shapes", "test"),
)
METHODS = (Variant("zero-shot"), Variant("ssprompt"), Variant("spaprompt", {"weight": 0.5}), Variant("coop"))


@pytest.fixture(scope="module")
def model() -> SeemSegmenter:
    return tiny_segmenter()


def plan(*variants: Variant, seeds: tuple[int, ...] = (0, 1), **settings: object) -> Plan:
    return Plan(variants or METHODS, (2,), seeds, FEW | settings)


def quiet(model: SeemSegmenter, plan: Plan, out: Path) -> list[Outcome]:
    return compare(model, [DATA], plan, out, say=lambda line: None)


def test_a_cell_is_the_same_as_fit_and_evaluate(model: SeemSegmenter, tmp_path: Path) -> None:
    outcomes = quiet(model, plan(), tmp_path)
    assert [o.trial.variant for o in outcomes[::2]] == ["zero-shot", "ssprompt", "spaprompt:weight=0.5", "coop"]
    for outcome in outcomes:
        method, settings = (
            outcome.trial.variant.partition(":")[0],
            {"weight": 0.5} if ":" in outcome.trial.variant else {},
        )
        shots = promptseg.draw_shots(DATA.train, k=2, seed=outcome.trial.seed)
        alone = promptseg.fit(model, shots, method, seed=outcome.trial.seed, progress=False, **FEW, **settings)
        result = promptseg.evaluate(model, alone.prompts, DATA.val)
        score = outcome.score
        assert score is not None and (score.scores, score.per_class) == (result.scores, result.per_class)
        assert score.scores["things"] == result.per_class["car"]
        ground, sky = result.per_class["ground"], result.per_class["sky"]
        assert ground is not None and sky is not None and score.scores["stuff"] == pytest.approx((ground + sky) / 2)
        assert score.images == len(shots)
        assert score.parameters == alone.parameters
        assert (score.ms_per_image is None) == (method == "zero-shot")
        assert score.encode_ms is not None and 0 < score.encode_ms < 60_000
        kept = promptseg.Prompts.load(tmp_path / "prompts" / outcome.trial.name)
        assert torch.equal(kept.kinds["semantic"], alone.prompts.kinds["semantic"])


def test_every_image_is_encoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, calls = tiny_segmenter(), []
    encode = model.encode_image
    monkeypatch.setattr(model, "encode_image", lambda images: (calls.append(1), encode(images))[1])
    quiet(model, plan(seeds=(0,)), tmp_path)
    shots = len(promptseg.draw_shots(DATA.train, k=2, seed=0))
    assert len(calls) == 2 * shots + len(DATA.val)


def test_an_interrupted_comparison_goes_on_and_nothing_is_computed_twice(
    model: SeemSegmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit, fits = experiment.fit, []

    def counted(*args: object, **settings: object) -> object:
        fits.append(1)
        if len(fits) == 3:
            raise KeyboardInterrupt
        return fit(*args, **settings)

    monkeypatch.setattr(experiment, "fit", counted)
    with pytest.raises(KeyboardInterrupt):
        quiet(model, plan(), tmp_path)
    assert len(list((tmp_path / "trials").iterdir())) == 2
    outcomes = quiet(model, plan(), tmp_path)
    assert len(fits) == 3 + 6 and all(outcome.score for outcome in outcomes)
    assert quiet(model, plan(), tmp_path) == outcomes
    more = quiet(model, plan(*METHODS, Variant("locn")), tmp_path)
    assert len(fits) == 9 + 2 and more[:8] == outcomes


def test_a_fit_that_was_stopped_goes_on_from_its_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_segmenter()
    one = plan(Variant("ssprompt"), seeds=(0,), steps=6, batch_size=1)
    whole = quiet(model, one, tmp_path / "whole")[0].score
    step, calls = torch.optim.AdamW.step, []

    def counted(*args: object) -> object:
        calls.append(1)
        if len(calls) == 4:
            signal.raise_signal(signal.SIGINT)
        return step(*args)

    monkeypatch.setattr(torch.optim.AdamW, "step", counted)
    with pytest.raises(KeyboardInterrupt):
        quiet(model, one, tmp_path / "cut")
    score = quiet(model, one, tmp_path / "cut")[0].score
    # The step that was stopped was finished, and none is made twice.
    assert len(calls) == 6
    assert whole is not None and score is not None and score.per_class == whole.per_class
    assert score.ms_per_image is not None and not list((tmp_path / "cut" / "unfinished").iterdir())


def test_what_a_process_left_that_was_killed_after_the_score_is_removed(tmp_path: Path) -> None:
    one = plan(Variant("zero-shot"), seeds=(0,))
    quiet(tiny_segmenter(), one, tmp_path)
    name = next((tmp_path / "trials").iterdir()).stem
    (tmp_path / "unfinished" / name).mkdir()
    (tmp_path / "unfinished" / name / "run.json").touch()
    (tmp_path / "unfinished" / f"{name}.lock").touch()
    quiet(tiny_segmenter(), one, tmp_path)
    assert not list((tmp_path / "unfinished").iterdir())


def test_several_at_once_in_one_folder_compute_each_trial_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit, fits = experiment.fit, []
    monkeypatch.setattr(experiment, "fit", lambda *given, **settings: (fits.append(1), fit(*given, **settings))[1])
    models = [tiny_segmenter() for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda model: quiet(model, plan(), tmp_path), models))
    assert len(fits) == len(found[0]) == 8
    assert all(outcome.score for outcome in found[0])
    assert found[0] == found[1] == found[2]
    assert not list((tmp_path / "unfinished").iterdir()) and not (tmp_path / "failed").exists()


def test_what_trains_nothing_is_evaluated_once(
    model: SeemSegmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluated = []
    evaluate = experiment.evaluate
    monkeypatch.setattr(experiment, "evaluate", lambda *a, **k: (evaluated.append(1), evaluate(*a, **k))[1])
    outcomes = quiet(model, plan(Variant("zero-shot"), Variant("coop"), seeds=(0, 1, 2)), tmp_path)
    assert len(evaluated) == 1 + 3 and len(list((tmp_path / "trials").iterdir())) == 6
    scores = [outcome.score for outcome in outcomes[:3]]
    assert scores[0] is not None and all(score and score.per_class == scores[0].per_class for score in scores)


def test_other_settings_and_other_weights_are_refused(model: SeemSegmenter, tmp_path: Path) -> None:
    quiet(model, plan(Variant("zero-shot"), seeds=(0,)), tmp_path)
    with pytest.raises(PromptsegError, match="belongs to a run with other settings; choose another folder or delete"):
        quiet(model, plan(Variant("zero-shot"), seeds=(0,), steps=4), tmp_path)
    with pytest.raises(PromptsegError, match="belongs to a run with other model"):
        quiet(tiny_segmenter(seed=1), plan(Variant("zero-shot"), seeds=(0,)), tmp_path)
    trial = next((tmp_path / "trials").iterdir())
    trial.write_text("[]")
    with pytest.raises(PromptsegError, match="not a trial of a comparison"):
        quiet(model, plan(Variant("zero-shot"), seeds=(0,)), tmp_path)


def test_a_failing_cell_is_reported_and_the_rest_go_on(model: SeemSegmenter, tmp_path: Path) -> None:
    broken = Variant("ssprompt", {"rate": 1e30})
    outcomes = quiet(model, plan(broken, Variant("semprompt"), seeds=(0,)), tmp_path)
    assert outcomes[0].score is None and outcomes[1].score is not None
    assert str(outcomes[0].error).startswith("the loss is ")
    assert "Traceback" in (tmp_path / "failed" / f"{outcomes[0].trial.name}.txt").read_text()
    assert summary_table(group_by_seed(outcomes)).rows[0][1] == "failed"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"variants": (Variant("magic"),)}, "magic: unknown method 'magic'"),
        ({"variants": (Variant("coop", {"weight": 1}),)}, "coop:weight=1: unknown setting 'weight'"),
        ({"settings": {"loss": "l1"}}, "zero-shot: unknown semantic loss 'l1'"),
        ({"variants": (Variant("coop"), Variant("coop"))}, "coop stands twice among the methods: give it once"),
        ({"seeds": ()}, "there are no seeds to compare: give at least one"),
        ({"split": "test"}, "shapes has no images in split 'test'"),
        ({"split": "train"}, "split is 'train': scores are taken on val or test"),
    ],
)
def test_a_plan_that_makes_no_sense_is_one_line(
    model: SeemSegmenter, tmp_path: Path, change: dict, message: str
) -> None:
    with pytest.raises(PromptsegError) as error:
        quiet(model, Plan(**({"variants": METHODS, "settings": FEW} | change)), tmp_path)
    assert str(error.value).startswith(message) and "\n" not in str(error.value)
    assert not (tmp_path / "trials").exists()


def test_cells_that_look_alike_have_names_of_their_own() -> None:
    names = {
        Trial(data, "semantic", "coop", 4, 0).name for data in ("folder:a?b", "folder:a/b", "folder:a:b", "x" * 300)
    }
    assert len(names) == 4 and all(len(name) < 150 and "/" not in name for name in names)


def scored(variant: str, seed: int, miou: float, car: float | None) -> Outcome:
    scores = {"miou": miou, "things": car, "stuff": miou}
    score = Score(scores, {"road": miou, "car": car}, 5, 1234, 12.5, 7.5, 300_000_000, 4000)
    return Outcome(Trial("streets:fog", "semantic", variant, 16, seed), score)


def test_the_tables_hold_mean_and_deviation_over_seeds() -> None:
    outcomes = [scored("coop", 0, 0.3, 0.2), scored("coop", 1, 0.4, None), scored("vspl", 0, 0.25, 0.5)]
    outcomes.append(Outcome(Trial("streets:fog", "semantic", "vspl", 16, 1), None, "out of memory"))
    found = group_by_seed(outcomes)
    rows = summary_table(found).rows
    assert rows[0] == ("coop", "35.0 ± 7.1", "20.0", "35.0 ± 7.1", "1234", "12.5", "300", "4")
    assert rows[1][:2] == ("vspl", "25.0 (1 of 2 failed)")
    table = classes_table(found)
    assert table.rows == (("road", "35.0 ± 7.1", "25.0"), ("car", "20.0", "50.0"))
    read = list(csv.DictReader(io.StringIO(csv_text(outcomes))))
    assert [row["miou"] for row in read] == ["0.3", "0.4", "0.25", ""]
    assert [row["IoU car"] for row in read] == ["0.2", "", "0.5", ""]
    assert read[3]["error"] == "out of memory"


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    root = tmp_path / "photos"
    for split in (DATA.train, DATA.val):
        for index, sample in enumerate(split):
            write_picture(root / "images" / split.name / f"{index}.png", sample.image())
            write_labels(root / "labels" / split.name / f"{index}.png", sample.semantic(), SPACE.colors)
    (root / "classes.json").write_text(json.dumps(list(SPACE.names)))
    model = tiny_folder(tmp_path / "model")
    return ["compare", "--model", str(model), "--data", str(root), "--shots", "2", "--steps", "2", "--seeds", "0,1"]


def test_the_command_writes_its_tables_and_goes_on(
    tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "out"
    command += ["--out", str(out), "--set", "batch_size=2"]
    assert run([*command, "--methods", "zero-shot,ssprompt:weight=0.5"]) == 0
    first = capsys.readouterr()
    assert "ssprompt:weight=0.5" in first.out and "4 trials, 0 finished before" in first.err
    assert run([*command, "--methods", "zero-shot,ssprompt:weight=0.5"]) == 0
    again = capsys.readouterr()
    assert again.out == first.out and again.err.splitlines() == ["4 trials, 4 finished before"]
    content = json.loads((out / "table.json").read_text())
    assert [group["method"] for group in content["groups"]] == ["zero-shot", "ssprompt:weight=0.5"]
    assert content["settings"] == {"batch_size": 2, "steps": 2}
    assert len((out / "table.csv").read_text().splitlines()) == 5
    page = (out / "table.md").read_text()
    assert "| zero-shot |" in page and "- seeds: 0, 1\n" in page and "- settings: batch_size=2, steps=2\n" in page


def test_the_command_takes_several_data_sets_and_shots_and_says_what_was_drawn(
    tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture
) -> None:
    photos, out = Path(command[command.index("--data") + 1]), tmp_path / "out"
    copytree(photos, tmp_path / "others")
    given = [*command, "--shots", "1,2", "--seeds", "0", "--methods", "zero-shot,semprompt", "--rule", "union"]
    assert run([*given, "--data", str(tmp_path / "others"), "--out", str(out)]) == 0
    said = capsys.readouterr().out.splitlines()
    for folder in (photos, tmp_path / "others"):
        title = next(line for line in said if line.startswith(f"folder:{folder}, semantic; "))
        drawn = [len(promptseg.draw_shots(promptseg.load_dataset(folder).train, k, 0, "union")) for k in (1, 2)]
        counts = "; ".join(f"{k} shots of each class (union): {n} images" for k, n in zip((1, 2), drawn, strict=True))
        assert title == f"folder:{folder}, semantic; {counts}"
    rows = [line.split("   ")[0].strip() for line in said]
    assert rows.count("semprompt, 1 shots") == rows.count("semprompt, 2 shots") == 2
    content = json.loads((out / "table.json").read_text())
    assert (content["rule"], content["shots"], len(content["trials"])) == ("union", [1, 2], 8)
    capsys.readouterr()
    assert run([*given, "--data", str(photos), "--out", str(out)]) == 2
    assert "give each data set once" in capsys.readouterr().err


def test_a_model_used_in_another_way_is_another_model(
    tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture
) -> None:
    command += ["--out", str(tmp_path / "out"), "--methods", "pixprompt"]
    assert run(command) == run(command) == 0
    assert "2 trials, 2 finished before" in capsys.readouterr().err
    command[2] += "?maps=decoder"
    assert run(command) == 2
    assert "belongs to a run with other model; choose another folder" in capsys.readouterr().err


def test_the_command_ends_with_2_if_a_cell_failed(
    tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture
) -> None:
    assert run([*command, "--out", str(tmp_path / "out"), "--methods", "zero-shot,ssprompt:rate=1e30"]) == 2
    said = capsys.readouterr()
    last = said.err.splitlines()[-1]
    assert "failed" in said.out and last.startswith(
        "promptseg: 2 of 4 fits failed; the same command tries them again. First of them: ssprompt:rate=1e+30 on "
    )
    assert run([*command, "--out", str(tmp_path / "out"), "--seeds", "0,x"]) == 2
    assert "'x' is not a whole number from 0" in capsys.readouterr().err


def test_jobs_find_the_same_and_report_what_fails(
    tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture
) -> None:
    command += ["--threads", "1", "--methods", "zero-shot,semprompt,ssprompt:rate=1e30"]
    assert run([*command, "--out", str(tmp_path / "alone")]) == 2
    assert run([*command, "--out", str(tmp_path / "jobs"), "--jobs", "2"]) == 2
    said = capsys.readouterr().err
    assert said.count("6 trials, 0 finished before") == 2 and said.count("Traceback") == 0
    found = [json.loads((tmp_path / name / "table.json").read_text()) for name in ("alone", "jobs")]
    for first, second in zip(*(content["trials"] for content in found), strict=True):
        assert (first["trial"], first["error"]) == (second["trial"], second["error"])
        assert first["score"] is None or first["score"]["per_class"] == second["score"]["per_class"]
    assert run([*command, "--out", str(tmp_path / "jobs"), "--jobs", "0"]) == 2
    assert "--jobs 0: give a whole number of at least 1" in capsys.readouterr().err


STOPPED = """
import sys
from promptseg.__main__ import main
if __name__ == "__main__":
    main()
"""


def living(group: int) -> list[str]:
    """Processes of a group that still run; the dead that nobody has asked for yet are none."""
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, of_group = file.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(of_group) == group and state != "Z":
            found.append(file.parent.name)
    return found


@pytest.mark.slow
def test_ctrl_c_stops_all_jobs_and_they_go_on(tmp_path: Path, command: list[str]) -> None:
    script = tmp_path / "main.py"
    script.write_text(STOPPED)
    out = tmp_path / "out"
    command[command.index("--steps") + 1] = "4000"
    arguments = [*command, "--methods", "ssprompt", "--out", str(out), "--jobs", "2", "--set", "batch_size=2"]
    process = subprocess.Popen(
        [sys.executable, str(script), *arguments], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    for _ in range(3000):
        if len(list(out.glob("unfinished/*/checkpoint.safetensors"))) == 2:
            break
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert said.splitlines() == [
        "2 trials, 0 finished before",
        f"promptseg: stopped; the same command goes on with {out}",
    ]
    steps = [len(read_header(path)["losses"]) for path in out.glob("unfinished/*/checkpoint.safetensors")]
    assert len(steps) == 2 and all(0 < done < 4000 for done in steps)
    give_up = time.monotonic() + 30
    while living(process.pid) and time.monotonic() < give_up:
        time.sleep(0.1)
    assert living(process.pid) == []
