"""What goes wrong, as one line for the user: no traceback for what the user can mend."""

import errno

import typer

from promptseg.errors import PromptsegError

USER_ERROR = 2
INTERRUPTED = 130
"""Exit code of a process that SIGINT ended, as shells count it."""


class Interrupted(Exception):
    """Ctrl-C in a command that has something to say about it; the message is one line."""


def explain(error: BaseException) -> str | None:
    """The line for an error that the user can mend; None for a fault of the program, which needs its traceback."""
    if isinstance(error, typer.TyperException):
        return _one_line(f"{error.format_message().rstrip('.')}{_help_hint(error)}")
    if isinstance(error, PromptsegError | Interrupted):
        return _one_line(str(error))
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return "stopped"
    if isinstance(error, MemoryError) or _is_torch_shortage(error):
        return "out of memory: give fewer or smaller images, or close other programs"
    if isinstance(error, OSError):
        return _one_line(_os_error(error))
    return None


def exit_code(error: BaseException) -> int:
    """The exit code that goes with an explained error."""
    if isinstance(error, Interrupted | KeyboardInterrupt | typer.Abort):
        return INTERRUPTED
    return USER_ERROR


def _help_hint(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    return f"; see {context.command_path} --help" if context is not None else ""


def _is_torch_shortage(error: BaseException) -> bool:
    # Told by name and text, so that reporting an error never imports torch.
    return type(error).__name__ == "OutOfMemoryError" or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


def _os_error(error: OSError) -> str:
    mend = {
        errno.ENOSPC: "; free some space, or write elsewhere",
        errno.EACCES: "; choose a place you may read and write",
        errno.EPERM: "; choose a place you may read and write",
        errno.EROFS: "; choose a place you may write",
    }.get(error.errno or 0, "")
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}{mend}"


def _one_line(text: str) -> str:
    return " ".join(text.split())
