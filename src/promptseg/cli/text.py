"""Small pieces of text that several commands print."""

import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from promptseg.reports.tables import Table


def file_size(path: Path) -> str:
    """Size of a file, or of all files below a folder, for people: `213 kB`."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    kilobytes = sum(file.stat().st_size for file in files) / 1000
    return f"{kilobytes:.0f} kB" if kilobytes < 1000 else f"{kilobytes / 1000:.1f} MB"


def quoted(value: object) -> str:
    """A value as it must be typed in a shell."""
    return shlex.quote(str(value))


def print_table(table: "Table") -> None:
    """Print a table to standard output."""
    from rich.console import Console

    # Without a terminal rich would cut the table at 80 columns.
    width = None if sys.stdout.isatty() else 200
    console = Console(width=width, highlight=False)
    if table.title:
        # Above the table, not inside: rich would wrap it to the table's width.
        console.print(table.title, markup=False)
    console.print(table.to_rich())


def program() -> str:
    """How this program is called here: `promptseg` where the shell finds it, else the path it was started by."""
    script = Path(sys.argv[0])
    if shutil.which("promptseg") or script.name != "promptseg":
        return "promptseg"
    here = Path.cwd()
    return quoted(script.relative_to(here) if script.is_absolute() and script.is_relative_to(here) else script)
