"""A small table that prints to a terminal or as Markdown, and the tables of results."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from promptseg.text import markdown, shown

MISSING = "–"
"""Shown where there is no value, such as the IoU of a class that no image holds."""


@dataclass(frozen=True)
class Table:
    """Rows of text under headers: the first column is left-aligned, the others right-aligned.

    Attributes:
        headers: one header for each column.
        rows: cells as text, as many as there are headers.
        total: the last row, set apart by a line; may be left out.
        title: what the table shows; may be empty.
    """

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    total: tuple[str, ...] | None = None
    title: str = ""

    def __post_init__(self) -> None:
        for row in self.all_rows:
            if len(row) != len(self.headers):
                raise ValueError(f"row {row} has {len(row)} cells, the table has {len(self.headers)} columns")

    @property
    def all_rows(self) -> tuple[tuple[str, ...], ...]:
        """The rows with the total, if any, as the last one."""
        return self.rows if self.total is None else (*self.rows, self.total)

    def to_markdown(self) -> str:
        """The table in GitHub's Markdown, without the title, ending in a newline."""
        rule = ("---", *("---:" for _ in self.headers[1:]))
        lines = (self.headers, rule, *self.all_rows)
        return "".join(f"| {' | '.join(map(markdown, line))} |\n" for line in lines)

    def to_text(self, width: int | None = None) -> str:
        """The table for a terminal, without the title, ending in a newline; no cell is ever cut.

        Args:
            width: columns of the terminal; what does not fit goes into further blocks, each with the first column.
                None: one block.
        """
        columns = range(len(self.headers))
        sizes = [max(len(shown(row[column])) for row in (self.headers, *self.all_rows)) for column in columns]
        return "\n".join(self._block(columns, sizes) for columns in _blocks(sizes, width))

    def _block(self, columns: Sequence[int], sizes: Sequence[int]) -> str:
        def line(row: Sequence[str]) -> str:
            first, *others = columns
            cells = [shown(row[first]).ljust(sizes[first])]
            cells += [shown(row[column]).rjust(sizes[column]) for column in others]
            return _EDGE + _GAP.join(cells).rstrip()

        rule = " " + "─" * (sum(sizes[column] for column in columns) + len(_GAP) * (len(columns) - 1) + 2)
        total = () if self.total is None else ("", line(self.total))
        return "\n".join((line(self.headers), rule, *map(line, self.rows), *total)) + "\n"


_EDGE, _GAP = "  ", "   "


def _blocks(sizes: Sequence[int], width: int | None) -> list[list[int]]:
    """Columns that stand beside each other within `width`: the first in every block, and at least one more."""
    blocks, used = [[0]], len(_EDGE) + sizes[0]
    for column, size in enumerate(sizes[1:], start=1):
        used += len(_GAP) + size
        if width is not None and used > width and len(blocks[-1]) > 1:
            blocks.append([0])
            used = len(_EDGE) + sizes[0] + len(_GAP) + size
        blocks[-1].append(column)
    return blocks


def percent(fraction: float | None) -> str:
    """A fraction as a percentage with one digit, `–` for None."""
    return MISSING if fraction is None else f"{100 * fraction:.1f}"


def points(before: float | None, after: float | None) -> str:
    """The change between two fractions in signed percentage points, `–` where one is None.

    It is the difference of what `percent` shows, so that a table agrees with itself.
    """
    if before is None or after is None:
        return MISSING
    # Adding 0.0 turns the -0.0 of floating point into 0.0.
    return f"{round(round(100 * after, 1) - round(100 * before, 1), 1) + 0.0:+.1f}"


def class_table(
    per_class: Mapping[str, float | None], mean: float | None, title: str = "", header: str = "IoU"
) -> Table:
    """The score of every class in percent, with the mean as the last row.

    Args:
        per_class: score as a fraction by class name, None where the class was not seen.
        mean: the mean as a fraction.
        title: what the numbers are of.
        header: what the score is called.
    """
    rows = tuple((name, percent(value)) for name, value in per_class.items())
    return Table(("class", header), rows, ("mean", percent(mean)), title)


def change_table(
    names: Sequence[str],
    per_class: Sequence[Mapping[str, float | None]],
    mious: Sequence[float | None],
    title: str = "",
) -> Table:
    """Results side by side, per class and in the mean, with the change from the first to the last in points.

    Args:
        names: headers of the results, two at least.
        per_class: for each result, IoU as a fraction by class name; the same classes in all.
        mious: mean IoU of each result as a fraction.
        title: what the numbers are of.
    """

    def row(name: str, scores: Sequence[float | None]) -> tuple[str, ...]:
        return (name, *map(percent, scores), points(scores[0], scores[-1]))

    rows = tuple(row(name, [result[name] for result in per_class]) for name in per_class[0])
    return Table(("class", *names, "change"), rows, row("mean", mious), title)
