"""Maps at the size of a photo: in memory, and those of very large photos in a file that goes with them."""

import tempfile
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from promptseg.data.images import MAX_PIXELS

IdT = TypeVar("IdT", np.uint8, np.int32)


def new_map(size: tuple[int, int], kind: type[IdT]) -> NDArray[IdT]:
    """A map (H, W) of zeros; over `MAX_PIXELS` it lies in a temporary file, so that the system may write it out."""
    if size[0] * size[1] <= MAX_PIXELS:
        return np.zeros(size, kind)
    with tempfile.TemporaryFile() as file:  # the map keeps it open
        return np.memmap(file, kind, "w+", shape=size)
