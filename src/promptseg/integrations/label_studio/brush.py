"""Masks as Label Studio's brush stores them: run lengths, packed bit by bit, of the RGBA values of all pixels.

The packing is that of `@thi.ng/rle-pack`: 32 bits for the number of values, 5 for their width less one, 4 x 4 for the
widths of lengths less one; then blocks of a bit (a run, or single values), 2 bits that choose the width of the length,
the length less one, and the value of the run, or as many values. Only the fourth value of a pixel, alpha, counts.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from promptseg.errors import PromptsegError
from promptseg.models.base import Size

_WIDTHS = (3, 4, 8, 16)
_VALUE = 8
_CHANNELS = 4
_PAINTED = 128
"""Alpha from which a pixel is painted: the brush's borders are soft."""
_BROKEN = "a brush region is broken: draw it again"


def encode_brush(mask: NDArray[np.bool_]) -> list[int]:
    """The bytes of a mask (H, W)."""
    flat = mask.ravel()
    borders = np.flatnonzero(np.diff(flat)) + 1
    starts = np.concatenate(([0], borders))
    lengths = np.diff(np.concatenate((starts, [flat.size]))) * _CHANNELS
    bits = [f"{flat.size * _CHANNELS:032b}{_VALUE - 1:05b}", *(f"{width - 1:04b}" for width in _WIDTHS)]
    for length, painted in zip(lengths.tolist(), flat[starts].tolist(), strict=True):
        value = f"{255 * painted:0{_VALUE}b}"
        bits += (f"{_run(part)}{value}" for part in _split(length))
    packed = np.frombuffer("".join(bits).encode(), np.uint8) - ord("0")
    return [int(byte) for byte in np.packbits(packed)]


def _split(length: int) -> list[int]:
    """Lengths that each fit into the widest length there is."""
    longest = 1 << _WIDTHS[-1]
    return [longest] * (length // longest) + ([length % longest] if length % longest else [])


def _run(length: int) -> str:
    index = next(index for index, width in enumerate(_WIDTHS) if length <= 1 << width)
    return f"1{index:02b}{length - 1:0{_WIDTHS[index]}b}"


def decode_brush(content: Sequence[int], size: Size) -> NDArray[np.bool_]:
    """The mask (H, W) of bytes, for a photo of that size.

    Raises:
        PromptsegError: they are none, or of a photo of another size.
    """
    try:
        bits = "".join(f"{byte:08b}" for byte in bytes(content))
        count, width = int(bits[:32], 2), int(bits[32:37], 2) + 1
        widths = [int(bits[37 + 4 * index : 41 + 4 * index], 2) + 1 for index in range(4)]
    except (TypeError, ValueError):
        raise PromptsegError(_BROKEN) from None
    if count != size[0] * size[1] * _CHANNELS:
        pixels = f"{count // _CHANNELS} pixels, on a photo of {size[1]}x{size[0]}"
        raise PromptsegError(f"a brush region has {pixels}: draw it again")
    values = np.zeros(count, np.uint8)
    at = done = 0
    at = 37 + 4 * 4
    while done < count:
        try:
            start = at + 3 + widths[int(bits[at + 1 : at + 3], 2)]
            length, is_run = int(bits[at + 3 : start], 2) + 1, bits[at] == "1"
            at = start + (width if is_run else width * length)
            found = [int(bits[place : place + width], 2) for place in range(start, at, width)]
        except (ValueError, IndexError):
            raise PromptsegError(_BROKEN) from None
        if done + length > count or at > len(bits):
            raise PromptsegError(_BROKEN)
        values[done : done + length] = found
        done += length
    return values.reshape(*size, _CHANNELS)[..., -1] >= _PAINTED
