"""The tables of a comparison: mean and standard deviation over seeds, per class, and as CSV and JSON."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from promptseg.experiments.plan import Outcome, Score
from promptseg.files import write_json, write_text
from promptseg.reports.tables import MISSING, Table
from promptseg.tasks.base import Columns
from promptseg.tasks.registry import TASKS
from promptseg.text import csv_rows, markdown

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


def _with_encoding(score: Score) -> float | None:
    if score.ms_per_image is None or score.encode_ms is None:
        return None
    return score.ms_per_image + score.encode_ms


MS_PER_IMAGE = Measure("ms/image, encoded before", lambda score: score.ms_per_image)
MS_WITH_ENCODING = Measure("ms/image, encoded at each step", _with_encoding)
PEAK_GB = Measure("peak GB", lambda score: score.peak_bytes, 1e-9, 2)
PERCENT = 100.0


def score_named(name: str) -> Number:
    """Takes one score of a task."""
    return lambda score: score.scores.get(name)


def headline(task: str) -> Measure:
    """The score that stands for a task, in percent."""
    columns = TASKS.find(task).columns
    return Measure(columns.title, score_named(columns.headline), PERCENT)


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
class TrialGroup:
    """One variant with one number of shots at one task on one data set: its trials, one per seed."""

    data: str
    task: str
    variant: str
    shots: int
    outcomes: tuple[Outcome, ...]

    @property
    def scores(self) -> list[Score]:
        """Of the trials that did not fail."""
        return [outcome.score for outcome in self.outcomes if outcome.score is not None]

    @property
    def failed(self) -> int:
        """How many trials failed."""
        return len(self.outcomes) - len(self.scores)

    def spread(self, number: Number) -> Spread | None:
        """Of one number of the scores."""
        return spread(map(number, self.scores))

    def text(self, number: Number, scale: float = 1.0, digits: int = 1) -> str:
        """The spread as text, `–` without a value."""
        found = self.spread(number)
        return MISSING if found is None else found.text(scale, digits)

    @property
    def columns(self) -> Columns:
        """How the task heads its scores."""
        return TASKS.find(self.task).columns

    def shown(self, measure: Measure) -> str:
        """The measure, and how many trials failed."""
        if not self.scores:
            return "failed"
        note = f" ({self.failed} of {len(self.outcomes)} failed)" if self.failed else ""
        return self.text(measure.number, measure.scale, measure.digits) + note

    def headline(self) -> str:
        """The task's headline in percent, and how many trials failed."""
        return self.shown(headline(self.task))


def group_by_seed(outcomes: Sequence[Outcome]) -> list[TrialGroup]:
    """Cells that differ in their seed alone, together; in the order of their first ones."""
    groups: dict[tuple[str, str, str, int], list[Outcome]] = {}
    for outcome in outcomes:
        trial = outcome.trial
        groups.setdefault((trial.data, trial.task, trial.variant, trial.shots), []).append(outcome)
    return [TrialGroup(*key, tuple(group)) for key, group in groups.items()]


def summary_table(found: Sequence[TrialGroup], title: str = "", kept_out: Collection[str] = ()) -> Table:
    """A row for each group: scores in percent, and costs as means over seeds; all groups of one task.

    Where classes were kept out of the shots, two columns tell the mean over those that were shown and over the others.
    """
    scores = found[0].columns.scores
    halves = {"shown": _mean_over(kept_out, False), "kept out": _mean_over(kept_out, True)} if kept_out else {}
    headers = ("method", *scores.values(), *halves, "parameters", "ms/image", "peak MB", "file kB")
    others = list(scores)[1:]
    rows = tuple(
        (
            _name(group, found),
            group.headline(),
            *(group.text(score_named(name), 100) for name in others),
            *(group.text(number, 100) for number in halves.values()),
            *_costs(group),
        )
        for group in found
    )
    return Table(headers, rows, title=title)


def _mean_over(names: Collection[str], inside: bool) -> Number:
    """The mean over the classes that are, or are not, among `names`; none where none of them has a score."""

    def number(score: Score) -> float | None:
        values = [v for name, v in score.per_class.items() if (name in names) == inside and v is not None]
        return mean(values) if values else None

    return number


def _costs(group: TrialGroup) -> tuple[str, ...]:
    costs: tuple[tuple[Number, float], ...] = (
        (lambda score: score.parameters, 1),
        (lambda score: score.ms_per_image, 1),
        (lambda score: score.peak_bytes, 1e-6),
        (lambda score: score.artefact_bytes, 1e-3),
    )
    means = [(group.spread(number), scale) for number, scale in costs]
    return tuple(
        MISSING if found is None else f"{scale * found.mean:.{_digits(scale * found.mean)}f}" for found, scale in means
    )


def _digits(value: float) -> int:
    return 0 if value >= 100 or value == int(value) else 1


