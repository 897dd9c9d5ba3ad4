"""Counting captions that name a class, over files far larger than memory, and showing what was counted."""

import glob
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptseg.errors import PromptsegError
from promptseg.extras import import_extra
from promptseg.files import read_json, write_json, write_text
from promptseg.label_space import Color
from promptseg.recipes.caption_terms import class_terms
from promptseg.reports.pictures import Picture, bar_chart, write_picture
from promptseg.reports.tables import Table
from promptseg.text import csv_rows

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

FORMATS = (".parquet", ".csv", ".tsv", ".txt")
"""Endings of caption files; of all but the first also with `.gz` or `.zst` behind."""

MEMORY = "1GB"
"""What the engine may hold at most; what does not fit waits."""

_NO_COLUMNS = "\x1f\x1e\x1f"
"""A separator that no line of plain text holds, so that every line is one caption."""
_OPTIONS = {
    ".csv": "delim=',', quote='\"', escape='\"', all_varchar=true",
    ".tsv": "delim='\t', quote='', escape='', all_varchar=true, strict_mode=false",
    ".txt": f"delim='{_NO_COLUMNS}', quote='', escape='', auto_detect=false, strict_mode=false, "
    "columns={'caption': 'VARCHAR'}",
}
_MAX_LINE = 10_000_000
"""Bytes of the longest line of a CSV, TSV or text file."""

_EVERY = -1
"""The number that every caption has beside those of its classes."""


@dataclass(frozen=True)
class CaptionCounts:
    """How many captions name each class.

    Attributes:
        captions: how many captions there were; empty ones are none.
        counts: captions that name the class, by class; a caption counts once for each class that it names.
        terms: what was looked for, by class.
        files: what was read.
    """

    captions: int
    counts: dict[str, int]
    terms: dict[str, tuple[str, ...]]
    files: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Everything as one JSON object."""
        return asdict(self)


def read_counts(path: Path) -> CaptionCounts:
    """What `CaptionCounts.to_json` wrote.

    Raises:
        PromptsegError: it is something else.
    """
    content = read_json(path)
    if not isinstance(content, dict) or set(content) != set(CaptionCounts.__dataclass_fields__):
        raise PromptsegError(f"{path}: no counts of captions; give a counts.json of promptseg analyze captions")
    return CaptionCounts(**content)


def read_or_count(given: Sequence[str], names: Sequence[str]) -> CaptionCounts:
    """Counts for classes: from the `counts.json` of an earlier count, or of caption files by the classes' names alone.

    Raises:
        PromptsegError: as `read_counts`, `caption_files` and `count_captions`.
    """
    if len(given) == 1 and given[0].endswith(".json"):
        return read_counts(Path(given[0]))
    return count_captions(caption_files(given), class_terms(names, {}))


def caption_files(patterns: Iterable[str]) -> tuple[Path, ...]:
    """Files by name or pattern, in order and each once.

    Raises:
        PromptsegError: nothing fits a pattern, or a file is of no known format.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        files = [Path(pattern)] if Path(pattern).exists() else sorted(map(Path, glob.glob(pattern, recursive=True)))
        if not files:
            raise PromptsegError(f"{pattern}: no such file; give caption files, or a pattern in quotes")
        found |= dict.fromkeys(files)
    for path in found:
        if not path.is_file() or _format(path) not in FORMATS:
            raise PromptsegError(f"{path}: captions are read from files of {', '.join(FORMATS)} (.gz and .zst too)")
    return tuple(found)


def count_captions(
    files: Sequence[Path],
    terms: Mapping[str, Sequence[str]],
    column: str = "caption",
    threads: int | None = None,
    on_file: Callable[[Path], None] = lambda path: None,
) -> CaptionCounts:
    """Count captions whose words hold one of the terms of a class, case aside.

    The files stream through the engine, `MEMORY` at most. Every class is counted for itself: "traffic light" counts for
    the class `light` too, "car park" for `car`.

    Args:
        files: as `caption_files` gives them.
        terms: phrases by class, as `class_terms` gives them.
        column: name of the column of captions, or its number from 1 in a CSV or TSV file without a header; plain text
            has none.
        threads: of the engine; none = one per core.
        on_file: is told each file before it is read.

    Raises:
        PromptsegError: duckdb is not installed, a file cannot be read, or has no such column.
    """
    connection = _connect(threads)
    of_captions = _class_numbers(connection, terms)
    totals: Counter[int] = Counter()
    for path in files:
        on_file(path)
        words = _words(_column(connection, path, column))
        query = (
            f"SELECT unnest({of_captions}) AS number, count(*) FROM (SELECT {words} AS words "
            f"FROM {_table(path, column)}) WHERE trim(words) <> '' GROUP BY number"
        )
        totals.update(dict(_ask(connection, path, query)))
    return CaptionCounts(
        totals[_EVERY],
        {name: totals[number] for number, name in enumerate(terms)},
        {name: tuple(phrases) for name, phrases in terms.items()},
        tuple(map(str, files)),
    )


