"""The paper's tables as recipes: consistent figures, a run on a tiny model, and where each figure comes from."""

import csv
import json
import math
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from shapes import SHAPES, SPACE
from tiny import tiny_folder, tiny_segmenter

import promptseg
from promptseg.cli.main import run as run_command
from promptseg.data.registry import load_dataset
from promptseg.data.sample import Dataset, Split
from promptseg.engine.settings import PRESETS, resolve
from promptseg.errors import PromptsegError
from promptseg.experiments.plan import Plan
from promptseg.methods.registry import METHODS
from promptseg.models.seem.segmenter import SeemSegmenter
from promptseg.recipes.caption_counts import CaptionCounts
from promptseg.recipes.paper import RECIPES, Recipe
from promptseg.recipes.reproduce import choose_data, reproduce
from promptseg.reports.pictures import bar_chart

EVERY = pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))
FEW = {"steps": 2, "batch_size": 2}


def shapes(name: str, shift: int = 0) -> Dataset:
    splits = [Split(SHAPES[a + shift : b + shift], name, split) for a, b, split in ((0, 3, "train"), (3, 5, "val"))]
    return Dataset(name, SPACE, splits[0], splits[1], Split([], name, "test"))


@pytest.fixture(scope="module")
def model() -> SeemSegmenter:
    return tiny_segmenter()


@EVERY
def test_a_recipe_can_run(recipe: Recipe) -> None:
    for row in recipe.rows:
        resolve("tuned", METHODS.find(row.variant.method), row.variant.settings)
        assert set(row.paper) in (set(recipe.sizes), set())
        for figures in row.paper.values():
            assert len(figures) == len(recipe.columns) * len(recipe.shown) + recipe.mean
    pairs = [(row.variant.label, row.shots) for row in recipe.rows]
    assert sorted(pairs) == sorted(product([v.label for v in recipe.variants], recipe.shots))
    for spec in recipe.miniature.values():
        assert len(load_dataset(spec).train)


def test_the_figures_of_the_paper_agree_with_each_other() -> None:
    for row in RECIPES["table3"].rows:
        for *conditions, mean in row.paper.values():
            assert sum(conditions) / 4 == pytest.approx(mean, abs=0.051)
    tables = {name: [row for row in recipe.rows if "tiny" in row.paper] for name, recipe in RECIPES.items()}
    on_cityscapes = {name: {row.label: row.paper["tiny"][0] for row in rows} for name, rows in tables.items()}
    assert on_cityscapes["table2"]["SEEM"] == on_cityscapes["table8"]["SEEM"] == on_cityscapes["table5"]["none"]
    assert on_cityscapes["table4"].items() <= on_cityscapes["table2"].items()
    full = {on_cityscapes["table2"]["SSPrompt"], on_cityscapes["table5"]["both, learned weights"]}
    assert full | {on_cityscapes["table6"]["16 shots"], on_cityscapes["table8"]["SSPrompt"]} == {55.2}
    assert on_cityscapes["table5"]["spatial, learned weights"] == on_cityscapes["table8"]["SpaPrompt"]


