"""Objects and segments of a photo that comes tile by tile.

Two tiles see what lies where they overlap. Things of one class that they find there are one if the intersection of
their masks there is more than half of the union; stuff of one class is one wherever it is. Where there is no overlap,
a thing that goes over a border stays cut.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from promptseg.data.photo_maps import new_map
from promptseg.data.sample import PanopticLabels, Segment
from promptseg.data.tiles import Tile
from promptseg.models.base import Prediction, Size
from promptseg.tasks.base import row_blocks
from promptseg.tasks.instances import Instances, Runs, decode, encode_at

SAME = 0.5
"""Intersection over union, in the overlap of two tiles, from which on two things are one."""

AnswerT = TypeVar("AnswerT", PanopticLabels, Instances)
Answer = Callable[[Prediction, int, Size], AnswerT]
"""What a task says of an image of a prediction, at a size (height, width)."""


@dataclass(frozen=True, eq=False)
class _Seen(Generic[AnswerT]):
    """What a tile said, whose things have the numbers from `first` on."""

    tile: Tile
    answer: AnswerT
    first: int


class _Neighbours(Generic[AnswerT]):
    """The tiles that may overlap those to come: at most about a row of them."""

    def __init__(self) -> None:
        self._seen: list[_Seen[AnswerT]] = []

    def add(self, new: _Seen[AnswerT]) -> list[tuple[_Seen[AnswerT], tuple[slice, slice]]]:
        """Add a tile; the earlier ones that overlap it, with the rows and columns of the photo that both see."""
        self._seen = [old for old in self._seen if old.tile.rows.stop > new.tile.rows.start]
        found = [(old, part) for old in self._seen if (part := old.tile.shared(new.tile)) is not None]
        self._seen.append(new)
        return found


class _Groups:
    """Numbers from 0 on, some of which are one: a forest whose roots are the smallest numbers of their groups."""

    def __init__(self) -> None:
        self._parents: list[int] = []

    def __len__(self) -> int:
        return len(self._parents)

    def extend(self, count: int) -> None:
        """Add numbers that are one with no other."""
        self._parents += range(len(self), len(self) + count)

    def join(self, one: int, other: int) -> None:
        """Make the groups of two numbers one."""
        low, high = sorted((self.root(one), self.root(other)))
        self._parents[high] = low

    def root(self, number: int) -> int:
        """The smallest number of a group."""
        while self._parents[number] != number:
            self._parents[number] = number = self._parents[self._parents[number]]
        return number


class PanopticMosaic:
    """A panoptic map that comes tile by tile, each pixel from the tile whose border is farthest."""

    def __init__(self, size: Size, answer: Answer[PanopticLabels], thing_ids: Collection[int]) -> None:
        """Start at `size` (H, W) without a segment; the segments of an answer have the ids 1, 2, ..."""
        self._map, self._answer, self._things = new_map(size, np.int32), answer, frozenset(thing_ids)
        self._groups, self._classes, self._stuff = _Groups(), list[int](), dict[int, int]()
        self._neighbours = _Neighbours[PanopticLabels]()

    def add(self, prediction: Prediction, index: int, tile: Tile) -> None:
        """Take the segments that image `index` of a prediction shows in a tile."""
        answer, first = self._answer(prediction, index, tile.size), len(self._groups)
        self._groups.extend(len(answer.segments))
        self._classes += [segment.class_id for segment in answer.segments]
        own = answer.map[tile.inside(tile.core)]
        self._map[tile.core] = np.where(own > 0, own + np.int32(first), 0)
        for number, segment in enumerate(answer.segments, first):
            if segment.class_id not in self._things:
                self._groups.join(number, self._stuff.setdefault(segment.class_id, number))
        new = _Seen(tile, answer, first)
        for old, part in self._neighbours.add(new):
            for one, other in self._same(old, new, part):
                self._groups.join(old.first + one, new.first + other)

    def finish(self) -> PanopticLabels:
        """The segments that have a pixel, in the order in which they were found."""
        count = len(self._groups) + 1
        areas = np.sum(
            [np.bincount(self._map[b].ravel(), minlength=count) for b in row_blocks(self._map.shape)], axis=0
        )
        roots = [self._groups.root(number) for number in range(count - 1)]
        there = sorted({root for number, root in enumerate(roots) if areas[number + 1]})
        numbers = {root: number for number, root in enumerate(there, 1)}
        renamed = np.array([0, *(numbers.get(root, 0) for root in roots)], np.int32)
        for block in row_blocks(self._map.shape):
            self._map[block] = renamed[self._map[block]]
        return PanopticLabels(self._map, tuple(Segment(numbers[root], self._classes[root]) for root in there))

    def _same(
        self, old: _Seen[PanopticLabels], new: _Seen[PanopticLabels], part: tuple[slice, slice]
    ) -> list[tuple[int, int]]:
        """The things of two tiles that are one; ids less 1."""
        shape = (len(old.answer.segments) + 1, len(new.answer.segments) + 1)
        one, other = (seen.answer.map[seen.tile.inside(part)].astype(np.int64) for seen in (old, new))
        common = np.bincount((one * shape[1] + other).ravel(), minlength=shape[0] * shape[1]).reshape(shape)
        union = common.sum(1, keepdims=True) + common.sum(0, keepdims=True) - common
        pairs = np.argwhere(common[1:, 1:] > SAME * union[1:, 1:])
        return [(int(i), int(j)) for i, j in pairs if self._is_one_thing(old.first + i, new.first + j)]

    def _is_one_thing(self, one: int, other: int) -> bool:
        return self._classes[one] == self._classes[other] and self._classes[one] in self._things


class InstanceMosaic:
    """Objects that come tile by tile; an object's mask is that of all its parts, its score that of the surest."""

    def __init__(self, size: Size, answer: Answer[Instances]) -> None:
        """Start at `size` (H, W) without an object."""
        self._size, self._answer, self._groups = size, answer, _Groups()
        self._neighbours = _Neighbours[Instances]()
        self._parts: list[tuple[int, float, Tile, Runs]] = []

    def add(self, prediction: Prediction, index: int, tile: Tile) -> None:
        """Take the objects that image `index` of a prediction shows in a tile."""
        answer = self._answer(prediction, index, tile.size)
        new = _Seen(tile, answer, len(self._groups))
        self._groups.extend(len(answer))
        found = zip(answer.class_ids.tolist(), answer.scores.tolist(), answer.runs, strict=True)
        self._parts += [(class_id, score, tile, runs) for class_id, score, runs in found]
        for old, part in self._neighbours.add(new):
            for one, other in _same_objects(old, new, part):
                self._groups.join(old.first + one, new.first + other)

    def finish(self) -> Instances:
        """All objects, the surest first."""
        groups: dict[int, list[int]] = defaultdict(list)
        for number in range(len(self._groups)):
            groups[self._groups.root(number)].append(number)
        class_ids = torch.tensor([self._parts[root][0] for root in groups], dtype=torch.int64)
        scores = torch.tensor([max(self._parts[i][1] for i in members) for members in groups.values()])
        runs = [self._joined([self._parts[i][2:] for i in members]) for members in groups.values()]
        order = scores.argsort(descending=True, stable=True)
        return Instances.of_runs(class_ids[order], scores[order], tuple(runs[i] for i in order.tolist()), self._size)

    def _joined(self, parts: Sequence[tuple[Tile, Runs]]) -> Runs:
        """The mask of several parts, in the photo."""
        top, left = (min(span.start for span in spans) for spans in _spans(parts))
        bottom, right = (max(span.stop for span in spans) for spans in _spans(parts))
        mask = np.zeros((bottom - top, right - left), bool)
        for tile, runs in parts:
            mask[
                tile.rows.start - top : tile.rows.stop - top, tile.columns.start - left : tile.columns.stop - left
            ] |= decode(runs)
        return encode_at(mask, (top, left), self._size)


