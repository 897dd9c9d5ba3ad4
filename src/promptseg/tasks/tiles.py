"""Enlarging mask logits bilinearly, one tile of the large map at a time, and the gradient of that."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import prod

import torch
from torch import Tensor

from promptseg.models.base import Size
from promptseg.tasks.masks import resize_matrix

TILE_ROWS = 32
"""Height of a tile where the whole width does not fit: about square tiles need the fewest neighbours."""
_ALIGNED = 16


class Scratch:
    """Memory for what is needed for one tile only: fresh memory costs more than what is done with it."""

    def __init__(self, like: Tensor) -> None:
        self._like = like
        self._held: dict[str, Tensor] = {}

    def take(self, name: str, *shape: int) -> Tensor:
        """A tensor of that shape with any content; the next one of that name takes its place."""
        count = prod(shape)
        if name not in self._held or self._held[name].numel() < count:
            self._held[name] = self._like.new_empty(count)
        return self._held[name][:count].view(shape)


@dataclass(frozen=True)
class Tile:
    """A tile of th x tw pixels of an enlarged map.

    Attributes:
        rows: rows of the large map.
        columns: columns of the large map.
        source: the rows and columns (sh, sw) of the small map that the tile depends on.
        weights: along the height (th, sh) and along the width (sw, tw); None where the maps are not enlarged at all.
        scratch: memory to work in.
    """

    rows: slice
    columns: slice
    source: tuple[slice, slice]
    weights: tuple[Tensor, Tensor] | None
    scratch: Scratch

    def enlarge(self, maps: Tensor) -> Tensor:
        """The tile's pixels (B, N, th * tw) of maps (B, N, h, w); valid until the next tile."""
        source = maps[(..., *self.source)]
        if self.weights is None:
            return self.scratch.take("pixels", *source.shape).copy_(source).flatten(2)
        down, across = self.weights
        wide = self.scratch.take("wide", *source.shape[:3], across.shape[1])
        torch.matmul(source, across, out=wide)
        pixels = self.scratch.take("pixels", *maps.shape[:2], len(down), across.shape[1])
        return torch.matmul(down, wide, out=pixels).flatten(2)

    def add_gradient(self, pixels: Tensor, maps: Tensor) -> None:
        """Add the gradient (B, N, th * tw) at the tile's pixels to that at the maps (B, N, h, w)."""
        source = maps[(..., *self.source)]
        if self.weights is None:
            source += pixels.view(source.shape)
            return
        down, across = self.weights
        wide = self.scratch.take("wide", *source.shape[:3], across.shape[1])
        torch.matmul(down.mT, pixels.unflatten(2, (len(down), -1)), out=wide)
        source += wide @ across.mT

    def of(self, labels: Tensor) -> Tensor:
        """The tile's pixels (B, th * tw) of large maps (B, H, W)."""
        return labels[:, self.rows, self.columns].flatten(1)


def tiles(maps: Tensor, size: Size, pixels: int, upsampling: str = "bilinear") -> Iterator[Tile]:
    """Tiles of at most about `pixels` pixels that cover maps (B, N, h, w) enlarged to `size`, row by row.

    Args:
        maps: the small maps.
        size: height and width of the large ones.
        pixels: how many pixels a tile may have.
        upsampling: `bilinear`, or `bicubic` with antialias.
    """
    height, width = size
    tall = min(height, max(TILE_ROWS, pixels // width))
    wide = min(width, max(_ALIGNED, pixels // tall // _ALIGNED * _ALIGNED))
    down = list(_strips(maps, maps.shape[-2], height, tall, upsampling))
    across = list(_strips(maps, maps.shape[-1], width, wide, upsampling))
    scratch = Scratch(maps)
    for (rows, top, vertical), (columns, left, horizontal) in product(down, across):
        if tuple(maps.shape[-2:]) == tuple(size):
            yield Tile(rows, columns, (rows, columns), None, scratch)
        else:
            yield Tile(rows, columns, (top, left), (vertical, horizontal.mT), scratch)


def _strips(maps: Tensor, old: int, new: int, step: int, upsampling: str) -> Iterator[tuple[slice, slice, Tensor]]:
    """Spans of one axis, the old samples that each depends on, and the weights of these."""
    weights = resize_matrix(old, new, upsampling, torch.float64, torch.device("cpu"))
    for start in range(0, new, step):
        span = slice(start, min(start + step, new))
        used = weights[span].any(dim=0).nonzero()
        reach = slice(int(used[0]), int(used[-1]) + 1)
        yield span, reach, weights[span, reach].to(maps)
