"""Photos and label maps: from files to arrays, and to other sizes."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import sqrt
from pathlib import Path
from typing import BinaryIO, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from promptseg.data.defects import DefectError
from promptseg.errors import PromptsegError
from promptseg.files import atomic_path
from promptseg.label_space import Color

IdT = TypeVar("IdT", np.uint8, np.int32)

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
"""File names that count as photos, in lower case."""

LABEL_SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".gif")
"""File names that count as label maps, in lower case."""

MAX_PIXELS = 80_000_000
"""Largest accepted picture, in pixels: 240 MB as RGB, and below the size at which Pillow suspects a bomb."""

# Only these decoders see a file: some others of Pillow start external programs.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM", "GIF")
_SIXTEEN_BIT = ("I;16", "I;16B", "I;16L", "I")
_IMAGE_MEND = "export it again as an 8-bit JPEG or PNG"
_LABEL_MEND = "save it as an 8-bit grey or palette PNG whose values are the class ids"
_LOSSY_MEND = (
    "save the labels as PNG where they were drawn: this format blurs ids, so those in the file cannot be trusted"
)
_LOSSLESS = ("PNG", "TIFF", "BMP", "GIF", "PPM")


Picture = Image.Image | NDArray[np.generic]
"""A PIL image, or an array: (H, W, 3) or (H, W, 4) uint8, or grey (H, W) of 8 or 16 bits."""


def picture_pixels(photo: Picture) -> NDArray[np.uint8]:
    """A photo in memory as (H, W, 3) uint8 RGB: turned, scaled and laid over white as a file's.

    Raises:
        PromptsegError: as `read_image`, or an array of another shape or type.
    """
    if isinstance(photo, Image.Image):
        with _named("the image", _IMAGE_MEND):
            return _rgb(photo, "the image")
    pixels = np.asarray(photo)
    if pixels.size and pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3:
        return np.array(pixels, np.uint8)
    with_alpha = pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 4
    if pixels.size and (with_alpha or (pixels.dtype in (np.uint8, np.uint16) and pixels.ndim == 2)):
        return _rgb(Image.fromarray(pixels), "the image")
    raise PromptsegError(f"the image is {pixels.dtype} {pixels.shape}: give a (H, W, 3) uint8 RGB array")


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
        return _rgb(picture, path)


def decode_image(content: bytes) -> NDArray[np.uint8]:
    """A photo (H, W, 3) from the bytes of its file, as `read_image` reads it; raises as that does."""
    with _named("the photo", _IMAGE_MEND), _decoder(io.BytesIO(content)) as picture:
        return _rgb(picture, "the photo")


def _rgb(picture: Image.Image, name: object) -> NDArray[np.uint8]:
    """The pixels of a picture; errors call it by the name."""
    upright = picture if _orientation(picture) == 1 else ImageOps.exif_transpose(picture)
    if upright.mode == "F":
        raise DefectError(name, "holds floating-point values", _IMAGE_MEND)
    if upright.mode in _SIXTEEN_BIT:
        upright = Image.fromarray(_eight_bits(name, np.asarray(upright)))
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
    """Read class ids as (H, W) uint8 from a grey or palette picture; in a palette the index is the id, not the colour.

    Raises:
        PromptsegError: as `read_values`, or ids outside 0..255.
    """
    ids = read_values(path)
    strange = ids.min() if ids.min() < 0 else ids.max()
    if not 0 <= strange <= 255:
        raise DefectError(path, f"holds the id {strange}, where 0..255 was expected", _LABEL_MEND)
    return ids.astype(np.uint8, copy=False)


def read_values(path: str | Path) -> NDArray[np.uint8 | np.int32]:
    """Read the values of a lossless picture, (H, W): uint8, or int32 where they are wider.

    Grey of 1 to 16 bits, a palette (its indices), or whole numbers stored as floating point. Values are those in the
    file, also where fewer than 8 bits hold them.

    Raises:
        PromptsegError: not a readable picture, colours instead of values, fractions, or a lossy format.
    """
    return read_indices(path)[0]


def read_indices(path: str | Path) -> tuple[NDArray[np.uint8 | np.int32], NDArray[np.uint8] | None]:
    """Read values as `read_values` does, and the colours (K, 3) of the palette that they are indices of, if any."""
    with _opened(Path(path), _LABEL_MEND) as picture:
        _check_lossless(path, picture)
        if picture.mode not in ("1", "L", "P", "F", *_SIXTEEN_BIT):
            reason = f"holds {picture.mode} pixels, where one class id per pixel was expected"
            raise DefectError(path, reason, _LABEL_MEND)
        stretched = _stretched(picture)
        values = np.array(picture)
        colors = np.array(picture.getpalette("RGB"), np.uint8).reshape(-1, 3) if picture.mode == "P" else None
    if values.dtype.kind == "f":
        if not (values == np.round(values)).all() or np.abs(values).max() > 2**24:
            raise DefectError(path, "holds fractions, where one class id per pixel was expected", _LABEL_MEND)
        return values.astype(np.int32), None
    if values.dtype in (np.uint8, np.bool_):
        return values.astype(np.uint8) // np.uint8(stretched), colors
    return values.astype(np.int32), None


def has_colors(path: str | Path) -> bool:
    """Whether a picture holds colours, not values; told by its header. Raises as `read_values` does."""
    with _opened(Path(path), _LABEL_MEND) as picture:
        return picture.mode in ("RGB", "RGBA")


def read_colors(path: str | Path) -> NDArray[np.uint8]:
    """Read a lossless picture that shows classes or objects as colours, (H, W, 3) uint8.

    Raises:
        PromptsegError: not a readable picture of colours, a lossy format, or pixels that are partly transparent.
    """
    with _opened(Path(path), _LABEL_MEND) as picture:
        _check_lossless(path, picture)
        pixels = np.array(picture)
    if pixels.ndim != 3 or pixels.shape[2] not in (3, 4):
        raise DefectError(path, "holds no colours", _LABEL_MEND)
    if pixels.shape[2] == 4 and (pixels[..., 3] != 255).any():
        raise DefectError(path, "has transparent pixels, which are of no colour", "save it without transparency")
    return pixels[..., :3]


def _check_lossless(path: str | Path, picture: Image.Image) -> None:
    if picture.format not in _LOSSLESS:
        raise DefectError(path, f"a {picture.format} file, where labels must be PNG", _LOSSY_MEND)


def _stretched(picture: Image.Image) -> int:
    """What Pillow multiplies grey values of 2 or 4 bits by when it decodes a picture; 1 for all others."""
    tiles = getattr(picture, "tile", [])
    arguments = tiles[0][3] if tiles else None
    raw = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return {"L;2": 85, "L;4": 17}.get(str(raw), 1)


def read_channels(path: str | Path, mode: Literal["RGB", "RGBA"]) -> NDArray[np.uint8]:
    """Read a PNG whose channels encode numbers, (H, W, 3 or 4) uint8, without any change of colour.

    Raises:
        PromptsegError: not a readable PNG, or of another mode.
    """
    mend = "take the file as it was published"
    with _opened(Path(path), mend) as picture:
        if picture.format != "PNG":
            raise DefectError(path, f"a {picture.format} file, where labels must be PNG", mend)
        if picture.mode != mode:
            reason = f"holds {picture.mode} pixels, where segment numbers as {mode} were expected"
            raise DefectError(path, reason, mend)
        return np.array(picture)


def resize_image(
    array: NDArray[np.uint8], size: tuple[int, int], resampling: Literal["bilinear", "bicubic"] = "bilinear"
) -> NDArray[np.uint8]:
    """Resize (H, W, 3) to `size` = (h, w) with a filter of Pillow's, which averages when it shrinks."""
    return np.array(Image.fromarray(array).resize((size[1], size[0]), Image.Resampling[resampling.upper()]))


