"""What values and colours of people's label maps mean: `classes.json`, and the tables that labelling tools write."""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from promptseg.data.defects import Defect, DefectError
from promptseg.data.formats.classes_json import read_classes, stated_colors
from promptseg.data.label_space import classes_of, name_key
from promptseg.label_space import IGNORE, MAX_CLASSES, Color, LabelSpace

CLASSES = "classes.json"
_VOID = ("void", "ignore", "ignored", "unlabelled", "unlabeled", "__ignore__")
"""What tables call pixels of no class."""


@dataclass(frozen=True)
class ClassTable:
    """The classes of a folder, and how its label maps show them.

    Attributes:
        path: the file that names the classes.
        label_space: the classes.
        colors: class id by colour, 255 for colours of no class; empty where no file gives colours.
        values: class id by value of the label maps, 255 for values of no class; None where the values are the ids.
        said: what was read in a way that may not be meant.
    """

    path: Path
    label_space: LabelSpace
    colors: Mapping[Color, int] = field(default_factory=dict)
    values: Mapping[int, int] | None = None
    said: tuple[Defect, ...] = ()


@dataclass(frozen=True)
class _Row:
    name: str
    color: Color | None = None
    value: int | None = None


def read_table(root: Path) -> ClassTable | None:
    """The classes of a folder, of its `classes.json` or the one table there; None where it has neither.

    With both, the classes are those of `classes.json`, and the table gives colours or values by their names.

    Raises:
        PromptsegError: a broken file, several tables, one colour or value for two classes, or files that disagree.
    """
    path = _find(root)
    rows = _read(path) if path is not None else []
    if (root / CLASSES).is_file():
        return _joined(root / CLASSES, path, rows)
    if path is None:
        return None
    void = [row for row in rows if name_key(row.name) in _VOID]
    named = [row for row in rows if row not in void]
    if not 0 < len(named) <= MAX_CLASSES:
        raise DefectError(path, f"names {len(named)} classes, where 1..{MAX_CLASSES} were expected", "name each")
    entries: list[dict[str, Any]] = [
        {"name": row.name} | ({"color": list(row.color)} if row.color is not None else {}) for row in named
    ]
    space = classes_of(path, entries, root.resolve().name)
    ids = {row.name: number for number, row in enumerate(named)}
    return ClassTable(path, space, *_meanings(path, rows, ids), tuple(_left_out(path, void)))


def _find(root: Path) -> Path | None:
    """The one table of a folder, or that of its folders of splits where each has the same."""
    found = [root / name for name in _TABLES if (root / name).is_file()]
    inner = sorted(root.glob("*/_classes.csv"))  # Roboflow writes one beside the photos of each split
    if inner and not found:
        odd = next((path for path in inner if path.read_bytes() != inner[0].read_bytes()), None)
        if odd is not None:
            raise DefectError(odd, f"has other classes than {inner[0]}", "export the splits together")
        return inner[0]
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise DefectError(root, f"has {names}, which both say what the classes are", "keep one of them")
    return found[0] if found else None


def _joined(classes: Path, path: Path | None, rows: Sequence[_Row]) -> ClassTable:
    """The classes of `classes.json`, with its colours and what a table adds."""
    space, own = read_classes(classes), stated_colors(classes)
    keys = {name_key(name): name for name in space.names}
    ids = {name: number for number, name in enumerate(space.names)}
    rows = [_Row(keys.get(name_key(row.name), row.name), row.color, row.value) for row in rows]
    for row in rows:
        if row.color is not None and row.name in own and own[row.name] != row.color:
            reason = f"gives {row.name!r} the color {list(row.color)}, and {CLASSES} says {list(own[row.name])}"
            raise DefectError(path, reason, "make them agree")
    stated = [_Row(name, color) for name, color in own.items() if name not in {r.name for r in rows if r.color}]
    others = [row for row in rows if row.name not in ids]
    said = tuple(_left_out(path, others)) if path is not None else ()
    return ClassTable(classes, space, *_meanings(path or classes, [*stated, *rows], ids), said)