def _spans(parts: Sequence[tuple[Tile, Runs]]) -> tuple[list[slice], list[slice]]:
    return [tile.rows for tile, _ in parts], [tile.columns for tile, _ in parts]


def _same_objects(old: _Seen[Instances], new: _Seen[Instances], part: tuple[slice, slice]) -> list[tuple[int, int]]:
    """The objects of two tiles that are one, each with one other at most: those that overlap most go first."""
    masks = [_masks_in(seen, part) for seen in (old, new)]
    common = masks[0] @ masks[1].T
    union = masks[0].sum(1)[:, None] + masks[1].sum(1) - common
    alike = old.answer.class_ids.cpu().numpy()[:, None] == new.answer.class_ids.cpu().numpy()
    overlap = np.where(alike, common / np.maximum(union, 1), 0)
    pairs: list[tuple[int, int]] = []
    taken: tuple[set[int], set[int]] = (set(), set())
    for i, j in sorted(np.argwhere(overlap > SAME).tolist(), key=lambda pair: -overlap[pair[0], pair[1]]):
        if i not in taken[0] and j not in taken[1]:
            pairs.append((i, j))
            taken[0].add(i)
            taken[1].add(j)
    return pairs


def _masks_in(seen: _Seen[Instances], part: tuple[slice, slice]) -> NDArray[np.float32]:
    """The masks of a tile in a part of the photo, (D, pixels)."""
    rows, columns = seen.tile.inside(part)
    masks = [seen.answer.mask(i)[rows, columns].ravel() for i in range(len(seen.answer))]
    count = (rows.stop - rows.start) * (columns.stop - columns.start)
    return np.array(masks, np.float32).reshape(len(masks), count)
