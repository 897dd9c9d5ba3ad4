"""Ctrl-C at any moment of a command, from before the first library is loaded until the interpreter has ended."""

import os
import signal
from contextlib import suppress
from types import FrameType

INTERRUPTED = 130
"""Exit code of a process that SIGINT ended, as shells count it."""

_asked = False


def watch() -> None:
    """Take over ctrl-C; where it is ignored, as in a background job of a shell, it stays so."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


def was_asked_to_stop() -> bool:
    """Whether ctrl-C came: then whatever ends the command is its doing, an error that C++ made of it too."""
    return _asked


def leave() -> None:
    """The command is over: from now on ctrl-C ends the process at once, and not in the midst of Python's own end."""
    if signal.getsignal(signal.SIGINT) is _interrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def say_stopped() -> int:
    """Say so without any library; returns the exit code."""
    with suppress(OSError):  # standard error may be closed
        os.write(2, b"promptseg: stopped\n")
    return INTERRUPTED


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Interrupt the command, or end the process where a module is being imported.

    An exception in the midst of an import is not only shown with its traceback: libraries take it for a missing part
    and go on, and C++ code that calls Python aborts. The process leaves behind what one that is killed does.
    """
    global _asked
    if _imports(frame):
        os._exit(say_stopped())
    _asked = True
    raise KeyboardInterrupt


def _imports(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
