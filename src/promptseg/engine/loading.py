"""Reading the next images while the model works on this one."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

ItemT = TypeVar("ItemT")
LoadedT = TypeVar("LoadedT")

AHEAD = 2
"""Items that may be ready and waiting: enough to even out large and small ones."""


def loaded_ahead(load: Callable[[ItemT], LoadedT], items: Iterable[ItemT]) -> Iterator[LoadedT]:
    """What `load` gives for each item, in order, from a thread that is at most `AHEAD` items further."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        waiting: deque[Future[LoadedT]] = deque()
        for item in items:
            waiting.append(pool.submit(load, item))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
