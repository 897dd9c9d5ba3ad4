"""TIFF files that are read and written in windows, with their place on the earth, through rasterio.

Photos are read so where Pillow would need all of them at once, or would lose where they lie: over `MAX_PIXELS`, and
GeoTIFF.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from promptseg.data.defects import DefectError
from promptseg.data.images import MAX_PIXELS, at_most, palette
from promptseg.extras import import_extra
from promptseg.files import atomic_path
from promptseg.label_space import Color

SUFFIXES = (".tif", ".tiff")
_WIDTH, _HEIGHT, _BIG = 256, 257, 43
"""Tags of the size, and the version that a TIFF of 64-bit places has."""
_GEO_TAGS = (33550, 33922, 34264)
"""Pixel scale, tie points and transformation of GeoTIFF."""
_BLOCK = 256
_ROWS = 4 * _BLOCK
"""Rows that are written at a time."""


@dataclass(frozen=True)
class Georeference:
    """Where a raster lies.

    Attributes:
        crs: its coordinate system as WKT; none where it has none.
        transform: a, b, c, d, e, f of x = a column + b row + c, y = d column + e row + f; none where it has none.
    """

    crs: str | None
    transform: tuple[float, ...] | None


class RasterPixels:
    """A TIFF that is read window by window.

    Attributes:
        size: height and width, pixels.
        place: where it lies.
    """

    def __init__(self, path: Path) -> None:
        """Look at its header.

        Raises:
            PromptsegError: rasterio is not installed, the file cannot be read, or its values are no colours.
        """
        self._path = path
        with self._opened() as raster:
            self.size: tuple[int, int] = (raster.height, raster.width)
            placed = not raster.transform.is_identity
            self.place = Georeference(
                raster.crs.to_wkt() if raster.crs else None, tuple(raster.transform)[:6] if placed else None
            )
            self._wide = raster.dtypes[0] == "uint16"
            if not self._wide and raster.dtypes[0] != "uint8":
                mend = "scale its values to 0..255 (gdal_translate -scale -ot Byte)"
                raise DefectError(path, f"holds {raster.dtypes[0]} values, where 8 or 16 bits were expected", mend)
            self._bands, self._alpha = _color_bands([color.name for color in raster.colorinterp])
            self._negative = raster.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE") == "YES"
            if raster.colorinterp[0].name == "palette":
                raise DefectError(path, "holds a palette", "turn it into RGB (gdal_translate -expand rgb)")

    def read(self, rows: slice, columns: slice) -> NDArray[np.uint8]:
        """Some of its pixels, (h, w, 3) uint8 RGB.

        Raises:
            PromptsegError: they cannot be read.
        """
        return self._pixels(rows, columns, (rows.stop - rows.start, columns.stop - columns.start))

    def picture(self, most: int) -> NDArray[np.uint8]:
        """All of it, (h, w, 3), shrunk to about `most` pixels where it has more."""
        return self._pixels(slice(0, self.size[0]), slice(0, self.size[1]), at_most(self.size, most))

    def _pixels(self, rows: slice, columns: slice, size: tuple[int, int]) -> NDArray[np.uint8]:
        bands = [*self._bands, *self._alpha]
        with self._opened() as raster:
            window = ((rows.start, rows.stop), (columns.start, columns.stop))
            try:
                values = raster.read(bands, window=window, out_shape=(len(bands), *size))
            except Exception as error:
                raise DefectError(self._path, f"cannot be read ({error})", "write it again, or copy it again") from None
        if self._wide:
            values = ((values.astype(np.int32) + 128) // 257).astype(np.uint8)
        if self._negative:
            values[: len(self._bands)] = 255 - values[: len(self._bands)]
        colors = values[: len(self._bands)] if len(self._bands) == 3 else np.repeat(values[:1], 3, axis=0)
        picture = np.ascontiguousarray(np.moveaxis(colors, 0, -1))
        if not self._alpha:
            return picture
        layer = Image.fromarray(np.concatenate((picture, values[-1][..., None]), axis=2))
        return np.array(Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB"))

    def _opened(self) -> Any:
        """The raster; a handle for each use, as one must not be shared among threads."""
        rasterio = import_extra("rasterio", "geo", "a GeoTIFF or a TIFF of this size")
        try:
            return _without_warnings(rasterio.open, self._path)
        except Exception as error:
            raise DefectError(self._path, f"cannot be read ({error})", "write it again, or copy it again") from None


def _color_bands(colors: Sequence[str]) -> tuple[list[int], list[int]]:
    """Numbers from 1 of the bands that are red, green and blue, or grey, and of that which is alpha, if any is."""
    alpha = [i for i, color in enumerate(colors, 1) if color == "alpha"][:1]
    named = [colors.index(color) + 1 for color in ("red", "green", "blue") if color in colors]
    if len(named) == 3:
        return named, alpha
    others = [i for i in range(1, len(colors) + 1) if i not in alpha]
    return others[:3] if len(others) >= 3 else others[:1], alpha


def is_raster(path: Path) -> bool:
    """Whether a photo is to be read as a raster: a TIFF of over `MAX_PIXELS`, or one that says where it lies."""
    if path.suffix.lower() not in SUFFIXES:
        return False
    try:
        tags = _first_tags(path)
        return tags[_WIDTH] * tags[_HEIGHT] > MAX_PIXELS or any(tag in tags for tag in _GEO_TAGS)
    except Exception:  # whoever reads it says what is wrong
        return False


def _first_tags(path: Path) -> Any:
    """What a TIFF says of its first picture, whatever its pixels are like: Pillow opens few kinds of them."""
    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tags that are not asked for
        header = file.read(8)
        if header[2] == _BIG:
            header += file.read(8)
        tags = TiffImagePlugin.ImageFileDirectory_v2(header)
        file.seek(tags.next)
        tags.load(file)
    return tags


def write_raster(
    path: Path, values: NDArray[np.uint8 | np.int32], place: Georeference, colors: Sequence[Color] = ()
) -> None:
    """Write a map (H, W) atomically as a TIFF with its place, some rows at a time; `colors` are those of ids 0, 1, ...

    Raises:
        PromptsegError: rasterio is not installed.
    """
    rasterio = import_extra("rasterio", "geo", "a GeoTIFF")
    height, width = values.shape
    about: dict[str, Any] = {"driver": "GTiff", "height": height, "width": width, "count": 1, "dtype": values.dtype}
    about |= {"tiled": True, "blockxsize": _BLOCK, "blockysize": _BLOCK, "compress": "deflate", "BIGTIFF": "IF_SAFER"}
    if place.crs is not None:
        about["crs"] = rasterio.crs.CRS.from_wkt(place.crs)
    if place.transform is not None:
        about["transform"] = rasterio.Affine(*place.transform)
    with atomic_path(path) as temporary, _without_warnings(rasterio.open, temporary, "w", **about) as raster:
        if colors:
            raster.write_colormap(1, {i: tuple(map(int, color)) for i, color in enumerate(palette(colors))})
        for start in range(0, height, _ROWS):
            rows = slice(start, min(start + _ROWS, height))
            raster.write(np.ascontiguousarray(values[rows]), 1, window=((rows.start, rows.stop), (0, width)))


def _without_warnings(opener: Any, *given: Any, **about: Any) -> Any:
    """Open a raster; that one has no place is no news."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return opener(*given, **about)
