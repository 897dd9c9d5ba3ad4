"""Photos and label maps: from files to arrays, and to other sizes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from promptseg.data.defects import DefectError
from promptseg.files import atomic_path
from promptseg.label_space import Color

IdT = TypeVar("IdT", np.uint8, np.int32)

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
"""File names that count as photos, in lower case."""

MAX_PIXELS = 80_000_000
"""Largest accepted picture, in pixels: 240 MB as RGB, and below the size at which Pillow suspects a bomb."""

# Only these decoders see a file: some others of Pillow start external programs.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM", "GIF")
_SIXTEEN_BIT = ("I;16", "I;16B", "I;16L", "I")
_IMAGE_MEND = "export it again as an 8-bit JPEG or PNG"
_LABEL_MEND = "save it as an 8-bit grey or palette PNG whose values are the class ids"

UNLABELLED: Color = (0, 0, 0)
"""Colour of ignored pixels."""


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """Read a photo as (H, W, 3) uint8 RGB, the way up that its EXIF orientation says.

    Transparent pixels are laid over white, as the colours stored beneath them are arbitrary. 16-bit
    grey is scaled by 255/65535, so a 12-bit sensor's picture stays dark. Of several frames the first is taken.

    Raises:
        PromptsegError: no such file, not an image, cut short, over `MAX_PIXELS`, or of 32 bits per pixel value.
    """
    with _opened(Path(path), _IMAGE_MEND) as picture:
        upright = picture if _orientation(picture) == 1 else ImageOps.exif_transpose(picture)
        if upright.mode == "F":
            raise DefectError(path, "holds floating-point values", _IMAGE_MEND)
        if upright.mode in _SIXTEEN_BIT:
            upright = Image.fromarray(_eight_bits(Path(path), np.asarray(upright)))
        elif upright.has_transparency_data:
            rgba = upright.convert("RGBA")
            upright = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
        # Pillow would copy the pixels of what is RGB already.
        return np.array(upright if upright.mode == "RGB" else upright.convert("RGB"))


def image_size(path: str | Path) -> tuple[int, int]:
    """(H, W) of what `read_image` gives, from the file's header only; raises as `read_image` does."""
    with _opened(Path(path), _IMAGE_MEND) as picture:
        sideways = picture.format != "TIFF" and _orientation(picture) >= 5
        return picture.size if sideways else (picture.height, picture.width)


def read_labels(path: str | Path) -> NDArray[np.uint8]:
    """Read class ids as (H, W) uint8 from a grey or palette PNG; in a palette the index is the id, not the colour.

    Raises:
        PromptsegError: as `read_values`, or ids over 255.
    """
    ids = read_values(path)
    if ids.max() > 255:
        raise DefectError(path, f"holds the id {ids.max()}, where 0..255 was expected", _LABEL_MEND)
    return ids.astype(np.uint8, copy=False)


def read_values(path: str | Path) -> NDArray[np.uint8 | np.int32]:
    """Read the values of a grey, palette (its indices) or 16-bit PNG, (H, W): uint8, or int32 where they are wider.

    Raises:
        PromptsegError: not a readable PNG, colours instead of values, or 1-bit (white could mean 1 or 255).
    """
    with _opened(Path(path), _LABEL_MEND) as picture:
        _expect_png(path, picture)
        if picture.mode not in ("L", "P", *_SIXTEEN_BIT):
            reason = f"holds {picture.mode} pixels, where one class id per pixel was expected"
            raise DefectError(path, reason, _LABEL_MEND)
        values = np.array(picture)
    return values if values.dtype == np.uint8 else values.astype(np.int32)


def read_channels(path: str | Path, mode: Literal["RGB", "RGBA"]) -> NDArray[np.uint8]:
    """Read a PNG whose channels encode numbers, (H, W, 3 or 4) uint8, without any change of colour.

    Raises:
        PromptsegError: not a readable PNG, or of another mode.
    """
    mend = "take the file as it was published"
    with _opened(Path(path), mend) as picture:
        _expect_png(path, picture)
        if picture.mode != mode:
            reason = f"holds {picture.mode} pixels, where segment numbers as {mode} were expected"
            raise DefectError(path, reason, mend)
        return np.array(picture)


def resize_image(array: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize (H, W, 3) to `size` = (h, w) with Pillow's bilinear filter, which averages when it shrinks."""
    return np.array(Image.fromarray(array).resize((size[1], size[0]), Image.Resampling.BILINEAR))


def resize_labels(array: NDArray[IdT], size: tuple[int, int]) -> NDArray[IdT]:
    """Resize ids (H, W), uint8 or int32, to `size` = (h, w) by the nearest pixel, so no new id appears."""
    return np.array(Image.fromarray(array).resize((size[1], size[0]), Image.Resampling.NEAREST))


def palette(colors: Sequence[Color]) -> NDArray[np.uint8]:
    """All 256 label colours, (256, 3) uint8: classes first, every other id as `UNLABELLED`."""
    table = np.full((256, 3), UNLABELLED, np.uint8)
    table[: len(colors)] = np.asarray(colors, np.uint8).reshape(-1, 3)
    return table


def write_labels(path: Path, labels: NDArray[np.uint8], colors: Sequence[Color]) -> None:
    """Write a label map atomically as a palette PNG: the values are the ids, viewers show the colours."""
    image = Image.fromarray(labels)
    image.putpalette(palette(colors).tobytes())
    with atomic_path(path) as temporary:
        image.save(temporary, format="PNG")


def _expect_png(path: str | Path, picture: Image.Image) -> None:
    if picture.format != "PNG":
        raise DefectError(path, f"a {picture.format} file, where labels must be PNG", _LABEL_MEND)


@contextmanager
def _opened(path: Path, mend: str) -> Iterator[Image.Image]:
    """Open a picture, to be decoded inside; whatever Pillow raises becomes one line that names the file."""
    try:
        with Image.open(path, formats=_FORMATS) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise Image.DecompressionBombError
            yield picture
    except DefectError:
        raise
    except FileNotFoundError:
        raise DefectError(path, "no such file", "put it there, or name one that is there") from None
    except UnidentifiedImageError:
        raise DefectError(path, "not an image that can be read", mend) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise DefectError(path, f"over {MAX_PIXELS:,} pixels", "shrink it, or cut it into tiles") from None
    except Exception as error:  # broken bytes make decoders raise a dozen types
        raise DefectError(path, f"cannot be read ({error})", mend) from None


def _orientation(picture: Image.Image) -> int:
    """EXIF orientation, 1 to 8, of a picture not yet decoded; Pillow turns TIFF by itself, its size included."""
    # Pillow would decode a whole PNG to look for EXIF behind the pixels, where next to nobody puts it.
    if picture.format == "PNG" and "exif" not in picture.info:
        return 1
    return int(picture.getexif().get(0x0112, 1))


def _eight_bits(path: Path, values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Scale 0..65535 to 0..255."""
    wide = values.astype(np.int64)
    if wide.min() < 0 or wide.max() > 65535:
        raise DefectError(path, f"holds grey values up to {wide.max()}, over 16 bits", _IMAGE_MEND)
    return ((wide + 128) // 257).astype(np.uint8)
