"""Photos that wait to be labelled: a bounded number, several at once where that pays, each answered or refused.

Three things bound the memory: how many photos are accepted, how large the file of each may be, and how many of them are
decoded at a time, as a small file can be 80 megapixels.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from math import ceil
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from promptseg.data.images import decode_image
from promptseg.engine.answers import at_once
from promptseg.engine.predict import Labeller
from promptseg.errors import PromptsegError
from promptseg.reports.pictures import Picture

_MEMORY = 0.9
"""Weight of what is known already in the moving mean of seconds per photo."""


class FullError(PromptsegError):
    """No more photos are accepted for now.

    Attributes:
        seconds: after which those that were accepted should be done.
    """

    def __init__(self, bound: int, seconds: int) -> None:
        super().__init__(f"{bound} photos wait already, as many as are accepted: send this one again in {seconds} s")
        self.seconds = seconds


class LabelQueue:
    """Labels photos in their order in a thread of its own; to be used from one event loop.

    Attributes:
        held: photos that are accepted and not answered.
        labelled: photos that were labelled.
    """

    def __init__(self, labeller: Labeller, bound: int) -> None:
        """Take what labels, and how many photos are accepted; the model is loaded."""
        self._labeller, self._bound = labeller, bound
        self._most = at_once(labeller.device)
        self._waiting: asyncio.Queue[tuple[Picture, asyncio.Future[Any]]] = asyncio.Queue()
        self._decoded = asyncio.Semaphore(2 * self._most)
        self._seconds = 0.0
        self.held = self.labelled = 0

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place for a photo.

        Raises:
            FullError: all are taken.
        """
        if self.held >= self._bound:
            raise FullError(self._bound, max(1, ceil(self.held * self._seconds)))
        self.held += 1
        try:
            yield
        finally:
            self.held -= 1

    async def label(self, content: bytes, gone: Callable[[], Awaitable[bool]]) -> Any:
        """What the labeller says of a photo, for who holds a place.

        Args:
            content: the bytes of its file.
            gone: tells whether nobody waits for it any more; asked when its turn comes.

        Raises:
            PromptsegError: it is no photo, or it cannot be labelled.
            ClientDisconnect: nobody waits for it.
        """
        async with self._decoded:
            if await gone():
                raise ClientDisconnect
            pixels = await run_in_threadpool(decode_image, content)
            answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            self._waiting.put_nowait((pixels, answer))
            return await answer

    async def work(self) -> None:
        """Label what comes, until this is cancelled."""
        loop = asyncio.get_running_loop()
        # One thread for all, as PyTorch keeps workers for every thread that it is called from.
        with ThreadPoolExecutor(1) as thread:
            while True:
                batch = [await self._waiting.get()]
                while len(batch) < self._most and not self._waiting.empty():
                    batch.append(self._waiting.get_nowait())
                began = time.perf_counter()
                answers = await loop.run_in_executor(thread, self._answers, [pixels for pixels, _ in batch])
                self._count(len(batch), time.perf_counter() - began)
                for (_, future), answer in zip(batch, answers, strict=True):
                    if future.cancelled():
                        continue
                    if isinstance(answer, Exception):
                        future.set_exception(answer)
                    else:
                        future.set_result(answer)

    def _answers(self, photos: Sequence[Picture]) -> list[Any]:
        """An answer or an error for each photo; after an error each is tried alone, so that one harms no other."""
        try:
            return self._labeller(photos)
        except Exception as error:
            return [error] if len(photos) == 1 else [self._answers([photo])[0] for photo in photos]

    def _count(self, photos: int, seconds: float) -> None:
        known = _MEMORY if self.labelled else 0.0
        self._seconds = known * self._seconds + (1 - known) * seconds / photos
        self.labelled += photos
