"""`classes.json`: the file in which a folder of photos names its classes."""

from pathlib import Path
from typing import Any

from promptseg.data.defects import DefectError
from promptseg.data.label_space import classes_of
from promptseg.errors import PromptsegError
from promptseg.files import read_json
from promptseg.label_space import MAX_CLASSES, Color, LabelSpace

_FORM = 'write ["road", "car"] or {"classes": [{"id": 0, "name": "road", "color": [128, 64, 128], "kind": "stuff"}]}'


def read_classes(path: Path) -> LabelSpace:
    """Read the classes of a folder data set.

    Accepted: a list of names; `{"classes": LIST}` whose entries are names, or objects with "name" and
    optionally "id", "color" ([r, g, b]) and "kind" ("thing" or "stuff"). Ids default to the position,
    colours to `default_colors`. The label space is named by "dataset", else by the folder.

    Raises:
        PromptsegError: any other content; the line names the entry.
    """
    content, rows = _content(path)
    name = content.get("dataset") if isinstance(content, dict) else None
    return classes_of(path, _by_id(path, rows), name if isinstance(name, str) and name else path.resolve().parent.name)


def stated_colors(path: Path) -> dict[str, Color]:
    """The colours that a `classes.json` itself gives, by class name; raises as `read_classes` does."""
    space = read_classes(path)
    return {space.names[i]: space.colors[i] for i in _stating(path, "color")}


def stated_kinds(path: Path) -> set[str]:
    """The names of classes that a `classes.json` itself calls things or stuff; raises as `read_classes` does."""
    names = read_classes(path).names
    return {names[i] for i in _stating(path, "kind")}


def _stating(path: Path, key: str) -> list[int]:
    return [i for i, row in enumerate(_by_id(path, _content(path)[1])) if key in row]


def _content(path: Path) -> tuple[Any, list[dict[str, Any]]]:
    """The whole content, and an entry for each class, in the order of the file."""
    content = read_json(path)
    entries = content.get("classes") if isinstance(content, dict) else content
    if not isinstance(entries, list) or not 0 < len(entries) <= MAX_CLASSES:
        raise DefectError(path, f"1..{MAX_CLASSES} classes in a list were expected", _FORM)
    rows = [{"name": entry} if isinstance(entry, str) else entry for entry in entries]
    for entry in rows:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str) or not entry["name"].strip():
            raise DefectError(path, f"{entry!r} is no class", _FORM)
    return content, rows


def named_classes(text: str) -> LabelSpace:
    """The classes of a `classes.json`, or of names with commas between them.

    Raises:
        PromptsegError: a file that is no `classes.json`, no name, or one given twice.
    """
    if text.endswith(".json") or Path(text).is_file():
        return read_classes(Path(text))
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise PromptsegError(f"{text!r} is no list of classes: give names such as 'road,sky,car', or a classes.json")
    return classes_of(Path(text), [{"name": name} for name in names], "classes")


def class_rows(space: LabelSpace) -> list[dict[str, Any]]:
    """The entries of classes, as `classes.json` lists them."""
    return [
        {"id": i, "name": info.name, "color": list(info.color), "kind": "thing" if info.is_thing else "stuff"}
        for i, info in enumerate(space.classes)
    ]


def packaged(name: str) -> tuple[LabelSpace, list[dict[str, Any]]]:
    """The classes of a benchmark as this package lists them, and their entries with what else is known of them."""
    path = Path(__file__).parent / "classes" / f"{name}.json"
    return read_classes(path), packaged_rows(name)


def packaged_rows(name: str) -> list[dict[str, Any]]:
    """The entries of a list of classes of this package."""
    rows: list[dict[str, Any]] = read_json(Path(__file__).parent / "classes" / f"{name}.json")["classes"]
    return rows


def _by_id(path: Path, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows in id order; without any id, in the given order."""
    ids = [row.get("id") for row in rows]
    if all(i is None for i in ids):
        return rows
    if not all(type(i) is int for i in ids) or sorted(ids) != list(range(len(rows))):  # type: ignore[type-var]
        reason = f"the ids are {ids}, where each of 0..{len(rows) - 1} was expected once"
        raise DefectError(path, reason, "number the classes from 0 without gaps, in the labels too")
    return sorted(rows, key=lambda row: int(row["id"]))
