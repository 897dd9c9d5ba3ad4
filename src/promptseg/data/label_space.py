"""Label spaces of data: classes out of the entries of a file, their names told apart as a text encoder does."""

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from promptseg.data.defects import Defect, DefectError
from promptseg.label_space import MAX_CLASSES, ClassInfo, Color, LabelSpace, default_colors
from promptseg.spec import Spec

BACKGROUND = "background"
"""The class of unlabelled pixels, where there would be one class only."""


def name_key(name: str) -> str:
    """What is left of a name in a prompt: text encoders read no capitals, no second blank, no invisible character.

    Names of one key give equal prompts, so no two classes may share it; and a label with the key of a class is that
    class.
    """
    visible = "".join(c for c in unicodedata.normalize("NFC", name) if unicodedata.category(c) != "Cf")
    return " ".join(visible.split()).lower()


def classes_of(path: Path, rows: Sequence[dict[str, Any]], name: str) -> LabelSpace:
    """The label space of entries in id order, each with "name" and optionally "color" and "kind".

    Raises:
        PromptsegError: a bad color or kind, or two classes whose names are the same to a text encoder; the line names
            `path`.
    """
    colors = default_colors(len(rows))
    classes = tuple(_class_info(path, row, color) for row, color in zip(rows, colors, strict=True))
    _check_unique(path, [c.name for c in classes])
    return LabelSpace(name, classes)


def _with_background(path: Path, label_space: LabelSpace, name: str) -> tuple[LabelSpace, int]:
    """A label space with a class for what no other claims, and the place of that class; it may be there already.

    Raises:
        PromptsegError: an empty name, or too many classes.
    """
    keys = [name_key(known) for known in label_space.names]
    if name_key(name) in keys:
        return label_space, keys.index(name_key(name))
    if not name_key(name) or len(keys) == MAX_CLASSES:
        mend = "write ?background=NAME, beside 253 other classes at most"
        raise DefectError(path, f"cannot have the background class {name!r}", mend)
    added = ClassInfo(name.strip(), default_colors(len(keys) + 1)[-1])
    return LabelSpace(label_space.name, (*label_space.classes, added)), len(keys)


def background_of(
    root: Path, spec: Spec, label_space: LabelSpace, alone: bool | None = None
) -> tuple[LabelSpace, int | None, list[Defect]]:
    """The label space with the class of unlabelled pixels, the place of that class, and a word about it.

    A single class of objects gets one unasked: else every pixel would be of that class.

    Args:
        root: the folder, for errors.
        spec: with the option `background`.
        label_space: without it.
        alone: whether a single class gets one unasked; None asks whether it is one of objects.
    """
    asked = spec.options.get("background")
    alone = bool(label_space.thing_ids) if alone is None else alone
    if asked is None and (len(label_space) > 1 or not alone):
        return label_space, None, []
    space, place = _with_background(root, label_space, BACKGROUND if asked is None else asked)
    if asked is not None:
        return space, place, []
    reason = f"has one class, {label_space.names[0]!r}: unlabelled pixels are read as the class {space.names[place]!r}"
    return space, place, [Defect(str(root), reason, "write ?background=NAME to call it otherwise", "warning")]


def _class_info(path: Path, row: dict[str, Any], default_color: Color) -> ClassInfo:
    name, kind, color = row["name"].strip(), row.get("kind", "stuff"), row.get("color", default_color)
    if not name_key(name):
        raise DefectError(path, f"a class has the name {row['name']!r}", "give every class a name to ask for")
    if kind not in ("thing", "stuff"):
        raise DefectError(path, f"class {name!r} has the kind {kind!r}", 'write "thing" or "stuff"')
    levels = list(color) if isinstance(color, list | tuple) else []
    if len(levels) != 3 or not all(type(level) is int and 0 <= level <= 255 for level in levels):
        raise DefectError(path, f"class {name!r} has the color {color!r}", "write [r, g, b], each 0..255")
    return ClassInfo(name, (levels[0], levels[1], levels[2]), kind == "thing")


def _check_unique(path: Path, names: list[str]) -> None:
    seen: dict[str, str] = {}
    for name in names:
        other = seen.get(name_key(name))
        if other == name:
            raise DefectError(path, f"two classes are named {name!r}", "give each class its own name")
        if other is not None:
            reason = f"the classes {other!r} and {name!r} are one name to a text encoder"
            raise DefectError(path, reason, "make them one class, or give them names of other words")
        seen[name_key(name)] = name
