"""Packages that only some users need: imported at their first use, with one line that says what to install."""

from importlib import import_module
from typing import Any

from promptseg.errors import PromptsegError


def import_extra(module: str, extra: str, user: str) -> Any:
    """Import a module of a package that an extra brings, such as `transformers` of `promptseg[sam]`.

    Args:
        module: dotted name.
        extra: the extra of `promptseg` that installs its package.
        user: what needs it, as the message's first words.

    Raises:
        PromptsegError: its package is not installed.
    """
    package = module.partition(".")[0]
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != package:  # it is there, but lacks something itself
            raise
        raise PromptsegError(f"{user} needs {package}: pip install 'promptseg[{extra}]'") from None
