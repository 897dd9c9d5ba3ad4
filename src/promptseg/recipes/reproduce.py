"""Tables of the paper run again: its figures and ours side by side, and where ours come from."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from promptseg.captions.count import CaptionCounts
from promptseg.engine.cells import Outcome, Plan
from promptseg.engine.compare import Pool, compare
from promptseg.errors import PromptsegError
from promptseg.files import write_json, write_text
from promptseg.models.base import PromptableSegmenter
from promptseg.recipes.paper_table import Datasets, paper_table
from promptseg.recipes.shares import check_counts, share_figure
from promptseg.recipes.tables import Recipe
from promptseg.reports.comparison import csv_text, lines
from promptseg.reports.tables import Table


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
    pool: Pool | None = None,
    captions: CaptionCounts | None = None,
) -> Reproduction:
    """Run a table, cell by cell as `compare` does, and write `out/NAME.md`, `.csv` and `.json`; a figure, also `.png`.

    Args:
        recipe: which table.
        model: the frozen segmenter.
        datasets: data by column.
        plan: seeds, preset, settings and split; its variants and shots are those of the recipe.
        out: folder; several tables may share it, and then share what they have in common.
        say: takes a line about each cell.
        pool: computes the cells elsewhere, as for `compare`.
        captions: how often captions name the classes, for the figure.

    Raises:
        PromptsegError: as `compare`, or captions counted for other classes.
    """
    distinct = list({dataset.spec: dataset for dataset in datasets.values()}.values())
    if captions is not None:
        check_counts(captions, distinct[0].label_space)
    plan = replace(plan, variants=recipe.variants, shots=recipe.shots)
    outcomes: list[Outcome] = []
    for task, settings in recipe.tasks.items():
        part = replace(plan, task=task, settings={**settings, **plan.settings})
        outcomes += compare(model, distinct, part, out, say, pool)
    notes = (*_notes(recipe, model, datasets, plan), *_missing(recipe, datasets))
    if recipe.claim:
        figure = share_figure(recipe, distinct[0].label_space, outcomes, out, captions)
        table, text, notes = figure.table, figure.csv, (*notes, figure.correlation)
    else:
        table, text = paper_table(recipe, datasets, lines(outcomes)), csv_text(outcomes)
    _write(out, recipe, table, notes, outcomes, text)
    return Reproduction(table, notes, outcomes)


def _notes(recipe: Recipe, model: PromptableSegmenter, datasets: Datasets, plan: Plan) -> tuple[str, ...]:
    data = ", ".join(dict.fromkeys(dataset.spec for dataset in datasets.values()))
    settings = "".join(f", {name}={value}" for name, value in plan.settings.items())
    seeds = ", ".join(map(str, plan.seeds))
    ours = (
        f"ours: {model.id} (weights {model.fingerprint[:12]}) on {data}, split {plan.split}; seeds {seeds}; "
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


def _write(
    out: Path, recipe: Recipe, table: Table, notes: Sequence[str], outcomes: Sequence[Outcome], csv_file: str
) -> None:
    facts = "".join(f"- {note}\n" for note in notes)
    write_text(out / f"{recipe.name}.md", f"# {table.title}\n\n{table.to_markdown()}\n{facts}")
    write_text(out / f"{recipe.name}.csv", csv_file)
    content: dict[str, Any] = {"name": recipe.name, "notes": list(notes), "headers": table.headers, "rows": table.rows}
    write_json(out / f"{recipe.name}.json", content | {"cells": [asdict(outcome) for outcome in outcomes]})