def _meanings(
    path: Path, rows: Sequence[_Row], ids: Mapping[str, int]
) -> tuple[dict[Color, int], dict[int, int] | None]:
    """Class ids by colour and by value; what is not in `ids` is of no class."""
    colors: dict[Color, int] = {}
    values: dict[int, int] = {}
    for row in rows:
        number = ids.get(row.name, IGNORE)
        if row.color is not None and colors.setdefault(row.color, number) != number:
            names = " and ".join(repr(other.name) for other in rows if other.color == row.color)
            raise DefectError(path, f"gives {names} one color, {list(row.color)}", "give each its own")
        if row.value is not None and values.setdefault(row.value, number) != number:
            raise DefectError(path, f"has the value {row.value} twice", "give each class its own")
    return colors, values or None


def _left_out(path: Path, rows: Sequence[_Row]) -> list[Defect]:
    names = ", ".join(repr(row.name) for row in rows[:4])
    mend = f"nothing, if that is meant; else write it into {CLASSES}"
    return [Defect(str(path), f"{names} is read as no class (255)", mend, "warning")] if rows else []


# Tables, by the names that tools give them


def _read(path: Path) -> list[_Row]:
    try:
        text = path.read_bytes().decode("utf-8-sig", "replace")
    except OSError as error:
        raise DefectError(path, f"cannot be read ({error.strerror})", "make it readable") from None
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            try:
                row = _TABLES[path.name](line.strip())
            except (ValueError, IndexError, csv.Error):
                reason = f"line {number} is {line.strip()[:60]!r}, where {_FORMS[path.name]} was expected"
                raise DefectError(path, reason, "mend the line") from None
            rows += [row] if row is not None else []
    return rows


def _labelmap(line: str) -> _Row:
    name, color, *_ = line.rsplit(":", 3)  # a name may hold colons
    return _Row(_named(name), _color(color.split(",")))


def _camvid(line: str) -> _Row:
    red, green, blue, name = line.split(maxsplit=3)
    return _Row(_named(name), _color([red, green, blue]))


def _class_dict(line: str) -> _Row | None:
    name, *levels = next(csv.reader([line], skipinitialspace=True))
    return (
        None if [level.strip().lower() for level in levels] == ["r", "g", "b"] else _Row(name.strip(), _color(levels))
    )


def _roboflow(line: str) -> _Row | None:
    value, name = next(csv.reader([line], skipinitialspace=True))
    if value.strip().lower() == "pixel value":
        return None
    if not 0 <= int(value) <= IGNORE:
        raise ValueError
    return _Row(_named(name), value=int(value))


def _labelme(line: str) -> _Row | None:
    return None if line == "__ignore__" else _Row("background" if line == "_background_" else line)


def _named(name: str) -> str:
    if not name.strip():
        raise ValueError
    return name.strip()


def _color(levels: Sequence[str]) -> Color:
    red, green, blue = (int(level) for level in levels)
    if not all(0 <= level <= 255 for level in (red, green, blue)):
        raise ValueError
    return red, green, blue


_TABLES: dict[str, Callable[[str], _Row | None]] = {
    "labelmap.txt": _labelmap,  # CVAT and Datumaro
    "label_colors.txt": _camvid,  # CamVid, also as CVAT exports it
    "class_dict.csv": _class_dict,
    "_classes.csv": _roboflow,
    "class_names.txt": _labelme,  # labelme2voc
}
_FORMS = {
    "labelmap.txt": "name:r,g,b::",
    "label_colors.txt": "r g b name",
    "class_dict.csv": "name,r,g,b",
    "_classes.csv": "value,name",
    "class_names.txt": "a name",
}
TABLES = tuple(_TABLES)
"""The names of tables that are read."""
