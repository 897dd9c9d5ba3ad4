"""Regions that a click takes whole: superpixels of the photo's colours and the model's own map.

Local k-means as in SLIC (Achanta et al., 2012): a seed per cell of a grid, every pixel to the nearest of the nine seeds
around it, by colour, features and place. What is cut off from the rest of its region goes to the region beside it.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage, sparse

from promptseg.app.photos import shrunk

SMALLEST, LARGEST = 4, 200
"""Bounds of a region's size, pixels a side."""
_WORK = 1000
"""Longest side at which regions are worked out, pixels."""
_ROUNDS = 3
_COMPACT = 0.7
"""Weight of the place against colours and features of unit variance."""
_DIRECTIONS = 3
"""Principal directions of the model's map that count."""

Values = NDArray[np.float32]


def regions(photo: NDArray[np.uint8], spacing: int, maps: Values | None = None) -> NDArray[np.int32]:
    """Cut a photo into regions of about `spacing` pixels a side.

    Args:
        photo: (H, W, 3) uint8 RGB.
        spacing: side of a region, pixels.
        maps: (D, h, w), a dense map of the model's features, at any stride; None = the photo's colours alone.

    Returns:
        (H, W) int32, the region of every pixel, 0..R-1, each of them connected.
    """
    size = photo.shape[:2]
    small = shrunk(photo, _WORK)
    cell = max(2, round(spacing * small.shape[1] / size[1]))
    channels = _unit(ndimage.gaussian_filter(small.astype(np.float32), (0.8, 0.8, 0)).transpose(2, 0, 1))
    if maps is not None:
        channels = np.concatenate((channels, _unit(_resized(_principal(maps), small.shape[:2]))))
    found = _connected(_clustered(channels, cell))
    return np.array(Image.fromarray(found).resize(size[::-1], Image.Resampling.NEAREST))


def _unit(channels: Values) -> Values:
    """Channels (C, h, w) scaled to a variance of 1 over all of them."""
    centred = channels - channels.mean((1, 2), keepdims=True)
    scaled: Values = centred / (np.sqrt((centred**2).sum(0).mean()) + 1e-6)
    return scaled


def _principal(maps: Values) -> Values:
    """The directions of a map (D, h, w) that vary most: (3, h, w)."""
    flat = maps.reshape(len(maps), -1)
    flat = flat - flat.mean(1, keepdims=True)
    _, directions = np.linalg.eigh(flat @ flat.T)
    kept: Values = (directions[:, -_DIRECTIONS:].T @ flat).reshape(-1, *maps.shape[1:])
    return kept


def _resized(channels: Values, size: tuple[int, int]) -> Values:
    pictures = (Image.fromarray(channel).resize(size[::-1], Image.Resampling.BILINEAR) for channel in channels)
    return np.stack([np.array(picture) for picture in pictures])


def _clustered(channels: Values, cell: int) -> NDArray[np.int32]:
    """The seed nearest to each pixel of (C, h, w), among those of its own cell and of the eight around it: (h, w)."""
    height, width = channels.shape[1:]
    rows, columns = -(-height // cell), -(-width // cell)
    place = np.indices((height, width), np.float32) * (_COMPACT / cell)
    points = np.concatenate((channels, place))
    padded = np.pad(points, ((0, 0), (0, rows * cell - height), (0, columns * cell - width)), mode="edge")
    # By cell: (C, rows, cell, columns, cell), so that a cell's seed meets its pixels by broadcasting.
    blocks = padded.reshape(len(points), rows, cell, columns, cell)
    number = np.arange(rows * columns).reshape(rows, 1, columns, 1)
    nearest = np.broadcast_to(number, blocks.shape[1:])
    for _ in range(_ROUNDS):
        seeds = _means(blocks, nearest, rows * columns).reshape(-1, rows, columns)
        best = np.full(blocks.shape[1:], np.inf, np.float32)
        for seed, around in zip(_shifts(seeds), _shifts(number.reshape(1, rows, columns)), strict=True):
            distance = np.zeros_like(best)
            for block, value in zip(blocks, seed, strict=True):
                distance += (block - value[:, None, :, None]) ** 2
            nearest = np.where(distance < best, around[0][:, None, :, None], nearest)
            np.minimum(best, distance, out=best)
    return nearest.reshape(rows * cell, columns * cell)[:height, :width].astype(np.int32)


def _shifts(grid: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """A grid (C, rows, columns) moved by one cell each way, and as it is; at the border it repeats."""
    padded = np.pad(grid, ((0, 0), (1, 1), (1, 1)), mode="edge")
    for down in range(3):
        for right in range(3):
            yield padded[:, down : down + grid.shape[1], right : right + grid.shape[2]]


def _means(blocks: Values, group: NDArray[np.intp], count: int) -> Values:
    """Mean of the points (C, ...) of each group: (C, G); far away where a group is empty."""
    flat = group.ravel()
    members = np.bincount(flat, minlength=count)
    sums = np.stack([np.bincount(flat, weights=channel.ravel(), minlength=count) for channel in blocks])
    return np.where(members > 0, sums / np.maximum(members, 1), 1e6).astype(np.float32)


def _connected(found: NDArray[np.int32]) -> NDArray[np.int32]:
    """The largest part of every region; other parts take the region of the nearest pixel. Numbered 0..R-1."""
    part = _parts(found)
    sizes = np.bincount(part.ravel())
    region = np.zeros(len(sizes), np.int32)
    region[part.ravel()] = found.ravel()
    largest = np.lexsort((-sizes, region))
    kept = np.zeros(len(sizes), bool)
    kept[largest[np.unique(region[largest], return_index=True)[1]]] = True
    _, (rows, columns) = ndimage.distance_transform_edt(~kept[part], return_indices=True)
    merged = found[rows, columns]
    numbers: NDArray[np.int32] = np.unique(_parts(merged), return_inverse=True)[1].reshape(found.shape).astype(np.int32)
    return numbers


def _parts(found: NDArray[np.int32]) -> NDArray[np.int32]:
    """Connected parts of equal value of a map (h, w), by the four neighbours: the number of each pixel's part."""
    index = np.arange(found.size).reshape(found.shape)
    right, down = found[:, 1:] == found[:, :-1], found[1:] == found[:-1]
    start = np.concatenate((index[:, :-1][right], index[:-1][down]))
    end = np.concatenate((index[:, 1:][right], index[1:][down]))
    graph = sparse.coo_matrix((np.ones(len(start), bool), (start, end)), shape=(found.size, found.size))
    _, part = sparse.csgraph.connected_components(graph, directed=False)
    numbers: NDArray[np.int32] = part.reshape(found.shape)
    return numbers
