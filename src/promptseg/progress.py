"""How far a loop is: a bar on the terminal, and a line now and then for a log."""

import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

ItemT = TypeVar("ItemT")

LOG = logging.getLogger("promptseg")
"""What is said about the work: the command line shows it on standard error, other programs as they set up logging."""
SECONDS_BETWEEN_LINES = 30.0
"""How often a loop says how far it is, beside its bar."""


class Progress:
    """Tells how far a loop is: count, rate, time left and a note (the loss, say)."""

    bars: ClassVar[bool] = True
    """Whether bars may be drawn at all."""

    def __init__(self, shown: bool) -> None:
        """Say nothing unless `shown`; show a bar if standard error is a terminal."""
        self._shown = shown
        self._said = time.monotonic()
        self._bar = RichProgress(
            TextColumn("{task.description:>8}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=Console(stderr=True),
            disable=not (shown and Progress.bars and sys.stderr.isatty()),
        )
        self._note = ""

    @contextmanager
    def running(self) -> Iterator["Progress"]:
        """Draw the bars for the length of the block."""
        with self._bar:
            yield self

    def say(self, text: str) -> None:
        """A line for people, above the bars."""
        if self._shown:
            LOG.info(text)

    def note(self, text: str) -> None:
        """Text behind the bar, from the next item on."""
        self._note = text

    def track(self, items: Sequence[ItemT], name: str, done: int = 0) -> Iterator[ItemT]:
        """Go through `items` and count them, on top of `done` ones of an earlier run."""
        task = self._bar.add_task(name, total=done + len(items), completed=done, rate="", note="")
        for item in items:
            yield item
            self._advance(task, advance=1, note=self._note)
        self._note = ""

    def counter(self, name: str) -> Callable[[int, int], None]:
        """A function of (items done, items in all) that keeps a bar of its own."""
        task = self._bar.add_task(name, total=None, rate="", note="")

        def count(done: int, total: int) -> None:
            self._advance(task, completed=done, total=total)

        return count

    def _advance(self, task: TaskID, **changes: Any) -> None:
        speed = self._bar.tasks[task].speed
        self._bar.update(task, rate=f"{speed:.1f}/s" if speed else "", **changes)
        if self._shown and time.monotonic() - self._said >= SECONDS_BETWEEN_LINES:
            self._said = time.monotonic()
            LOG.info(_line(self._bar.tasks[task]), extra={"progress": True})


def _line(task: Task) -> str:
    """`fit 120/300, 4.1/s, loss 0.345, 44 s left`."""
    left = "" if task.time_remaining is None else f"{task.time_remaining:.0f} s left"
    total = "" if task.total is None else f"/{task.total:.0f}"
    parts = (f"{task.description} {task.completed:.0f}{total}", task.fields["rate"], task.fields["note"], left)
    return ", ".join(part for part in parts if part)