def test_a_table_shows_both_figures_and_where_ours_come_from(model: SeemSegmenter, tmp_path: Path) -> None:
    recipe = RECIPES["table3"]
    datasets = {column: shapes(column, shift) for shift, column in zip((0, 1, 0, 1), recipe.columns, strict=True)}
    plan = Plan((recipe.rows[0].variant,), seeds=(0, 1), settings=FEW)
    made = reproduce(recipe, model, datasets, plan, tmp_path, say=lambda line: None)
    assert len(made.outcomes) == 4 * 4 * 2
    headers, row = made.table.headers, dict(zip(made.table.headers, made.table.rows[3], strict=True))
    assert headers[:4] == ("method", "fog: paper, tiny", "fog: paper, large", "fog: ours")
    assert (row["method"], row["fog: paper, tiny"], row["mean: paper, large"]) == ("SSPrompt", "47.5", "49.9")
    ours = {
        (o.trial.data, o.trial.seed): o.score.scores["miou"]
        for o in made.outcomes
        if o.trial.variant == "ssprompt" and o.score
    }
    by_seed = [sum(ours[column, seed] for column in recipe.columns) / 4 for seed in (0, 1)]
    assert row["fog: ours"].startswith(f"{50 * (ours['fog', 0] + ours['fog', 1]):.1f} ± ")
    assert row["mean: ours"].startswith(f"{50 * sum(by_seed):.1f} ± ")
    assert made.notes[0].startswith(f"ours: tiny-0 (weights {model.fingerprint[:12]}) on fog, night, rain, snow, split")
    assert made.notes[1].startswith("paper: SEEM with Focal-Tiny (tiny) and DaViT-Large (large) on fog")
    assert "| SSPrompt | 47.5 | 57.7 |" in (tmp_path / "table3.md").read_text()
    assert json.loads((tmp_path / "table3.json").read_text())["rows"][3][0] == "SSPrompt"


def test_tables_in_one_folder_share_their_trials(model: SeemSegmenter, tmp_path: Path) -> None:
    said: list[str] = []
    for name in ("table8", "table5", "table6"):
        plan = Plan((RECIPES[name].rows[0].variant,), seeds=(0,), settings=FEW)
        made = reproduce(RECIPES[name], model, {"streets:fog": shapes("streets:fog")}, plan, tmp_path, said.append)
        assert all(outcome.score for outcome in made.outcomes)
        assert made.table.headers == ("method", "Cityscapes: paper, tiny", "streets:fog: ours")
        assert made.notes[-1].startswith(
            "not the paper's data: Cityscapes; give what you have as --data 'Cityscapes=FORMAT:PATH'"
        )
    counts = [line for line in said if "finished before" in line]
    assert counts == ["7 trials, 0 finished before", "7 trials, 3 finished before", "4 trials, 1 finished before"]


def test_preset_paper_trains_each_column_with_the_papers_batch_and_raw_names(
    model: SeemSegmenter, tmp_path: Path
) -> None:
    recipe = RECIPES["table2"]
    datasets = {column: shapes(column) for column in ("Cityscapes", "ADE20K", "PASCAL Context")}
    for preset, settings, sizes in (
        ("paper", {"steps": 1}, {"Cityscapes": 2, "ADE20K": 8, "PASCAL Context": 8}),
        ("paper", {"steps": 1, "batch_size": 3}, dict.fromkeys(datasets, 3)),
        ("tuned", {"steps": 1}, dict.fromkeys(datasets, 2)),
    ):
        out = tmp_path / f"{preset}-{len(settings)}"
        plan = Plan(recipe.variants, seeds=(0,), settings=settings, preset=preset)
        made = reproduce(recipe, model, datasets, plan, out, say=lambda line: None)
        assert all(outcome.score for outcome in made.outcomes) and len(made.outcomes) == 15
        records = [json.loads(file.read_text())["record"] for file in (out / "trials").glob("*.json")]
        assert {record["data"]: record["settings"]["batch_size"] for record in records} == sizes
        templates = {record["method"]: record["settings"]["templates"] for record in records}
        own = "raw" if preset == "paper" else None
        assert templates == {"zero-shot": own, "coop": "photo", "locn": "photo", "ssprompt": own, "pixprompt": own}
        assert ("8 images a step on ADE20K and PASCAL Context" in made.notes[0]) == (8 in sizes.values())


def test_every_image_of_table6_is_encoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, calls = tiny_segmenter(), []
    encode = model.encode_image
    monkeypatch.setattr(model, "encode_image", lambda images: (calls.append(1), encode(images))[1])
    plan = Plan((RECIPES["table6"].rows[0].variant,), seeds=(0, 1), settings=FEW)
    data = shapes("a")
    reproduce(RECIPES["table6"], model, {"Cityscapes": data}, plan, tmp_path, say=lambda line: None)
    assert len(calls) == 2 * len(data.train) + len(data.val)


