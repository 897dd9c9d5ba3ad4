"""Frozen dataclasses as JSON, and back with every field checked: what wrote a file reads it."""

import json
import sys
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from promptseg.errors import PromptsegError

T = TypeVar("T")
_PLAIN = {str: "text", int: "a whole number", float: "a finite number", bool: "true or false", NoneType: "null"}


def to_json(value: Any) -> dict[str, Any]:
    """A dataclass as a JSON object, as a reader of the file will see it."""
    content: dict[str, Any] = json.loads(json.dumps(asdict(value), allow_nan=False))
    return content


def from_json(kind: type[T], content: Any, where: str) -> T:
    """A dataclass from the JSON object that `to_json` made of it.

    Args:
        kind: a dataclass of text, numbers, truth values, null, `Literal`s, tuples, mappings by text, and dataclasses
            of these.
        content: what `json.loads` gave.
        where: what messages start with.

    Raises:
        PromptsegError: a field is missing, unknown, or of another type, a number is not finite, or the dataclass
            itself refuses a value.
    """
    value: T = _dataclass(kind, content, where, "")
    return value


def _dataclass(kind: Any, content: Any, where: str, path: str) -> Any:
    if not isinstance(content, dict):
        raise _refused(where, path, content, "a JSON object")
    known = {field.name: field for field in fields(kind)}
    for name in content:
        if name not in known:
            raise PromptsegError(f"{where}: unknown field {path}{name}, expected one of {', '.join(known)}")
    hints, values = get_type_hints(kind), {}
    for name, field in known.items():
        if name in content:
            values[name] = _value(hints[name], content[name], where, f"{path}{name}")
        elif field.default is MISSING and field.default_factory is MISSING:
            raise PromptsegError(f"{where}: field {path}{name} is missing")
    try:
        return kind(**values)
    except PromptsegError as error:
        raise PromptsegError(f"{where}: {error}") from None


def _value(hint: Any, content: Any, where: str, path: str) -> Any:
    if hint in _PLAIN:
        if _is_plain(hint, content):
            return float(content) if hint is float else content
    elif is_dataclass(hint):
        return _dataclass(hint, content, where, f"{path}.")
    elif (origin := get_origin(hint)) in (Union, UnionType):
        return _one_of(get_args(hint), content, where, path)
    elif origin is Literal:
        if content in get_args(hint):
            return content
    elif origin is tuple and isinstance(content, list):
        inner = get_args(hint)
        hints = [inner[0]] * len(content) if inner[-1] is Ellipsis else inner
        if len(hints) == len(content):
            return tuple(_value(hints[i], item, where, f"{path}[{i}]") for i, item in enumerate(content))
    elif origin is not None and issubclass(origin, Mapping) and isinstance(content, dict):
        return {name: _value(get_args(hint)[1], item, where, f"{path}.{name}") for name, item in content.items()}
    raise _refused(where, path, content, _words(hint))


def _one_of(hints: tuple[Any, ...], content: Any, where: str, path: str) -> Any:
    """The value as the one alternative that it fits; scalars keep the type they have."""
    for hint in sorted(hints, key=lambda hint: hint is float):
        if hint in _PLAIN and _is_plain(hint, content):
            return content
    others = [hint for hint in hints if hint not in _PLAIN]
    if len(others) == 1:
        return _value(others[0], content, where, path)
    raise _refused(where, path, content, " or ".join(map(_words, hints)))


def _is_plain(hint: Any, content: Any) -> bool:
    if hint is bool or isinstance(content, bool):
        return hint is bool and isinstance(content, bool)
    if hint is float:
        return isinstance(content, int | float) and abs(content) <= sys.float_info.max  # not NaN either
    return isinstance(content, hint)


def _words(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return f"one of {', '.join(map(str, get_args(hint)))}"
    if get_origin(hint) is tuple:
        return "a list" if get_args(hint)[-1] is Ellipsis else f"a list of {len(get_args(hint))}"
    return _PLAIN.get(hint, "a JSON object")


def _refused(where: str, path: str, content: Any, expected: str) -> PromptsegError:
    shown = repr(content) if len(repr(content)) <= 60 else f"{repr(content)[:60]}..."
    field = path.removesuffix(".")
    return PromptsegError(f"{where}: {f'field {field} is {shown}' if field else f'found {shown}'}, expected {expected}")
