"""Names and file names as content: made safe where they leave for a terminal, a Markdown page or a spreadsheet."""

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode categories of what moves the cursor, turns the writing round or hides: controls, formats, line ends."""
_JOINERS = "\u200c\u200d"
"""Invisible, but part of words in Persian and Hindi, and of emoji."""
_MARKS = re.compile(r"([\\`*\[\]<>|])")
_FORMULA = ("=", "+", "-", "@")


def shown(text: str, keep: str = "") -> str:
    r"""A text as a terminal may show it: control characters, ANSI escapes and marks of direction as `\x1b`, `\u202e`.

    Args:
        text: anything.
        keep: control characters that stay.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        c.encode("unicode_escape").decode("ascii")
        if unicodedata.category(c) in _HIDDEN and c not in keep and c not in _JOINERS
        else c
        for c in text
    )


def markdown(text: str) -> str:
    """A text as Markdown shows it: on one line, no HTML, no links, no cell's end."""
    return _MARKS.sub(r"\\\1", shown(" ".join(text.split())))


def csv_rows(rows: Sequence[Mapping[str, object]], headers: Iterable[str]) -> str:
    """Rows as CSV; texts that a spreadsheet would take for a formula begin with an apostrophe.

    Args:
        rows: cells by header; one that is missing stays empty.
        headers: of the columns.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    columns = list(headers)
    writer.writerow(map(_cell, columns))
    writer.writerows([_cell(row.get(column)) for column in columns] for row in rows)
    return buffer.getvalue()


def _cell(value: object) -> object:
    if not isinstance(value, str):
        return value
    line = " ".join(value.split())  # some programs take a lone carriage return for the end of a row
    return f"'{line}" if line.startswith(_FORMULA) else line
