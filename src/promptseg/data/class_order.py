"""Whether label maps look as if their ids meant other classes: told by where in the photos classes lie."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

_ABOVE = ("sky",)
_BELOW = ("road", "floor", "ground", "grass", "sidewalk")
_LEAST_SHARE = 1e-3
"""Classes with fewer of the labelled pixels tell nothing."""
_GRID = 128
"""Pixels of the shorter side that are looked at, roughly: enough to place a class."""

Heights = NDArray[np.float64]
"""(2, 256): for each id its pixels on a coarse grid, and the sum of their distances from the top edge (0..1)."""


def heights(labels: NDArray[np.uint8]) -> Heights:
    """How high the ids of a label map (H, W) lie."""
    stride = max(1, min(labels.shape) // _GRID)
    coarse = labels[::stride, ::stride]
    rows = (np.arange(len(coarse)) + 0.5) / len(coarse)
    weights = np.repeat(rows, coarse.shape[1])
    ids = coarse.ravel()
    return np.stack([np.bincount(ids, minlength=256), np.bincount(ids, weights, minlength=256)])


def upside_down(names: Sequence[str], total: Heights) -> Iterator[str]:
    """What is strange about the summed heights of a data set: sky that lies, on average, below the ground."""
    counts, sums = total[:, : len(names)]
    enough = counts > _LEAST_SHARE * max(counts.sum(), 1)
    mean = {name: sums[i] / counts[i] for i, name in enumerate(names) if enough[i]}
    for above in _ABOVE:
        for below in _BELOW:
            if above in mean and below in mean and mean[above] > mean[below]:
                yield f"on average, {above!r} lies below {below!r} in the photos"
                return
