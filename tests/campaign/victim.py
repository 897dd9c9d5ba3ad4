"""A command in a child process, with one thing that goes wrong.

The child is forked from a process that has loaded everything, so that hundreds of cases take minutes. What goes wrong
is real: signals, limits of the system, closed descriptors, missing permissions.
"""

import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from promptseg.__main__ import main

Work = Callable[[], None]
"""What a child process does."""
Fault = Callable[[], None]
"""Sets up in the child what will go wrong."""


@dataclass(frozen=True)
class End:
    """How a command ended: exit code (negative: the signal that killed it), and what it said."""

    code: int
    out: str
    err: str

    @property
    def is_line(self) -> bool:
        """Whether it refused in one line, without a traceback."""
        last = self.err.splitlines()[-1:] or [""]
        return self.code == 2 and last[0].startswith("promptseg: ") and "Traceback" not in self.err


def command_line(words: Sequence[object], cache: Path | None = None) -> None:
    """Run a command of promptseg; `cache` is where it keeps image features, if not where all do."""
    if cache is not None:
        os.environ["PROMPTSEG_CACHE"] = str(cache)
    sys.argv = ["promptseg", *map(str, words)]
    main()


def start(work: Work, log: Path, fault: Fault | None = None) -> int:
    """Start a child process; returns its id. `log` gets what it says."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        for number, ending in ((1, "out"), (2, "err")):
            os.dup2(os.open(f"{log}.{ending}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        sys.stdout, sys.stderr = (open(n, "w", closefd=False, errors="backslashreplace") for n in (1, 2))  # noqa: SIM115
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if fault is not None:
            fault()
        work()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 0
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 1
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))  # the command is over
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError, AttributeError):
                code = code or 1
        os._exit(code)


def finish(child: int, log: Path, seconds: float = 120) -> End:
    """Wait for a command; one that takes too long is killed, and counts as hung (code -9 with a word)."""
    end = time.monotonic() + seconds
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return End(-99, "", f"still running after {seconds:.0f} s")
        time.sleep(0.01)
    said = [Path(f"{log}.{ending}").read_text(errors="replace") for ending in ("out", "err")]
    return End(os.waitstatus_to_exitcode(status), *said)


def run(work: Work, log: Path, fault: Fault | None = None) -> End:
    """Start a child process and wait for it."""
    return finish(start(work, log, fault), log)


def counted(path: Path) -> Fault:
    """Add a byte to a file each time that a finished file takes its place."""

    def set_up() -> None:
        replace, notes = Path.replace, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

        def noted(path: Path, target: Path) -> Path:
            os.write(notes, b".")
            return replace(path, target)

        Path.replace = noted  # type: ignore[assignment, method-assign]

    return set_up


def at_rename(number: int, after: bool, what: int = signal.SIGKILL) -> Fault:
    """Send a signal before or after the `number`-th time, from 1, that a finished file takes its place."""

    def set_up() -> None:
        replace, count = Path.replace, [0]

        def counted(path: Path, target: Path) -> Path:
            count[0] += 1
            if count[0] == number and not after:
                os.kill(os.getpid(), what)
            found = replace(path, target)
            if count[0] == number and after:
                os.kill(os.getpid(), what)
            return found

        Path.replace = counted  # type: ignore[assignment, method-assign]

    return set_up


def in_update(number: int, what: int = signal.SIGINT, times: int = 1) -> Fault:
    """Send a signal in the `number`-th step, when some parameters are new and the step is not counted yet."""

    def set_up() -> None:
        step, count = torch.optim.AdamW.step, [0]

        def counted(*arguments: object) -> object:
            count[0] += 1
            found = step(*arguments)  # type: ignore[arg-type]
            for _ in range(times if count[0] == number else 0):
                os.kill(os.getpid(), what)
            return found

        torch.optim.AdamW.step = counted  # type: ignore[method-assign, assignment]

    return set_up


def after_seconds(seconds: float, what: int = signal.SIGKILL) -> Fault:
    """Send a signal at a moment."""

    def set_up() -> None:
        victim = os.getpid()
        if os.fork() == 0:
            time.sleep(seconds)
            if os.getppid() == victim:  # it lives
                os.kill(victim, what)
            os._exit(0)

    return set_up


def limited(which: int, most: int) -> Fault:
    """Lower a limit of the system: the size of files (a full disk), open files, processes, memory."""

    def set_up() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(which, (most, most))

    return set_up


def closed(*descriptors: int) -> Fault:
    """Start without some of the three streams, as `command >&-` does."""

    def set_up() -> None:
        for number in descriptors:
            os.close(number)
            setattr(sys, ("stdin", "stdout", "stderr")[number], None)

    return set_up


def without_home() -> None:
    """Neither a home nor a cache folder that could be written."""
    os.environ.pop("PROMPTSEG_CACHE", None)
    os.environ["HOME"] = "/proc/nowhere"


def clock_backwards() -> None:
    """A clock that loses an hour each time it is read."""
    now = [time.time()]

    def earlier() -> float:
        now[0] -= 3600
        return now[0]

    time.time = earlier
