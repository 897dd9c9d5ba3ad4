"""What commands print: errors as one line, tables, and small pieces of text."""

import logging
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from promptseg.errors import PromptsegError, system_error
from promptseg.interrupts import INTERRUPTED, was_asked_to_stop
from promptseg.text import shown

if TYPE_CHECKING:
    from promptseg.data.sample import Dataset
    from promptseg.reports.tables import Table

_LOG = logging.getLogger("promptseg")

USER_ERROR = 2


class Interrupted(Exception):
    """Ctrl-C in a command that has something to say about it; the message is one line."""


@contextmanager
def saying_when_stopped(message: str) -> Iterator[None]:
    """Work that ctrl-C ends with a line of its own.

    Raises:
        Interrupted: with the message.
    """
    try:
        yield
    except BaseException as error:
        if not _is_stop(error):
            raise
        raise Interrupted(message) from None


def goes_on_with(out: Path) -> str:
    """What a stopped command says that goes on with what lies in its folder."""
    return f"stopped; the same command goes on with {out}"


def explain(error: BaseException) -> str | None:
    """The line for an error that the user can mend; None for a fault of the program, which needs its traceback."""
    if isinstance(error, Interrupted):
        return _one_line(str(error))
    if _is_stop(error):
        return "stopped"
    if isinstance(error, typer.TyperException):
        return _one_line(f"{error.format_message().rstrip('.')}{_help_hint(error)}")
    return _one_line(str(error)) if isinstance(error, PromptsegError) else system_error(error)


def exit_code(error: BaseException) -> int:
    """The exit code that goes with an explained error."""
    return INTERRUPTED if isinstance(error, Interrupted) or _is_stop(error) else USER_ERROR


def _is_stop(error: BaseException) -> bool:
    return isinstance(error, KeyboardInterrupt | typer.Abort) or was_asked_to_stop()


def _help_hint(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    return f"; see {context.command_path} --help" if context is not None else ""


def _one_line(text: str) -> str:
    return shown(" ".join(text.split()))


class _StandardError(logging.Handler):
    """Shows messages; not how far a loop is where a bar says it."""

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "progress", False) and sys.stderr.isatty():
            return
        start = "promptseg: " if record.levelno >= logging.ERROR else ""
        # Looked up anew: while bars are drawn, it writes above them.
        print(f"{start}{shown(record.getMessage())}", file=sys.stderr)


def start_messages() -> None:
    """Show messages on standard error, and forget what an earlier command in this process set up."""
    for handler in tuple(_LOG.handlers):
        _LOG.removeHandler(handler)
        handler.close()
    _LOG.addHandler(_StandardError())
    _LOG.setLevel(logging.INFO)


def be_quiet(quiet: bool) -> None:
    """Leave standard error to errors."""
    from promptseg.progress import Progress

    Progress.bars = not quiet
    for handler in _LOG.handlers:
        if isinstance(handler, _StandardError):
            handler.setLevel(logging.ERROR if quiet else logging.INFO)


def log_to(path: Path | None) -> None:
    """Write messages to the end of a file too, with the time of each."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(path, encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
        _LOG.addHandler(handler)


def open_data(spec: str) -> "Dataset":
    """The data set of a spec; what is odd about its files is said."""
    from promptseg import load_dataset
    from promptseg.data.check import grouped

    dataset = load_dataset(spec)
    for defect, more in grouped(dataset.warnings):
        say(f"{defect}{f' (and {more} more like this)' if more else ''}")
    return dataset


def say(text: str) -> None:
    """A message about the work."""
    _LOG.info(text)


def fail(text: str) -> None:
    """What went wrong, in one line."""
    _LOG.error(_one_line(text))


def file_size(path: Path) -> str:
    """Size of a file, or of all files below a folder, for people: `213 kB`."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    kilobytes = sum(file.stat().st_size for file in files) / 1000
    return f"{kilobytes:.0f} kB" if kilobytes < 1000 else f"{kilobytes / 1000:.1f} MB"


def quoted(value: object) -> str:
    """A value as it must be typed in a shell."""
    return shlex.quote(str(value))


def print_table(table: "Table") -> None:
    """Print a table to standard output, within the width of a terminal if it is one."""
    if table.title:
        typer.echo(f"{table.title}\n")
    typer.echo(table.to_text(shutil.get_terminal_size().columns if sys.stdout.isatty() else None))


def program() -> str:
    """How this program is called here: `promptseg` where the shell finds it, else the path it was started by."""
    script = Path(sys.argv[0])
    if shutil.which("promptseg") or script.name != "promptseg":
        return "promptseg"
    here = Path.cwd()
    return quoted(script.relative_to(here) if script.is_absolute() and script.is_relative_to(here) else script)
