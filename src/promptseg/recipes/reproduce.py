"""Tables of the paper run again: its figures and ours side by side, and where ours come from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from promptseg.data.sample import Dataset
from promptseg.errors import PromptsegError
from promptseg.experiments.compare import Pool, compare
from promptseg.experiments.plan import Outcome, Plan
from promptseg.experiments.results import (
    PERCENT,
    Measure,
    Spread,
    TrialGroup,
    csv_text,
    drawn_text,
    group_by_seed,
    spread,
)
from promptseg.files import write_json, write_text
from promptseg.models.base import PromptableSegmenter
from promptseg.recipes.caption_counts import CaptionCounts
from promptseg.recipes.figure3 import check_counts, share_figure
from promptseg.recipes.paper import EIGHT_A_STEP, Recipe, Row
from promptseg.reports.tables import MISSING, Table
from promptseg.tasks.base import mean

Datasets = Mapping[str, Dataset]
"""Data by the name of their column: one of the paper's, or a name of its own."""


@dataclass(frozen=True)
class Reproduction:
    """A table with both kinds of figures.

    Attributes:
        table: the paper's figures and ours.
        notes: lines that must stand beside it: which model, weights and data each figure comes from.
        outcomes: all trials.
    """

    table: Table
    notes: tuple[str, ...]
    outcomes: list[Outcome]


def choose_data(recipe: Recipe, given: Sequence[str]) -> dict[str, str]:
    """Specs by column, from texts `COLUMN=SPEC`; without any, those of the miniature.

    Where the table has one column, `SPEC` alone is enough.

    Raises:
        PromptsegError: a text names no column of the table.
    """
    if not given:
        return dict(recipe.miniature)
    columns = {column.lower(): column for column in recipe.columns}
    chosen: dict[str, str] = {}
    for text in given:
        name, _, spec = text.partition("=")
        if name.lower() in columns:
            chosen[columns[name.lower()]] = spec
        elif len(columns) == 1:
            chosen[recipe.columns[0]] = text
        else:
            raise PromptsegError(f"--data {text}: give it as COLUMN=SPEC, with a column of {', '.join(recipe.columns)}")
    return chosen


def reproduce(
    recipe: Recipe,
    model: PromptableSegmenter,
    datasets: Datasets,
    plan: Plan,
    out: Path,
    say: Callable[[str], None] = print,
    pool: Pool | None = None,
    captions: CaptionCounts | None = None,
) -> Reproduction:
    """Run a table, trial by trial as `compare` does, and write `out/NAME.md`, `.csv`, `.json`, and `.png` of a figure.

    Args:
        recipe: which table.
        model: the frozen segmenter.
        datasets: data by column.
        plan: seeds, rule, preset, settings and split; its variants and shots are those of the recipe.
        out: folder; several tables may share it, and then share what they have in common.
        say: takes a line about each trial.
        pool: computes the trials elsewhere, as for `compare`.
        captions: how often captions name the classes, for the figure.

    Raises:
        PromptsegError: as `compare`, or captions counted for other classes.
    """
    distinct = list({dataset.spec: dataset for dataset in datasets.values()}.values())
    if captions is not None:
        check_counts(captions, distinct[0].label_space)
    outcomes: list[Outcome] = []
    for part in plans(recipe, plan):
        for settings, some in _by_settings(datasets, part):
            outcomes += compare(model, some, replace(part, settings=settings), out, say, pool)
    drawn = drawn_text(outcomes, plan.rule)
    notes = (*_notes(recipe, model, datasets, plan, drawn), *_missing(recipe, datasets), *_left_out(outcomes))
    if recipe.claim:
        figure = share_figure(recipe, distinct[0].label_space, outcomes, out, captions)
        table, text, notes = figure.table, figure.csv, (*notes, figure.correlation)
    else:
        table, text = paper_table(recipe, datasets, group_by_seed(outcomes)), csv_text(outcomes)
    _write(out, recipe, table, notes, outcomes, text)
    return Reproduction(table, notes, outcomes)


def plans(recipe: Recipe, plan: Plan) -> list[Plan]:
    """What is compared: for each task of the recipe a plan with its variants, shots and settings."""
    plan = replace(plan, variants=recipe.variants, shots=recipe.shots)
    return [replace(plan, task=task, settings={**settings, **plan.settings}) for task, settings in recipe.tasks.items()]


def _by_settings(datasets: Datasets, plan: Plan) -> list[tuple[Mapping[str, Any], list[Dataset]]]:
    """The distinct data with what they are trained with: preset `paper` has the paper's batch size of each column."""
    of_spec = {dataset.spec: column for column, dataset in datasets.items()}
    eight = [column for column in of_spec.values() if _eight(column, plan)]
    two = [column for column in of_spec.values() if column not in eight]
    groups = ((plan.settings, two), ({"batch_size": 8, **plan.settings}, eight))
    return [(settings, [datasets[column] for column in columns]) for settings, columns in groups if columns]


def _eight(column: str, plan: Plan) -> bool:
    return plan.preset == "paper" and column in EIGHT_A_STEP


def _notes(recipe: Recipe, model: PromptableSegmenter, datasets: Datasets, plan: Plan, drawn: str) -> tuple[str, ...]:
    data = ", ".join(dict.fromkeys(dataset.spec for dataset in datasets.values()))
    settings = "".join(f", {name}={value}" for name, value in plan.settings.items())
    seeds = ", ".join(map(str, plan.seeds))
    eight = [column for column in datasets if _eight(column, plan) and "batch_size" not in plan.settings]
    settings += f", 8 images a step on {' and '.join(eight)}" if eight else ""
    ours = (
        f"ours: {model.id} (weights {model.fingerprint[:12]}) on {data}, split {plan.split}; {drawn}; seeds {seeds}; "
        f"preset {plan.preset}{settings}"
    )
    return (ours, _about_paper(recipe), *((recipe.caveat,) if recipe.caveat else ()))


