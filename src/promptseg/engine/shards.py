"""A part of a long piece of work: what the i-th of n processes does of it, wherever the others run."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from promptseg.errors import PromptsegError

ItemT = TypeVar("ItemT")

_TASK, _FIRST, _LAST, _STEP = (f"SLURM_ARRAY_TASK_{name}" for name in ("ID", "MIN", "MAX", "STEP"))


@dataclass(frozen=True)
class Shard:
    """Part `number` (from 1) of `count`."""

    number: int = 1
    count: int = 1

    @staticmethod
    def read(text: str) -> "Shard":
        """A part as the command line has it: `2/8`.

        Raises:
            PromptsegError: something else, or a part that is not among them.
        """
        number, slash, count = text.partition("/")
        if not (slash and all(part.isascii() and part.isdigit() for part in (number, count))):
            raise PromptsegError(f"--shard {text}: expected PART/PARTS, such as 1/4 for the first of four")
        if not 1 <= int(number) <= int(count):
            raise PromptsegError(f"--shard {text}: parts go from 1/{count} to {count}/{count}")
        return Shard(int(number), int(count))

    @staticmethod
    def of(text: str | None, environment: Mapping[str, str] = os.environ) -> "Shard":
        """The part that was given, else that of this job in its SLURM array, else all.

        Raises:
            PromptsegError: as `read`.
        """
        if text is not None:
            return Shard.read(text)
        if _TASK not in environment:
            return Shard()
        number, first, last = (int(environment.get(name, environment[_TASK])) for name in (_TASK, _FIRST, _LAST))
        step = int(environment.get(_STEP, "1"))
        return Shard((number - first) // step + 1, (last - first) // step + 1)

    def part(self, items: Sequence[ItemT]) -> Sequence[ItemT]:
        """Every n-th of the items."""
        return items[self.number - 1 :: self.count]

    def block(self, items: Sequence[ItemT]) -> Sequence[ItemT]:
        """This part of the items where neighbours share work: as many as the others have, in one piece."""
        return items[len(items) * (self.number - 1) // self.count : len(items) * self.number // self.count]

    @property
    def name(self) -> str:
        """For file names: `2-of-8`."""
        return f"{self.number}-of-{self.count}"

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"
