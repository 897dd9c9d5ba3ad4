"""Checks of values that a user chose: each refuses one in a line that says what to give."""

import sys
from collections.abc import Iterable
from typing import TypeGuard

from promptseg.errors import PromptsegError, unknown_name


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def check_whole(name: str, value: object, least: int = 1) -> None:
    """Refuse what is not a whole number of at least `least`.

    Raises:
        PromptsegError: it is not.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise PromptsegError(f"{name} is {value!r}: give a whole number of at least {least}")


def check_number(name: str, value: object, least: float = 0, most: float | None = None) -> None:
    """Refuse what is not a finite number of at least `least`, and of at most `most` where that is given.

    Raises:
        PromptsegError: it is not.
    """
    if not is_number(value) or not least <= value <= (sys.float_info.max if most is None else most):
        wanted = f"of at least {least:g}" if most is None else f"from {least:g} to {most:g}"
        raise PromptsegError(f"{name} is {value!r}: give a number {wanted}")


def check_flag(name: str, value: object) -> None:
    """Refuse what is neither true nor false.

    Raises:
        PromptsegError: it is neither.
    """
    if not isinstance(value, bool):
        raise PromptsegError(f"{name} is {value!r}: give true or false")


def check_choice(name: str, value: object, choices: Iterable[str]) -> None:
    """Refuse a name that is not among the choices.

    Raises:
        PromptsegError: it is not.
    """
    if value not in (accepted := tuple(choices)):
        raise unknown_name(name, str(value), accepted)