def _about_paper(recipe: Recipe) -> str:
    if recipe.claim:
        return f"paper: {recipe.claim}"
    sizes = {"tiny": "Focal-Tiny (tiny)", "large": "DaViT-Large (large)", "": "a size that is not stated"}
    seem = " and ".join(sizes[size] for size in recipe.sizes if size in sizes)
    model = f"SEEM with {seem}" if seem else "the released SAM, its size not stated,"
    return (
        f"paper: {model} on {', '.join(recipe.columns)}; "
        "figures of different models or data compare in their order and gaps, not in their level"
    )


def _missing(recipe: Recipe, datasets: Datasets) -> tuple[str, ...]:
    """What the user would have to give for the columns of the paper."""
    absent = [
        column for column in recipe.columns if column not in datasets or datasets[column].spec.startswith("streets:")
    ]
    if not absent:
        return ()
    return (
        f"not the paper's data: {', '.join(absent)}; give what you have as --data '{absent[0]}=FORMAT:PATH' "
        f"(the formats: promptseg data list), with --model {recipe.base} (docs/models.md)",
    )


def _left_out(outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    """How many objects are too small for the average precision of Cityscapes' rules, data by data."""
    scores = {one.trial.data: one.score.scores for one in outcomes if one.score and "small" in one.score.scores}
    return tuple(
        f"AP50 on {data} is of objects of 100 pixels and more: {PERCENT * share:.0f} % of those labelled are smaller"
        for data, found in scores.items()
        if (share := found["small"]) is not None
    )


def _write(
    out: Path, recipe: Recipe, table: Table, notes: Sequence[str], outcomes: Sequence[Outcome], csv_file: str
) -> None:
    facts = "".join(f"- {note}\n" for note in notes)
    write_text(out / f"{recipe.name}.md", f"# {table.title}\n\n{table.to_markdown()}\n{facts}")
    write_text(out / f"{recipe.name}.csv", csv_file)
    content: dict[str, Any] = {"name": recipe.name, "notes": list(notes), "headers": table.headers, "rows": table.rows}
    write_json(out / f"{recipe.name}.json", content | {"trials": [asdict(outcome) for outcome in outcomes]})


def paper_table(recipe: Recipe, datasets: Datasets, found: Sequence[TrialGroup]) -> Table:
    """A line for each row of the recipe; for each column and measure the paper's figures and, with data, ours.

    Args:
        recipe: which table.
        datasets: data by column.
        found: all groups of the comparison.
    """
    by_key = {(group.data, group.task, group.variant, group.shots): group for group in found}
    columns = [*recipe.columns, *(name for name in datasets if name not in recipe.columns)]
    headers, rows = ["method"], [[row.label] for row in recipe.rows]

    def add(header: str, cells: Sequence[str]) -> None:
        headers.append(header)
        for row, cell in zip(rows, cells, strict=True):
            row.append(cell)

    for place, (column, (task, measure)) in enumerate(product(columns, recipe.shown)):
        name = column if len(recipe.shown) == 1 else f"{column}, {measure.name}"
        for size in recipe.sizes if column in recipe.columns else ():
            add(f"{name}: {_paper(size)}", [_figure(row, size, place, measure.digits) for row in recipe.rows])
        if column in datasets:
            ours = [by_key[datasets[column].spec, task, row.variant.label, row.shots] for row in recipe.rows]
            add(f"{name}: ours", [group.shown(measure) for group in ours])
    if recipe.mean:
        for size in recipe.sizes:
            add(f"mean: {_paper(size)}", [_figure(row, size, len(recipe.columns), 1) for row in recipe.rows])
        add("mean: ours", [_our_mean(recipe, row, datasets, by_key) for row in recipe.rows])
    return Table(tuple(headers), tuple(map(tuple, rows)), title=_title(recipe))


def _title(recipe: Recipe) -> str:
    measures = [measure for _, measure in recipe.shown]
    unit = " in percent" if all(measure.scale == PERCENT for measure in measures) else ""
    return f"{recipe.title}, {', '.join(measure.name for measure in measures)}{unit}"


def _paper(size: str) -> str:
    return f"paper, {size}" if size else "paper"


def _figure(row: Row, size: str, place: int, digits: int) -> str:
    figures = row.paper.get(size, ())
    value = figures[place] if place < len(figures) else None
    return MISSING if value is None else f"{value:.{digits}f}"


def _our_mean(
    recipe: Recipe, row: Row, datasets: Datasets, by_key: Mapping[tuple[str, str, str, int], TrialGroup]
) -> str:
    if not set(recipe.columns) <= set(datasets):
        return MISSING
    ((task, measure),) = recipe.shown
    found = [by_key[data.spec, task, row.variant.label, row.shots] for data in datasets.values()]
    over_data = _mean_over_data(found, measure)
    return MISSING if over_data is None else over_data.text(measure.scale, measure.digits)


def _mean_over_data(found: Sequence[TrialGroup], measure: Measure) -> Spread | None:
    """Spread over seeds of the mean over data; none if a trial failed."""
    if any(group.failed for group in found):
        return None
    by_seed = zip(*(map(measure.number, group.scores) for group in found), strict=True)
    return spread(mean(scores) for scores in by_seed)
