"""Standard output and standard error of this process, made safe for what names and file names may hold."""

import codecs
import io
import os
import sys
from typing import Any

from promptseg.text import shown


class _Output(io.FileIO):
    """A descriptor to write to; when its reader has gone (`promptseg ... | head -1`), the work goes on unheard."""

    def write(self, data: Any) -> int:
        """Write bytes."""
        try:
            return super().write(data) or 0
        except BrokenPipeError:
            silence(self.fileno())
            return len(data)


class _Text(io.TextIOWrapper):
    """Text without control characters; what the encoding lacks is written as an escape."""

    def write(self, text: str) -> int:
        """Write text."""
        return super().write(shown(text, keep="\n\t"))


def silence(descriptor: int) -> None:
    """Let a descriptor lead nowhere."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere != descriptor:
        os.dup2(nowhere, descriptor)
        os.close(nowhere)


def open_streams() -> None:
    """Set up the streams, before anything else opens a file: it would get the number of a stream that is closed."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            silence(descriptor)
    encoding = codecs.lookup(sys.stdout.encoding).name if sys.stdout else "ascii"
    encoding = "utf-8" if encoding == "ascii" else encoding
    binary = io.BufferedWriter(_Output(1, "w", closefd=False))
    sys.stdout = _Text(binary, encoding, "backslashreplace", line_buffering=os.isatty(1))
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    elif isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(errors="backslashreplace")
