"""The processes of one fit: alone, or several that `torchrun` started and that split each batch among them."""

import atexit
import os
from collections.abc import Iterable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from promptseg.extras import import_extra

ItemT = TypeVar("ItemT")


class Workers:
    """This process among those of the fit.

    Every process draws the same batch and takes a part of it; gradients are added up, so each of them makes the step
    that one process alone would make with the whole batch.
    """

    def __init__(self, device: torch.device) -> None:
        """Join the others, if torchrun's variables say that there are any."""
        self._device = device
        self.count = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = 0
        if self.count > 1:
            accelerate = import_extra("accelerate", "distributed", "torchrun")
            self._state = accelerate.PartialState(cpu=device.type == "cpu")
            self.rank = self._state.process_index
            # Left to the end of the interpreter, the group's own threads can abort a process that is done.
            atexit.register(self._state.destroy_process_group)

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and talks."""
        return self.rank == 0

    def part(self, batch: Sequence[ItemT]) -> Sequence[ItemT]:
        """This process's part of a batch; it may be empty."""
        return batch[self.rank :: self.count]

    def add_up(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors by their sums over the processes."""
        if self.count > 1:
            for tensor in tensors:
                torch.distributed.all_reduce(tensor)

    def wait(self) -> None:
        """Go on when all processes are here."""
        if self.count > 1:
            self._state.wait_for_everyone()
