"""The paper's figures and ours in one table."""

from collections.abc import Mapping, Sequence
from itertools import product

from promptseg.data.sample import Dataset
from promptseg.recipes.tables import Recipe, Row
from promptseg.reports.comparison import PERCENT, Line, Measure, Spread, spread
from promptseg.reports.tables import MISSING, Table
from promptseg.tasks.base import mean

Datasets = Mapping[str, Dataset]
"""Data by the name of their column: one of the paper's, or a name of its own."""


def paper_table(recipe: Recipe, datasets: Datasets, found: Sequence[Line]) -> Table:
    """A line for each row of the recipe; for each column and measure the paper's figures and, with data, ours.

    Args:
        recipe: which table.
        datasets: data by column.
        found: all lines of the comparison.
    """
    by_key = {(line.data, line.task, line.variant, line.shots): line for line in found}
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
            add(f"{name}: ours", [line.shown(measure) for line in ours])
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


def _our_mean(recipe: Recipe, row: Row, datasets: Datasets, by_key: Mapping[tuple[str, str, str, int], Line]) -> str:
    if not set(recipe.columns) <= set(datasets):
        return MISSING
    ((task, measure),) = recipe.shown
    found = [by_key[data.spec, task, row.variant.label, row.shots] for data in datasets.values()]
    over_data = _mean_over_data(found, measure)
    return MISSING if over_data is None else over_data.text(measure.scale, measure.digits)


def _mean_over_data(found: Sequence[Line], measure: Measure) -> Spread | None:
    """Spread over seeds of the mean over data; none if a cell failed."""
    if any(line.failed for line in found):
        return None
    by_seed = zip(*(map(measure.number, line.scores) for line in found), strict=True)
    return spread(mean(scores) for scores in by_seed)
