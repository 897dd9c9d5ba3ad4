"""Frozen dataclasses of whole numbers, texts, lists and each other, from checked JSON."""

from collections.abc import Sequence
from dataclasses import fields
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from promptseg.errors import PromptsegError, unknown_name


def from_json(cls: Any, content: Any, where: str) -> Any:
    """An instance of a dataclass from what `dataclasses.asdict` made of one.

    A field that is a union of dataclasses is told by its `kind`, one of the `KINDS` of a class. Fields
    that a class names in `ADDED_LATER` may be left out, and then have their default.

    Args:
        cls: the dataclass.
        content: parsed JSON.
        where: what to call it in errors.

    Raises:
        PromptsegError: a field is missing, unknown or of the wrong type, or the class refuses the values.
    """
    if not isinstance(content, dict):
        raise PromptsegError(f"{where} is {content!r}, expected a JSON object")
    hints = get_type_hints(cls)
    names = [field.name for field in fields(cls)]
    for name in content:
        if name not in names:
            raise unknown_name(f"field in {where}", str(name), names)
    missing = [name for name in names if name not in content and name not in getattr(cls, "ADDED_LATER", ())]
    if missing:
        raise PromptsegError(f"{where} lacks the field {missing[0]}: write it with to_json")
    return cls(**{name: _value(hints[name], value, f"{where}.{name}") for name, value in content.items()})


def _value(kind: Any, value: Any, where: str) -> Any:
    if get_origin(kind) is tuple:
        if not isinstance(value, list | tuple):
            raise PromptsegError(f"{where} is {value!r}, expected a list of whole numbers")
        return tuple(_value(get_args(kind)[0], item, where) for item in value)
    if kind is str:
        if not isinstance(value, str):
            raise PromptsegError(f"{where} is {value!r}, expected text")
        return value
    if kind is int:
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise PromptsegError(f"{where} is {value!r}, expected a whole number of at least 1")
        return value
    if get_origin(kind) is UnionType:
        kind = _class_of(get_args(kind), value, where)
    return from_json(kind, value, where)


def _class_of(classes: Sequence[Any], value: Any, where: str) -> Any:
    """The class whose kind the object names."""
    by_kind = {kind: cls for cls in classes for kind in cls.KINDS}
    name = value.get("kind") if isinstance(value, dict) else None
    if name not in by_kind:
        raise unknown_name(f"kind of {where}", str(name), by_kind)
    return by_kind[name]
