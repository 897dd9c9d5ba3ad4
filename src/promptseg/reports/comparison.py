"""The tables of a comparison: mean and standard deviation over seeds, per class, and as CSV and JSON."""

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from promptseg.engine.cells import Outcome, Score
from promptseg.files import write_json, write_text
from promptseg.reports.tables import MISSING, Table

Number = Callable[[Score], float | None]


@dataclass(frozen=True)
class Measure:
    """A number of the scores, and how a table shows it.

    Attributes:
        name: with its unit.
        number: takes it from a score.
        scale: shown is the number times this.
        digits: behind the point.
    """

    name: str
    number: Number
    scale: float = 1.0
    digits: int = 1


MIOU = Measure("mIoU in percent", lambda score: score.miou, 100)
MS_PER_IMAGE = Measure("ms/image", lambda score: score.ms_per_image)
PEAK_GB = Measure("peak GB", lambda score: score.peak_bytes, 1e-9, 2)


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation (n - 1) over seeds; one value alone has no deviation."""

    mean: float
    deviation: float | None

    def text(self, scale: float = 1.0, digits: int = 1) -> str:
        """`51.2 ± 0.4`, every number times `scale`."""
        numbers = (self.mean,) if self.deviation is None else (self.mean, self.deviation)
        return " ± ".join(f"{scale * number:.{digits}f}" for number in numbers)


def spread(values: Iterable[float | None]) -> Spread | None:
    """Over the values that are there; none without any."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    return Spread(mean(known), stdev(known) if len(known) > 1 else None)


@dataclass(frozen=True)
class Line:
    """One variant with one number of shots on one data set: its cells, one per seed."""

    data: str
    variant: str
    shots: int
    outcomes: tuple[Outcome, ...]

    @property
    def scores(self) -> list[Score]:
        """Of the cells that did not fail."""
        return [outcome.score for outcome in self.outcomes if outcome.score is not None]

    @property
    def failed(self) -> int:
        """How many cells failed."""
        return len(self.outcomes) - len(self.scores)

    def spread(self, number: Number) -> Spread | None:
        """Of one number of the scores."""
        return spread(map(number, self.scores))

    def text(self, number: Number, scale: float = 1.0, digits: int = 1) -> str:
        """The spread as text, `–` without a value."""
        found = self.spread(number)
        return MISSING if found is None else found.text(scale, digits)

    def shown(self, measure: Measure) -> str:
        """The measure, and how many cells failed."""
        if not self.scores:
            return "failed"
        note = f" ({self.failed} of {len(self.outcomes)} failed)" if self.failed else ""
        return self.text(measure.number, measure.scale, measure.digits) + note


def lines(outcomes: Sequence[Outcome]) -> list[Line]:
    """Cells that differ in their seed alone, together; in the order of their first ones."""
    groups: dict[tuple[str, str, int], list[Outcome]] = {}
    for outcome in outcomes:
        cell = outcome.cell
        groups.setdefault((cell.data, cell.variant, cell.shots), []).append(outcome)
    return [Line(*key, tuple(group)) for key, group in groups.items()]


def summary_table(found: Sequence[Line], title: str = "") -> Table:
    """A row for each line: scores in percent, and costs as means over seeds."""
    headers = ("method", "mIoU", "things", "stuff", "parameters", "ms/image", "peak MB", "file kB")
    rows = tuple((_name(line, found), line.shown(MIOU), *_figures(line)) for line in found)
    return Table(headers, rows, title=title)


def _figures(line: Line) -> tuple[str, ...]:
    costs: tuple[tuple[Number, float], ...] = (
        (lambda score: score.parameters, 1),
        (lambda score: score.ms_per_image, 1),
        (lambda score: score.peak_bytes, 1e-6),
        (lambda score: score.artefact_bytes, 1e-3),
    )
    means = [(line.spread(number), scale) for number, scale in costs]
    texts = [
        MISSING if found is None else f"{scale * found.mean:.{_digits(scale * found.mean)}f}" for found, scale in means
    ]
    return (line.text(lambda score: score.things, 100), line.text(lambda score: score.stuff, 100), *texts)


def _digits(value: float) -> int:
    return 0 if value >= 100 or value == int(value) else 1


def _name(line: Line, among: Sequence[Line]) -> str:
    """The variant, with what else sets it apart."""
    parts = [line.variant]
    if len({other.shots for other in among}) > 1:
        parts.append(f"{line.shots} shots")
    if len({other.data for other in among}) > 1:
        parts.append(line.data)
    return ", ".join(parts)


def classes_table(found: Sequence[Line], title: str = "") -> Table:
    """The IoU of every class in percent, one column for each line; all lines on one data set."""
    names = list(dict.fromkeys(name for line in found for score in line.scores for name in score.per_class))
    rows = tuple((name, *(line.text(_class_iou(name), 100) for line in found)) for name in names)
    total = ("mean", *(line.shown(MIOU) for line in found))
    return Table(("class", *(_name(line, found) for line in found)), rows, total, title)


def _class_iou(name: str) -> Number:
    return lambda score: score.per_class.get(name)


def csv_text(outcomes: Sequence[Outcome]) -> str:
    """One row for each cell: scores as fractions, then the IoU of every class."""
    names = list(dict.fromkeys(name for outcome in outcomes if outcome.score for name in outcome.score.per_class))
    numbers = [name for name in Score.__dataclass_fields__ if name != "per_class"]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["data", "method", "shots", "seed", "error", *numbers, *(f"IoU {name}" for name in names)])
    for outcome in outcomes:
        cell, score = outcome.cell, outcome.score
        per_class = {} if score is None else score.per_class
        found = [*(getattr(score, number, None) for number in numbers), *map(per_class.get, names)]
        writer.writerow([cell.data, cell.variant, cell.shots, cell.seed, outcome.error, *found])
    return buffer.getvalue()


def to_json(outcomes: Sequence[Outcome], about: dict[str, Any]) -> dict[str, Any]:
    """Everything as one JSON object; scores are fractions."""
    found = lines(outcomes)
    return {
        **about,
        "lines": [
            {
                "data": line.data,
                "method": line.variant,
                "shots": line.shots,
                "seeds": [outcome.cell.seed for outcome in line.outcomes],
                "failed": line.failed,
                "miou": None if (miou := line.spread(lambda score: score.miou)) is None else asdict(miou),
            }
            for line in found
        ],
        "cells": [asdict(outcome) for outcome in outcomes],
    }


def write_comparison(out: Path, outcomes: Sequence[Outcome], about: dict[str, Any]) -> list[Table]:
    """Write `table.md`, `table.csv` and `table.json` to `out`; returns the tables that the first one holds.

    Args:
        out: folder of the comparison.
        outcomes: all its cells.
        about: what else a reader must know, by name; JSON-able.
    """
    found = lines(outcomes)
    tables = []
    for data in dict.fromkeys(line.data for line in found):
        here = [line for line in found if line.data == data]
        tables += [summary_table(here, data), classes_table(here, f"{data}, IoU in percent")]
    facts = "".join(f"- {name}: {_fact(value)}\n" for name, value in about.items())
    body = "".join(f"\n## {table.title}\n\n{table.to_markdown()}" for table in tables)
    write_text(out / "table.md", f"# Comparison\n\n{facts}{body}")
    write_text(out / "table.csv", csv_text(outcomes))
    write_json(out / "table.json", to_json(outcomes, about))
    return tables


def _fact(value: Any) -> str:
    """A value for a reader: `0, 1, 2` and `rate=0.01, steps=200`."""
    if isinstance(value, dict):
        value = [f"{name}={entry}" for name, entry in value.items()] or [MISSING]
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
