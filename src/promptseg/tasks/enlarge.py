"""Maps read at an output size, a tile at a time: what an answer adds up of many maps is never held for the whole photo.

From the decoder to the output there are two resizes, up to the canvas and, after a crop, to the output (masks.py). Both
are linear along each axis, so one matrix for each axis does both, and a tile needs the few samples that it depends on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from promptseg.models.base import Size, Upsampling
from promptseg.tasks.masks import resize_matrix

BILINEAR: Upsampling = "bilinear"
"""How evidence of pixel prompts is enlarged, whatever the model does with masks."""
VALUES = {"cpu": 2**19, "cuda": 2**26}
"""Values of a tile: few enough for a CPU's cache, enough to keep a GPU busy."""
BAND_VALUES = 2**23
"""Values that are kept of a band of columns: 32 MiB."""
_TALL = 16
"""Rows of a tile, where its columns do not all fit."""


@dataclass(frozen=True, eq=False)
class Enlarging:
    """Maps of one image and what brings them to an output size.

    Attributes:
        maps: (N, h, w), over the canvas.
        down: (H, h), weights of the maps' rows in those of the output.
        across: (W, w), the same of columns.
    """

    maps: Tensor
    down: Tensor
    across: Tensor

    @staticmethod
    def of(maps: Tensor, canvas: Size, image: Size, size: Size, upsampling: Upsampling) -> "Enlarging":
        """Maps (N, h, w) enlarged to the canvas, cropped to the image at its top left, and resized to `size`."""
        down, across = (
            _weights(old, whole, part, new, upsampling).to(maps)
            for old, whole, part, new in zip(maps.shape[1:], canvas, image, size, strict=True)
        )
        return Enlarging(maps, down, across)


def bands(maps: Sequence[Enlarging], depth: int) -> Iterator[tuple[slice, Iterator[tuple[slice, list[Tensor]]]]]:
    """Bands of columns that cover the output, and the tiles of each: rows, and the values of each of `maps` there.

    Args:
        maps: of one output size.
        depth: values that whoever reads them keeps for each pixel of a band.

    Returns:
        Columns, and rows with tensors (rows, N, columns), from the top down.
    """
    height, width = len(maps[0].down), len(maps[0].across)
    budget = max(1, VALUES[maps[0].maps.device.type] // sum(len(one.maps) for one in maps))
    wide = max(1, min(width, budget // min(height, _TALL), BAND_VALUES // (height * depth)))
    for columns in _spans(width, wide):
        yield columns, _tiles(maps, columns, max(1, budget // wide))


def _tiles(maps: Sequence[Enlarging], columns: slice, tall: int) -> Iterator[tuple[slice, list[Tensor]]]:
    found = [_across(one, columns) for one in maps]
    for rows in _spans(len(maps[0].down), tall):
        yield rows, [_down(one, band, rows) for one, band in zip(maps, found, strict=True)]


def _across(one: Enlarging, columns: slice) -> Tensor:
    """Some columns of the output for all rows of the maps: (h, N, columns)."""
    weights, used = _needed(one.across[columns])
    return one.maps[:, :, used].transpose(0, 1) @ weights.mT


def _down(one: Enlarging, band: Tensor, rows: slice) -> Tensor:
    """Some rows of the output of a band of columns: (rows, N, columns)."""
    weights, used = _needed(one.down[rows])
    return (weights @ band[used].flatten(1)).view(len(weights), *band.shape[1:])


def _needed(weights: Tensor) -> tuple[Tensor, slice]:
    """The weights without what is 0 before and behind, and where the others stand."""
    used = weights.any(dim=0).nonzero()
    reach = slice(int(used[0]), int(used[-1]) + 1)
    return weights[:, reach], reach


def _weights(old: int, canvas: int, image: int, new: int, upsampling: Upsampling) -> Tensor:
    """Weights (new, old) of one axis: to the canvas by the model's rule, cropped, and bicubic to the output."""
    cpu = torch.device("cpu")
    up = torch.eye(old, dtype=torch.float64)
    if old != canvas:
        up = resize_matrix(old, canvas, upsampling, torch.float64, cpu)
    up = up[:image]
    return up if image == new else resize_matrix(image, new, "bicubic", torch.float64, cpu) @ up


def _spans(length: int, step: int) -> list[slice]:
    return [slice(start, min(start + step, length)) for start in range(0, length, step)]