def test_table4_says_how_many_objects_are_too_small(model: SeemSegmenter, tmp_path: Path) -> None:
    recipe = RECIPES["table4"].of_task("instance")
    data = promptseg.load_dataset("streets:clear?size=128x64&train=3&val=4&test=1")
    plan = Plan((recipe.rows[0].variant,), seeds=(0,), settings=FEW)
    made = reproduce(recipe, model, {"Cityscapes": data}, plan, tmp_path, say=lambda line: None)
    objects = [sample.objects() for sample in data.val]
    is_thing = [info.is_thing for info in data.label_space.classes]
    sizes = [o.mask(i).sum() for o in objects for i, s in enumerate(o.segments) if is_thing[s.class_id]]
    share = 100 * sum(size < 100 for size in sizes) / len(sizes)
    assert made.notes[-1] == (
        f"AP50 on {data.spec} is of objects of 100 pixels and more: {share:.0f} % of those labelled are smaller"
    )


def test_table7_shows_costs(model: SeemSegmenter, tmp_path: Path) -> None:
    plan = Plan((RECIPES["table7"].rows[0].variant,), seeds=(0,), settings=FEW)
    made = reproduce(RECIPES["table7"], model, {"ADE20K": shapes("a")}, plan, tmp_path, say=lambda line: None)
    assert made.table.headers[1:] == tuple(
        f"ADE20K, {name}: {whose}"
        for name in ("ms/image, encoded before", "ms/image, encoded at each step", "peak GB")
        for whose in ("paper", "ours")
    )
    score = made.outcomes[0].score
    assert score is not None and score.ms_per_image is not None and score.peak_bytes is not None
    assert score.encode_ms is not None
    ours = (f"{score.ms_per_image:.1f}", f"{score.ms_per_image + score.encode_ms:.1f}", f"{score.peak_bytes / 1e9:.2f}")
    assert made.table.rows[0] == ("CoOp", "–", ours[0], "87.5", ours[1], "8.22", ours[2])
    assert any("text encoder of seem-lite is tiny" in note for note in made.notes)


def test_figure_3_shows_what_the_weights_keep_of_the_default(model: SeemSegmenter, tmp_path: Path) -> None:
    recipe, said = RECIPES["fig3"], []
    plan = Plan((recipe.rows[0].variant,), seeds=(0, 1), settings=FEW | {"rate": 0.2})
    made = reproduce(recipe, model, {"Cityscapes": shapes("a")}, plan, tmp_path, said.append)
    expected: dict[str, list[float]] = {name: [] for name in SPACE.names}
    for seed in (0, 1):
        shots = promptseg.draw_shots(shapes("a").train, k=16, seed=seed)
        run = promptseg.fit(model, shots, "ssprompt", seed=seed, progress=False, **FEW, rate=0.2)
        for name, weight in zip(SPACE.names, run.prompts.parts["semantic.weight"].flatten().tolist(), strict=True):
            expected[name].append(1 - weight)
    read = list(csv.DictReader((tmp_path / "fig3.csv").read_text().splitlines()))
    means = [float(row["mean"]) for row in read]
    assert means == sorted(means, reverse=True) and len({row["class"] for row in read}) == len(SPACE)
    for row in read:
        assert [float(row["seed 0"]), float(row["seed 1"])] == pytest.approx(expected[row["class"]])
        assert row["kind"] == ("things" if row["class"] == "car" else "stuff")
    assert made.table.rows[-2] == ("mean of things", "things", f"{sum(expected['car']) / 2:.3f}")
    assert made.notes[1] == "paper: foreground classes keep more of the default, background classes less"
    assert made.notes[-1].startswith("no captions given: (a) and its correlation with (b) are left out")
    picture = np.asarray(Image.open(tmp_path / "fig3.png"))
    assert picture.shape[1] == 640 and len(np.unique(picture.reshape(-1, 3), axis=0)) > 3


