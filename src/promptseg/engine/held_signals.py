"""Signals that stop the training wait for the end of the step, so that no half step is ever saved."""

import signal
import threading
from types import FrameType
from typing import Any


class HeldSignals:
    """Holds back the first request to stop, ctrl-C or SIGTERM, until `deliver`; a second one acts at once.

    Python gives signals to the main thread alone: in any other, and for signals that are ignored, this does nothing.
    """

    def __init__(self) -> None:
        """Hold nothing back yet."""
        self._handlers: dict[int, Any] = {}
        self._asked: int | None = None

    def __enter__(self) -> "HeldSignals":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._handlers[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, *error: object) -> None:
        self._give_back()

    @property
    def asked(self) -> bool:
        """Whether a request waits."""
        return self._asked is not None

    def deliver(self) -> None:
        """Do now what the request would have done; nothing if there is none."""
        number, self._asked = self._asked, None
        if number is not None:
            self._give_back()
            signal.raise_signal(number)

    def _take(self, number: int, frame: FrameType | None) -> None:
        again, self._asked = self.asked, number
        if again:
            self.deliver()

    def _give_back(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers.clear()
