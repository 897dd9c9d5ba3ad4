"""The one exception a user sees: a single line with the value, what was expected and the mend."""

from collections.abc import Iterable


class PromptsegError(Exception):
    """A mistake the user can mend.

    The message is one line: the offending value, what was expected, what to do. The command line
    prints it without a traceback and exits with code 2.
    """


def unknown_name(kind: str, name: str, choices: Iterable[str]) -> PromptsegError:
    """The error for a name that is not registered: it lists what would have been accepted."""
    return PromptsegError(f"unknown {kind} {name!r}: choose one of {', '.join(sorted(choices))}")
