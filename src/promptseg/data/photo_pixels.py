"""The pixels of a photo that is to be labelled: all in memory, or read from its file where they are needed."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from promptseg.data.defects import DefectError
from promptseg.data.images import MAX_PIXELS, Picture, at_most, image_size, picture_pixels, read_image, resize_image
from promptseg.data.rasters import RasterPixels, is_raster

Photo = str | Path | Picture
"""A file, or a photo in memory."""


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
        return RasterPixels(Path(photo)) if tiled else _small_raster(Path(photo))
    return ArrayPixels(photo_pixels(photo))


def photo_pixels(photo: Photo) -> NDArray[np.uint8]:
    """A photo as (H, W, 3) uint8 RGB, wherever it comes from; bands of a GeoTIFF are taken by their names.

    Raises:
        PromptsegError: as `read_image`, `RasterPixels` and `picture_pixels`.
    """
    if not isinstance(photo, str | Path):
        return picture_pixels(photo)
    if not is_raster(Path(photo)):
        return read_image(photo)
    raster = _small_raster(Path(photo))
    return raster.read(slice(0, raster.size[0]), slice(0, raster.size[1]))


def photo_size(path: Path) -> tuple[int, int]:
    """(H, W) of a photo, from the header of its file only; raises as `photo_pixels`."""
    return _small_raster(path).size if is_raster(path) else image_size(path)


def _small_raster(path: Path) -> RasterPixels:
    """One that can be held in memory."""
    raster = RasterPixels(path)
    if raster.size[0] * raster.size[1] > MAX_PIXELS:
        raise DefectError(path, f"over {MAX_PIXELS:,} pixels", "label it tile by tile (--tile 1024), or shrink it")
    return raster
