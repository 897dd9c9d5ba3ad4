"""Tables of the paper run again: its figures and ours side by side, and where ours come from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from promptseg.data.sample import Dataset
from promptseg.engine.cells import Outcome, Plan
from promptseg.engine.compare import compare
from promptseg.errors import PromptsegError
from promptseg.files import write_json, write_text
from promptseg.models.base import PromptableSegmenter
from promptseg.recipes.shares import learned_shares, shares_csv, shares_picture, shares_table
from promptseg.recipes.tables import Recipe
from promptseg.reports.comparison import Line, Spread, csv_text, lines, score_named, spread
from promptseg.reports.pictures import write_picture
from promptseg.reports.tables import MISSING, Table
from promptseg.tasks.base import mean
from promptseg.tasks.registry import find_task

Datasets = Mapping[str, Dataset]
"""Data by the name of their column: one of the paper's, or a name of its own."""


@dataclass(frozen=True)
class Reproduction:
    """A table with both kinds of figures.

    Attributes:
        table: the paper's figures and ours.
        notes: lines that must stand beside it: which model, weights and data each figure comes from.
        outcomes: all cells.
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
) -> Reproduction:
    """Run a table, cell by cell as `compare` does, and write `out/NAME.md`, `.csv` and `.json`; a figure, also `.png`.

    Args:
        recipe: which table.
        model: the frozen segmenter.
        datasets: data by column.
        plan: seeds, preset, settings and split; its variants and shots are those of the recipe.
        out: folder; several tables may share it, and then share what they have in common.
        say: takes a line about each cell.

    Raises:
        PromptsegError: as `compare`.
    """
    distinct = list({dataset.spec: dataset for dataset in datasets.values()}.values())
    outcomes: list[Outcome] = []
    for task, shots in product(recipe.tasks, dict.fromkeys(row.shots for row in recipe.rows)):
        variants = tuple(row.variant for row in recipe.rows if row.shots == shots)
        settings = {**recipe.tasks[task], **plan.settings}
        part = replace(plan, variants=variants, shots=(shots,), task=task, settings=settings)
        outcomes += compare(model, distinct, part, out, say)
    notes = (*_notes(recipe, model, datasets, plan), *_missing(recipe, datasets))
    if recipe.claim:
        table, text = _shares(recipe, distinct[0], outcomes, out)
    else:
        table, text = _table(recipe, datasets, lines(outcomes)), csv_text(outcomes)
    _write(out, recipe, table, notes, outcomes, text)
    return Reproduction(table, notes, outcomes)


def _shares(recipe: Recipe, dataset: Dataset, outcomes: Sequence[Outcome], out: Path) -> tuple[Table, str]:
    """Draw the figure; returns its table and its CSV."""
    shares = learned_shares(out, outcomes, dataset.label_space)
    if shares:
        write_picture(out / f"{recipe.name}.png", shares_picture(shares))
    seeds = [outcome.cell.seed for outcome in outcomes if outcome.score is not None]
    return shares_table(shares, recipe.title), shares_csv(shares, seeds)


def _table(recipe: Recipe, datasets: Datasets, found: Sequence[Line]) -> Table:
    by_key = {(line.data, line.task, line.variant, line.shots): line for line in found}
    columns = [*recipe.columns, *(name for name in datasets if name not in recipe.columns)]
    titles = {task: find_task(task).columns.title for task in recipe.tasks}
    headers, rows = ["method"], [[row.label] for row in recipe.rows]
    for index, (column, task) in enumerate(product(columns, recipe.tasks)):
        name = column if len(titles) == 1 else f"{column}, {titles[task]}"
        for size in recipe.sizes if column in recipe.columns else ():
            headers.append(f"{name}: paper, {size}")
            for row, cells in zip(recipe.rows, rows, strict=True):
                cells.append(_figure(row.paper.get(size, ()), index))
        if column in datasets:
            headers.append(f"{name}: ours")
            for row, cells in zip(recipe.rows, rows, strict=True):
                cells.append(by_key[datasets[column].spec, task, row.variant.label, row.shots].headline())
    if recipe.mean:
        _add_means(recipe, datasets, by_key, headers, rows)
    return Table(
        tuple(headers), tuple(map(tuple, rows)), title=f"{recipe.title}, {', '.join(titles.values())} in percent"
    )


def _figure(figures: Sequence[float | None], index: int) -> str:
    value = figures[index] if index < len(figures) else None
    return MISSING if value is None else f"{value:.1f}"


def _add_means(
    recipe: Recipe,
    datasets: Datasets,
    by_key: Mapping[tuple[str, str, str, int], Line],
    headers: list[str],
    rows: list[list[str]],
) -> None:
    headers += [*(f"mean: paper, {size}" for size in recipe.sizes), "mean: ours"]
    for row, cells in zip(recipe.rows, rows, strict=True):
        cells += [_figure(row.paper.get(size, ()), len(recipe.columns)) for size in recipe.sizes]
        (task,) = recipe.tasks
        ours = [by_key[data.spec, task, row.variant.label, row.shots] for data in datasets.values()]
        found = _mean_over_data(ours) if set(recipe.columns) <= set(datasets) else None
        cells.append(MISSING if found is None else found.text(100))


def _mean_over_data(found: Sequence[Line]) -> Spread | None:
    """Spread over seeds of the mean over data; none if a cell failed."""
    if any(line.failed for line in found):
        return None
    number = score_named(found[0].columns.headline)
    by_seed = zip(*(map(number, line.scores) for line in found), strict=True)
    return spread(mean(scores) for scores in by_seed)


def _notes(recipe: Recipe, model: PromptableSegmenter, datasets: Datasets, plan: Plan) -> tuple[str, ...]:
    data = ", ".join(dict.fromkeys(dataset.spec for dataset in datasets.values()))
    settings = "".join(f", {name}={value}" for name, value in plan.settings.items())
    seeds = ", ".join(map(str, plan.seeds))
    return (
        f"ours: {model.id} (weights {model.fingerprint[:12]}) on {data}, split {plan.split}; seeds {seeds}; "
        f"preset {plan.preset}{settings}",
        _about_paper(recipe),
    )


def _about_paper(recipe: Recipe) -> str:
    if recipe.claim:
        return f"paper: {recipe.claim}"
    sizes = {"tiny": "Focal-Tiny (tiny)", "large": "DaViT-Large (large)"}
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
        f"not the paper's data: {', '.join(absent)}; bring each into the folder layout (docs/your-own-photos.md) and "
        f"give --data '{absent[0]}=folder:PATH', with --model {recipe.base} (docs/models.md)",
    )


def _write(
    out: Path, recipe: Recipe, table: Table, notes: Sequence[str], outcomes: Sequence[Outcome], csv_file: str
) -> None:
    facts = "".join(f"- {note}\n" for note in notes)
    write_text(out / f"{recipe.name}.md", f"# {table.title}\n\n{table.to_markdown()}\n{facts}")
    write_text(out / f"{recipe.name}.csv", csv_file)
    content: dict[str, Any] = {"name": recipe.name, "notes": list(notes), "headers": table.headers, "rows": table.rows}
    write_json(out / f"{recipe.name}.json", content | {"cells": [asdict(outcome) for outcome in outcomes]})
