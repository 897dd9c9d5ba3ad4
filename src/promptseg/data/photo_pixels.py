"""The pixels of a photo that is to be labelled: all in memory, or read from its file where they are needed."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from promptseg.data.defects import DefectError
from promptseg.data.images import MAX_PIXELS, Photo, at_most, photo_pixels, resize_image
from promptseg.data.rasters import RasterPixels, is_raster


class ArrayPixels:
    """A photo in memory.

    Attributes:
        size: height and width, pixels.
        place: none; see `RasterPixels`.
    """

    place = None

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        """Take (H, W, 3) uint8 RGB."""
        self._pixels = pixels
        self.size: tuple[int, int] = (pixels.shape[0], pixels.shape[1])

    def read(self, rows: slice, columns: slice) -> NDArray[np.uint8]:
        """Some of its pixels, (h, w, 3), without a copy."""
        return self._pixels[rows, columns]

    def picture(self, most: int) -> NDArray[np.uint8]:
        """All of it, (h, w, 3), shrunk to about `most` pixels where it has more."""
        small = at_most(self.size, most)
        return self._pixels if small == self.size else resize_image(self._pixels, small)


PhotoPixels = ArrayPixels | RasterPixels
"""A photo of which parts can be read."""


def open_photo(photo: Photo | PhotoPixels, tiled: bool) -> PhotoPixels:
    """A photo to read from.

    Args:
        photo: a file, a PIL image, an array, or one that is open already.
        tiled: whether it will be read tile by tile, so that a raster may be of any size.

    Raises:
        PromptsegError: it cannot be read, or is too large to be labelled in one piece.
    """
    if isinstance(photo, PhotoPixels):
        return photo
    if isinstance(photo, str | Path) and is_raster(Path(photo)):
        raster = RasterPixels(Path(photo))
        if not tiled and raster.size[0] * raster.size[1] > MAX_PIXELS:
            raise DefectError(photo, f"over {MAX_PIXELS:,} pixels", "label it tile by tile (--tile 1024), or shrink it")
        return raster
    return ArrayPixels(photo_pixels(photo))