def test_figure_3_sets_shares_beside_caption_counts(model: SeemSegmenter, tmp_path: Path) -> None:
    counts = dict(zip(SPACE.names, (10, 99_999, 0), strict=True))
    captions = CaptionCounts(100_000, counts, {name: (name,) for name in counts}, ("a.txt",))
    recipe = RECIPES["fig3"]
    plan = Plan(recipe.variants, seeds=(0,), settings=FEW | {"rate": 0.2})
    data = {"Cityscapes": shapes("a")}
    made = reproduce(recipe, model, data, plan, tmp_path, lambda line: None, captions=captions)
    rows = list(csv.DictReader((tmp_path / "fig3.csv").read_text().splitlines()))
    assert {row["class"]: int(row["captions"]) for row in rows} == counts
    logs = [math.log10(1 + int(row["captions"])) for row in rows]
    share = [float(row["mean"]) for row in rows]
    pearson = np.corrcoef(logs, share)[0, 1]
    ranks = [np.argsort(np.argsort(values)) for values in (logs, share)]
    spearman = np.corrcoef(*ranks)[0, 1]
    assert f"n = 3 classes: Spearman {spearman:+.2f} (p = " in made.notes[-1]
    assert f"Pearson of log10(1 + count) {pearson:+.2f} (p = " in made.notes[-1]
    assert made.table.headers[-1] == "captions" and "99,999" in {row[-1] for row in made.table.rows}
    other = CaptionCounts(1, {"car": 1}, {"car": ("car",)}, ("a.txt",))
    with pytest.raises(PromptsegError, match="captions were not counted for class 'ground': count them for shapes"):
        reproduce(recipe, model, data, plan, tmp_path, lambda line: None, captions=other)


def test_a_bar_is_as_long_as_its_fraction() -> None:
    picture = bar_chart(["a", "b"], [0.25, 0.5], [(255, 0, 0), (0, 0, 255)], width=400)
    lengths = [(picture == color).all(axis=2).sum(axis=1).max() for color in ((255, 0, 0), (0, 0, 255))]
    assert lengths[1] - 1 == pytest.approx(2 * (lengths[0] - 1), abs=1)


def test_data_are_chosen_by_column() -> None:
    table2, table5 = RECIPES["table2"], RECIPES["table5"]
    assert choose_data(table2, []) == {"streets:adverse": "streets:adverse"}
    given = ["cityscapes=folder:city?val=a", "PASCAL Context=context"]
    assert choose_data(table2, given) == {"Cityscapes": "folder:city?val=a", "PASCAL Context": "context"}
    assert choose_data(table5, ["folder:city?val=a"]) == {"Cityscapes": "folder:city?val=a"}
    with pytest.raises(
        PromptsegError, match=r"--data photos: give it as COLUMN=SPEC, with a column of Cityscapes, BDD"
    ):
        choose_data(table2, ["photos"])


def test_the_command_runs_a_table_in_miniature(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr("promptseg.load_dataset", lambda spec: shapes(spec))
    model = tiny_folder(tmp_path / "model")
    command = ["reproduce", "table6", "--model", str(model), "--out", str(tmp_path / "out"), "--seeds", "0"]
    assert run_command([*command, "--steps", "2", "--set", "batch_size=1"]) == 0
    said = capsys.readouterr().out
    assert "Table 6: SSPrompt with fewer shots, mIoU in percent" in said and "55.2" in said
    assert f"ours: {model}" in said and "preset tuned, batch_size=1, steps=2" in said
    assert "16 shots of each class (cover): " in said
    assert PRESETS["tuned"].batch_size != 1
    assert run_command(["reproduce", "table99", "--out", str(tmp_path / "out")]) == 2
    assert "unknown recipe 'table99': choose one of fig3, table2" in capsys.readouterr().err