def _class_numbers(connection: "DuckDBPyConnection", terms: Mapping[str, Sequence[str]]) -> str:
    """The expression that turns `words` into the numbers of its classes, each once, and `_EVERY`.

    The terms found are looked up in an enumeration, so the cost hardly depends on how many classes there are.
    """
    phrases = list(dict.fromkeys(phrase for of_class in terms.values() for phrase in of_class))
    spaced = ", ".join(f"' {phrase.replace(' ', '  ')} '" for phrase in phrases)
    connection.execute(f"CREATE TYPE term AS ENUM ({spaced})")
    classes = [[number for number, of_class in enumerate(terms.values()) if phrase in of_class] for phrase in phrases]
    patterns = (f" (?:{'|'.join(layer).replace(' ', '  ')}) " for layer in layers(phrases))
    hits = " || ".join(f"regexp_extract_all(words, '{pattern}')" for pattern in patterns)
    numbers = f"list_transform({hits}, lambda hit: ({classes})[1 + enum_code(hit::term)])"
    return f"[{_EVERY}] || list_distinct(flatten({numbers}))"


def layers(phrases: Sequence[str]) -> list[list[str]]:
    """The phrases in groups, within which no two can overlap in a text: a search finds all of a group in one go."""
    found: list[list[str]] = []
    for phrase in phrases:
        free = (layer for layer in found if not any(_overlap(phrase.split(), other.split()) for other in layer))
        layer = next(free, None)
        if layer is None:
            found.append([phrase])
        else:
            layer.append(phrase)
    return found


def _overlap(one: list[str], other: list[str]) -> bool:
    """Whether both can stand in a text with a word in common."""
    for start in range(1 - len(other), len(one)):
        pairs = [(one[start + i], word) for i, word in enumerate(other) if 0 <= start + i < len(one)]
        if all(a == b for a, b in pairs):
            return True
    return False


def _connect(threads: int | None) -> "DuckDBPyConnection":
    duckdb = import_extra("duckdb", "analyze", "counting captions")
    settings: dict[str, Any] = {"memory_limit": MEMORY, "autoinstall_known_extensions": False}
    settings |= {"preserve_insertion_order": False} | ({} if threads is None else {"threads": threads})
    connection: DuckDBPyConnection = duckdb.connect(config=settings)
    return connection


def _words(column: str) -> str:
    """A caption as its words in lower case, two spaces between them and one at each end.

    Two, so that neighbouring words share none: a pattern asks for one on either side of a word.
    """
    spaced = f"regexp_replace(lower({column}), '[^\\p{{L}}\\p{{M}}\\p{{N}}]+', '  ', 'g')"
    return f"' ' || {spaced} || ' '"


def _column(connection: "DuckDBPyConnection", path: Path, column: str) -> str:
    """The column of captions, quoted."""
    if _format(path) == ".txt":
        return "caption"
    found = [str(row[0]) for row in _ask(connection, path, f"DESCRIBE SELECT * FROM {_table(path, column)}")]
    if _format(path) != ".parquet" and column.isdecimal():
        if not 1 <= int(column) <= len(found):
            raise PromptsegError(f"{path}: there is no column {column}, it has {len(found)}: count from 1")
        name = found[int(column) - 1]
    elif column not in found:
        raise PromptsegError(f"{path}: there is no column {column!r}: choose one of {', '.join(found)} (--column)")
    else:
        name = column
    return '"{}"'.format(name.replace('"', '""'))


def _table(path: Path, column: str) -> str:
    """How the engine reads a file; brackets keep it from taking a name for a pattern."""
    name = re.sub(r"([\[*?])", r"[\1]", str(path)).replace("'", "''")
    if _format(path) == ".parquet":
        return f"read_parquet('{name}')"
    header = _format(path) != ".txt" and not column.isdecimal()
    options = f"{_OPTIONS[_format(path)]}, header={str(header).lower()}, max_line_size={_MAX_LINE}"
    return f"read_csv('{name}', {options})"


def _ask(connection: "DuckDBPyConnection", path: Path, query: str) -> list[tuple[Any, ...]]:
    duckdb = import_extra("duckdb", "analyze", "counting captions")
    try:
        return connection.execute(query).fetchall()
    except duckdb.OutOfMemoryException:
        raise PromptsegError(f"{path}: does not fit {MEMORY}: write it with smaller row groups") from None
    except duckdb.Error as error:
        reason = " ".join(" ".join(str(error).splitlines()[:3]).split())[:200]
        raise PromptsegError(f"{path}: cannot be read as {_format(path)[1:]} ({reason})") from None


def _format(path: Path) -> str:
    plain = path.with_suffix("") if path.suffix in (".gz", ".zst") else path
    return plain.suffix.lower()


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
    rows = [
        {"class": name, "captions": count, "share": _share(found, count), "terms": "; ".join(found.terms[name])}
        for name, count in _ranked(found)
    ]
    return csv_rows(rows, ("class", "captions", "share", "terms"))


def write_counts(out: Path, found: CaptionCounts) -> None:
    """Write `counts.csv`, `counts.json` and `counts.png` to `out`."""
    write_text(out / "counts.csv", counts_csv(found))
    write_json(out / "counts.json", found.to_json())
    write_picture(out / "counts.png", counts_picture(found))


def _ranked(found: CaptionCounts) -> list[tuple[str, int]]:
    return sorted(found.counts.items(), key=lambda entry: -entry[1])


def _share(found: CaptionCounts, count: int) -> float:
    return count / found.captions if found.captions else 0.0
