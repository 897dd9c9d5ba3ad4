"""Counts of captions as table, CSV, JSON and picture."""

import csv
import io
from pathlib import Path

from promptseg.captions.count import CaptionCounts
from promptseg.files import write_json, write_text
from promptseg.label_space import Color
from promptseg.reports.bars import bar_chart
from promptseg.reports.pictures import Picture, write_picture
from promptseg.reports.tables import Table

_BAR: Color = (31, 98, 158)


def counts_table(found: CaptionCounts) -> Table:
    """Every class with its captions, most first."""
    rows = tuple((name, f"{count:,}", f"{100 * _share(found, count):.3g}") for name, count in _ranked(found))
    return Table(("class", "captions", "percent"), rows, title=f"{found.captions:,} captions")


def counts_picture(found: CaptionCounts) -> Picture:
    """A bar for each class, most first; the longest fills the picture."""
    ranked = _ranked(found)
    most = max(1, ranked[0][1])
    fractions = [count / most for _, count in ranked]
    texts = [f"{count:,}" for _, count in ranked]
    return bar_chart([name for name, _ in ranked], fractions, [_BAR] * len(ranked), values=texts)


def counts_csv(found: CaptionCounts) -> str:
    """One row for each class: captions, share of all captions, and what was looked for."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["class", "captions", "share", "terms"])
    for name, count in _ranked(found):
        writer.writerow([name, count, _share(found, count), "; ".join(found.terms[name])])
    return buffer.getvalue()


def write_counts(out: Path, found: CaptionCounts) -> None:
    """Write `counts.csv`, `counts.json` and `counts.png` to `out`."""
    write_text(out / "counts.csv", counts_csv(found))
    write_json(out / "counts.json", found.to_json())
    write_picture(out / "counts.png", counts_picture(found))


def _ranked(found: CaptionCounts) -> list[tuple[str, int]]:
    return sorted(found.counts.items(), key=lambda entry: -entry[1])


def _share(found: CaptionCounts, count: int) -> float:
    return count / found.captions if found.captions else 0.0
