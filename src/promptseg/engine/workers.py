"""The processes of one fit or evaluation: alone, or several that `torchrun` started and that share the work."""

import atexit
import json
import os
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from promptseg.extras import import_extra

ItemT = TypeVar("ItemT")


class Workers:
    """This process among those of the work.

    In a fit every process draws the same batch and takes a part of it; gradients are added up, so each of them makes
    the step that one process alone would make with the whole batch. In an evaluation each takes a part of the photos,
    and all of them learn what the others counted.
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
        """This process's part of a batch or split, every n-th; it may be empty."""
        return batch[self.rank :: self.count]

    def add_up(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors by their sums over the processes."""
        if self.count > 1:
            for tensor in tensors:
                torch.distributed.all_reduce(tensor)

    def gathered(self, content: Any) -> list[Any]:
        """What every process gives, in their order, sent as JSON: nothing is unpickled."""
        if self.count == 1:
            return [content]
        data = torch.frombuffer(bytearray(json.dumps(content).encode()), dtype=torch.uint8).to(self._device)
        sizes = [torch.zeros(1, dtype=torch.int64, device=self._device) for _ in range(self.count)]
        torch.distributed.all_gather(sizes, torch.tensor([len(data)], device=self._device))
        room = max(int(size) for size in sizes)
        parts = [data.new_zeros(room) for _ in range(self.count)]
        torch.distributed.all_gather(parts, torch.nn.functional.pad(data, (0, room - len(data))))
        return [json.loads(bytes(part[: int(size)].cpu().tolist())) for part, size in zip(parts, sizes, strict=True)]

    def wait(self) -> None:
        """Go on when all processes are here."""
        if self.count > 1:
            self._state.wait_for_everyone()