def at_most(size: tuple[int, int], pixels: int) -> tuple[int, int]:
    """A size (H, W), shrunk to about so many pixels where it has more."""
    share = sqrt(pixels / (size[0] * size[1]))
    return size if share >= 1 else (max(1, int(size[0] * share)), max(1, int(size[1] * share)))


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
    with atomic_path(path) as temporary:
        label_picture(labels, colors).save(temporary, format="PNG")


def label_picture(labels: NDArray[np.uint8], colors: Sequence[Color]) -> Image.Image:
    """A label map (H, W) as a palette picture."""
    picture = Image.fromarray(labels)
    picture.putpalette(palette(colors).tobytes())
    return picture


def png(picture: Image.Image) -> bytes:
    """A picture as the bytes of a PNG file."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def jpeg(picture: NDArray[np.uint8], quality: int) -> bytes:
    """A picture (H, W, 3) as the bytes of a JPEG file."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


@contextmanager
def _opened(path: Path, mend: str) -> Iterator[Image.Image]:
    """Open a picture, to be decoded inside; whatever Pillow raises becomes one line that names the file."""
    with _named(path, mend), _decoder(path) as picture:
        yield picture


def _decoder(source: Path | BinaryIO) -> Image.Image:
    picture = Image.open(source, formats=_FORMATS)
    if picture.width * picture.height > MAX_PIXELS:
        picture.close()
        raise Image.DecompressionBombError
    return picture


@contextmanager
def _named(name: object, mend: str) -> Iterator[None]:
    try:
        yield
    except DefectError:
        raise
    except FileNotFoundError:
        raise DefectError(name, "no such file", "put it there, or name one that is there") from None
    except UnidentifiedImageError:
        raise DefectError(name, "not an image that can be read", mend) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise DefectError(name, f"over {MAX_PIXELS:,} pixels", "shrink it, or cut it into tiles") from None
    except Exception as error:  # broken bytes make decoders raise a dozen types
        raise DefectError(name, f"cannot be read ({error})", mend) from None


def _orientation(picture: Image.Image) -> int:
    """EXIF orientation, 1 to 8, of a picture not yet decoded; Pillow turns TIFF by itself, its size included."""
    # Pillow would decode a whole PNG to look for EXIF behind the pixels, where next to nobody puts it.
    if picture.format == "PNG" and "exif" not in picture.info:
        return 1
    return int(picture.getexif().get(0x0112, 1))


def _eight_bits(name: object, values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Scale 0..65535 to 0..255."""
    wide = values.astype(np.int64)
    if wide.min() < 0 or wide.max() > 65535:
        raise DefectError(name, f"holds grey values up to {wide.max()}, over 16 bits", _IMAGE_MEND)
    return ((wide + 128) // 257).astype(np.uint8)
