"""A progress bar on the terminal, or silence where there is none."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

ItemT = TypeVar("ItemT")


class Progress:
    """Tells how far a loop is: bar, count, rate, time left and a note (the loss, say)."""

    def __init__(self, shown: bool) -> None:
        """Show a bar if `shown` and standard error is a terminal."""
        self._shown = shown
        self._bar = RichProgress(
            TextColumn("{task.description:>8}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=Console(stderr=True),
            disable=not (shown and sys.stderr.isatty()),
        )
        self._note = ""

    @contextmanager
    def running(self) -> Iterator["Progress"]:
        """Draw the bars for the length of the block."""
        with self._bar:
            yield self

    def say(self, text: str) -> None:
        """A line on standard error, above the bars."""
        if self._shown:
            self._bar.console.print(text, highlight=False, soft_wrap=True)

    def note(self, text: str) -> None:
        """Text behind the bar, from the next item on."""
        self._note = text

    def track(self, items: Sequence[ItemT], name: str, done: int = 0) -> Iterator[ItemT]:
        """Go through `items` and count them, on top of `done` ones of an earlier run."""
        task = self._bar.add_task(name, total=done + len(items), completed=done, rate="", note="")
        for item in items:
            yield item
            speed = self._bar.tasks[task].speed
            self._bar.update(task, advance=1, note=self._note, rate=f"{speed:.1f}/s" if speed else "")
        self._note = ""

    def counter(self, name: str) -> Callable[[int, int], None]:
        """A function of (items done, items in all) that keeps a bar of its own."""
        task = self._bar.add_task(name, total=None, rate="", note="")

        def count(done: int, total: int) -> None:
            speed = self._bar.tasks[task].speed
            self._bar.update(task, completed=done, total=total, rate=f"{speed:.1f}/s" if speed else "")

        return count