def _name(group: TrialGroup, among: Sequence[TrialGroup]) -> str:
    """The variant, with what else sets it apart."""
    parts = [group.variant]
    if len({other.shots for other in among}) > 1:
        parts.append(f"{group.shots} shots")
    if len({other.data for other in among}) > 1:
        parts.append(group.data)
    return ", ".join(parts)


def classes_table(found: Sequence[TrialGroup], title: str = "") -> Table:
    """The score of every class in percent, one column for each group; all groups of one task on one data set."""
    names = list(dict.fromkeys(name for group in found for score in group.scores for name in score.per_class))
    rows = tuple((name, *(group.text(_of_class(name), 100) for group in found)) for name in names)
    total = ("mean", *(group.headline() for group in found))
    return Table(("class", *(_name(group, found) for group in found)), rows, total, title)


def _of_class(name: str) -> Number:
    return lambda score: score.per_class.get(name)


def csv_text(outcomes: Sequence[Outcome]) -> str:
    """One row for each trial: scores as fractions, costs, then the score of every class."""
    rows = [_csv_row(outcome) for outcome in outcomes]
    return csv_rows(rows, dict.fromkeys(name for row in rows for name in row))


def _csv_row(outcome: Outcome) -> dict[str, Any]:
    trial = outcome.trial
    row: dict[str, Any] = {"data": trial.data, "task": trial.task, "method": trial.variant, "shots": trial.shots}
    row |= {"seed": trial.seed, "error": outcome.error}
    if outcome.score is None:
        return row
    content = asdict(outcome.score)
    scores, per_class = content.pop("scores"), content.pop("per_class")
    header = TASKS.find(trial.task).columns.classes
    row |= scores | content
    return row | {f"{header} {name}": score for name, score in per_class.items()}


def to_json(outcomes: Sequence[Outcome], about: dict[str, Any]) -> dict[str, Any]:
    """Everything as one JSON object; scores are fractions."""
    found = group_by_seed(outcomes)
    return {
        **about,
        "groups": [
            {
                "data": group.data,
                "task": group.task,
                "method": group.variant,
                "shots": group.shots,
                "seeds": [outcome.trial.seed for outcome in group.outcomes],
                "failed": group.failed,
                "scores": {
                    name: asdict(value) for name in group.columns.scores if (value := group.spread(score_named(name)))
                },
            }
            for group in found
        ],
        "trials": [asdict(outcome) for outcome in outcomes],
    }


def drawn_text(outcomes: Iterable[Outcome], rule: str) -> str:
    """How many shots were drawn and how many images that made: `16 shots of each class (cover): 42 to 49 images`."""
    images: dict[int, set[int]] = {}
    for outcome in outcomes:
        images.setdefault(outcome.trial.shots, set()).update({outcome.score.images} if outcome.score else ())
    parts = [f"{shots} shots of each class ({rule}): {_span(found)}" for shots, found in sorted(images.items())]
    return "; ".join(parts)


def _span(counts: Collection[int]) -> str:
    if not counts:
        return "no fit finished"
    low, high = min(counts), max(counts)
    return f"{low} images" if low == high else f"{low} to {high} images"


def write_comparison(
    out: Path, outcomes: Sequence[Outcome], rule: str, about: dict[str, Any], kept_out: Collection[str] = ()
) -> list[Table]:
    """Write `table.md`, `table.csv` and `table.json` to `out`; returns the tables that the first one holds.

    Args:
        out: folder of the comparison.
        outcomes: all its trials.
        rule: of the draw of shots.
        about: what else a reader must know, by name; JSON-able.
        kept_out: classes whose labels the shots were without.
    """
    found = group_by_seed(outcomes)
    tables = []
    for data, task in dict.fromkeys((group.data, group.task) for group in found):
        here = [group for group in found if (group.data, group.task) == (data, task)]
        classes = here[0].columns.classes
        drawn = drawn_text([outcome for group in here for outcome in group.outcomes], rule)
        tables += [
            summary_table(here, f"{data}, {task}; {drawn}", kept_out),
            classes_table(here, f"{data}, {classes} in percent; {drawn}"),
        ]
    facts = "".join(f"- {name}: {markdown(_fact(value))}\n" for name, value in about.items())
    body = "".join(f"\n## {markdown(table.title)}\n\n{table.to_markdown()}" for table in tables)
    write_text(out / "table.md", f"# Comparison\n\n{facts}{body}")
    write_text(out / "table.csv", csv_text(outcomes))
    write_json(out / "table.json", to_json(outcomes, about))
    return tables


def _fact(value: Any) -> str:
    """A value for a reader: `0, 1, 2` and `rate=0.01, steps=200`."""
    if isinstance(value, dict):
        value = [f"{name}={entry}" for name, entry in value.items()] or [MISSING]
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
