"""Objects found in an image: scored masks, which may overlap, and masks as run lengths."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from torch import Tensor

from promptseg.models.base import Size

Runs = dict[str, Any]
"""A mask (H, W) as the run lengths of its columns, one after the other, as COCO's tools compress them."""


class Instances:
    """D detections of one image, best score first.

    Masks are kept as run lengths: a hundred of a 48-megapixel photo are 5 GB as truth values, and a megabyte so.

    Attributes:
        class_ids: (D,) int64.
        scores: (D,) float, 0..1.
        runs: the D masks.
        size: height and width of the image, pixels.
    """

    def __init__(self, class_ids: Tensor, scores: Tensor, masks: Tensor | NDArray[np.bool_]) -> None:
        """Detections whose masks are (D, H, W) bool."""
        arrays = masks.cpu().numpy() if isinstance(masks, Tensor) else masks
        self.class_ids, self.scores = class_ids, scores
        self.runs: tuple[Runs, ...] = tuple(map(encode, arrays))
        self.size: Size = (arrays.shape[1], arrays.shape[2])

    @classmethod
    def of_runs(cls, class_ids: Tensor, scores: Tensor, runs: tuple[Runs, ...], size: Size) -> "Instances":
        """Detections whose masks are run lengths already, in an image of `size` (height, width)."""
        found = cls(class_ids, scores, np.zeros((0, *size), bool))
        found.runs = runs
        return found

    def __len__(self) -> int:
        return len(self.class_ids)

    def mask(self, index: int) -> NDArray[np.bool_]:
        """The mask (H, W) of a detection."""
        return decode(self.runs[index])

    @property
    def masks(self) -> Tensor:
        """All masks, (D, H, W) bool on the CPU; of a large image, take one after the other by `mask`."""
        found = torch.empty((len(self), *self.size), dtype=torch.bool)
        for index in range(len(self)):
            found[index] = torch.from_numpy(self.mask(index))
        return found


def window(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """The smallest rows and columns that hold all of a mask (H, W); both empty for an empty one."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return slice(0, 0), slice(0, 0)
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def encode(mask: NDArray[np.bool_]) -> Runs:
    """The run lengths of a mask (H, W)."""
    rows, columns = window(mask)
    # They want columns one after the other; turning the window alone is five times faster than all of a large mask.
    turned = np.zeros(mask.shape[::-1], np.uint8)
    turned[columns, rows] = mask[rows, columns].T
    lengths: Runs = coco_mask.encode(turned.T)
    return lengths


def encode_at(mask: NDArray[np.bool_], corner: tuple[int, int], size: Size) -> Runs:
    """The run lengths, in an image of `size` (H, W), of a mask (h, w) whose first row and column are `corner`."""
    columns = np.pad(mask.T, ((0, 0), (1, 1)))
    column, row = np.nonzero(columns[:, 1:] != columns[:, :-1])
    places = (column + corner[1]) * size[0] + corner[0] + row
    # A run that goes on from the foot of a column to the head of the next ends and begins at one place.
    goes_on = np.flatnonzero(places[1:] == places[:-1])
    places = np.delete(places, np.concatenate((goes_on, goes_on + 1)))
    end = size[0] * size[1]
    return _compressed(np.diff(places[places < end], prepend=0, append=end), size)


def _compressed(lengths: NDArray[np.int64], size: Size) -> Runs:
    """Lengths of runs, the first of them outside the mask."""
    runs: Runs = coco_mask.frPyObjects({"size": list(size), "counts": lengths.tolist()}, *size)
    return runs


def decode(runs: Runs) -> NDArray[np.bool_]:
    """The mask (H, W) of run lengths."""
    mask: NDArray[np.bool_] = coco_mask.decode(runs).view(bool)
    return mask


class RunLengths:
    """Collects the run lengths of N masks (H, W) from strips of their columns, from left to right."""

    def __init__(self, count: int, size: Size, device: torch.device) -> None:
        """Start at the left border."""
        self._size = size
        self._before = torch.zeros(count, 1, dtype=torch.bool, device=device)
        self._seen = 0
        # Which mask changes where. One array that grows: small ones between the strips would keep the C library from
        # using the memory of a strip for the next.
        self._changes = np.empty((2, 2**16), np.int64)
        self._count = 0

    def add(self, masks: Tensor) -> None:
        """The next columns, (N, H, columns) bool."""
        line = torch.cat((self._before, masks.mT.flatten(1)), dim=1)
        which, where = (line[:, 1:] != line[:, :-1]).nonzero(as_tuple=True)
        end = self._count + len(which)
        if end > self._changes.shape[1]:
            more = np.empty((2, end), np.int64)
            self._changes = np.concatenate((self._changes[:, : self._count], more), axis=1)
        self._changes[0, self._count : end] = which.cpu().numpy()
        self._changes[1, self._count : end] = (where + self._seen).cpu().numpy()
        self._before, self._seen, self._count = line[:, -1:].clone(), self._seen + line.shape[1] - 1, end

    def finish(self) -> list[Runs]:
        """The run lengths, when all columns were added."""
        which, where = self._changes[:, : self._count]
        counts = np.bincount(which, minlength=len(self._before))
        of_masks = np.split(where[np.argsort(which, kind="stable")], counts.cumsum()[:-1])
        return [_compressed(np.diff(places, prepend=0, append=self._seen), self._size) for places in of_masks]
