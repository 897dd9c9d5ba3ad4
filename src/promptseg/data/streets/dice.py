"""Random numbers that are the same on every machine for the same seed text."""

import hashlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")
Floats = NDArray[np.float32]


class Dice:
    """Draws from PCG64 seeded with the SHA-256 of a text; only uniform draws, which no library maths can change."""

    def __init__(self, seed: str) -> None:
        digest = hashlib.sha256(seed.encode("utf-8")).digest()
        self._generator = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))

    def uniform(self, low: float, high: float) -> float:
        """A number in [low, high)."""
        return low + (high - low) * self._generator.random()

    def integer(self, low: int, high: int) -> int:
        """A whole number in [low, high], both ends included."""
        return int(self._generator.integers(low, high + 1))

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self._generator.random() < probability

    def pick(self, choices: Sequence[T]) -> T:
        """One of `choices`, all equally likely."""
        return choices[int(self._generator.integers(len(choices)))]

    def field(self, *shape: int) -> Floats:
        """Independent numbers in [0, 1), float32."""
        return self._generator.random(shape, dtype=np.float32)

    def jitter(self, color: tuple[int, int, int], spread: int) -> tuple[int, int, int]:
        """`color` with each channel and the overall brightness moved by up to `spread`."""
        shift = self.integer(-spread, spread)
        r, g, b = (max(0, min(255, c + shift + self.integer(-spread // 3, spread // 3))) for c in color)
        return r, g, b
