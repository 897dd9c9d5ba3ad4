"""From predictions to the likeliest class of every pixel: of a photo at once, or of one that comes tile by tile.

Where tiles overlap, the class is the likeliest of p = sum over tiles of w p_tile, with p_tile the class distribution
that a tile gives the pixel, and w its weight, which falls towards the tile's border; the weights add up to 1.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from promptseg.data.photo_maps import new_map
from promptseg.data.tiles import Stretch, Tile, shifted
from promptseg.models.base import Prediction, Size
from promptseg.models.evidence import Evidence, largest, likeliest, log_odds
from promptseg.tasks.enlarge import BILINEAR, Enlarging, bands

_TINY = 1e-8


@dataclass(frozen=True, eq=False)
class PixelScores:
    """What is said of the C classes at some pixels.

    Attributes:
        own: the model's semantic map m, (C, h, w).
        found: e of pixel prompts, (C, h, w); none without.
        evidence: which pixel prompts that comes from; none without.
    """

    own: Tensor
    found: Tensor | None = None
    evidence: Evidence | None = None

    def labels(self) -> Tensor:
        """The likeliest class of each pixel, (h, w) int64."""
        if self.found is None or self.evidence is None:
            return largest(self.own)
        return likeliest(self.own, self.found, self.evidence.trust, self.evidence.taught)

    def probabilities(self) -> Tensor:
        """The distribution over the classes at each pixel, (C, h, w)."""
        if self.found is None or self.evidence is None:
            return self.own / (self.own.sum(0) + _TINY)
        odds = log_odds(self.own, self.found, self.evidence.trust, self.evidence.taught)
        return odds.softmax(0).to(self.own)

    def part(self, rows: slice, columns: slice) -> "PixelScores":
        """Those of some of the pixels."""
        found = None if self.found is None else self.found[:, rows, columns]
        return PixelScores(self.own[:, rows, columns], found, self.evidence)


def pixel_scores(prediction: Prediction, index: int, size: Size) -> Iterator[tuple[slice, PixelScores]]:
    """What is said of image `index` at `size` (H, W), some columns at a time: the columns, and their scores."""
    probabilities, evidence = prediction.class_logits[index].softmax(-1)[:, :-1].mT, prediction.evidence
    products = () if evidence is None else evidence.image(index).maps
    sources = [(prediction.mask_logits[index], prediction.upsampling), *((one[0], BILINEAR) for one in products)]
    enlarged = [
        Enlarging.of(maps, prediction.canvas, prediction.image_sizes[index], size, rule) for maps, rule in sources
    ]
    classes = len(probabilities)
    for columns, tiles in bands(enlarged, classes if evidence is None else 2 * classes):
        shape = (classes, size[0], columns.stop - columns.start)
        own, added = probabilities.new_empty(shape), None if evidence is None else probabilities.new_empty(shape)
        for rows, (masks, *levels) in tiles:
            own[:, rows] = (probabilities @ masks.sigmoid_()).transpose(0, 1)
            if added is not None and evidence is not None:
                found = levels[0].add_(evidence.bias[:, None])
                for level in levels[1:]:
                    found += level
                added[:, rows] = found.transpose(0, 1)
        yield columns, PixelScores(own, added, evidence)


@torch.no_grad()
def label_map(prediction: Prediction, index: int, size: Size) -> NDArray[np.uint8]:
    """The most likely class of every pixel of image `index`: (H, W) uint8 at `size`."""
    labels = np.empty(size, np.uint8)
    for columns, scores in pixel_scores(prediction, index, size):
        labels[:, columns] = scores.labels().to("cpu", torch.uint8)
    return labels


@dataclass(eq=False)
class _Seam:
    """Pixels that several tiles see: the sum of what they said, and how many have."""

    sums: Tensor
    said: int = 0


class LabelMosaic:
    """A label map that comes tile by tile; it holds the label map, and the scores of unfinished seams alone."""

    def __init__(self, size: Size) -> None:
        self._labels = new_map(size, np.uint8)
        self._seams: dict[tuple[int, int], _Seam] = {}

    @torch.no_grad()
    def add(self, prediction: Prediction, index: int, tile: Tile) -> None:
        """Take what image `index` of a prediction says of a tile."""
        shared = [(down, across) for down, across in product(tile.down, tile.across) if _owners(down, across) > 1]
        for columns, scores in pixel_scores(prediction, index, tile.size):
            span = shifted(columns, tile.columns.start)
            # Seams as well, until all tiles that see them have been there.
            self._labels[tile.rows, span] = scores.labels().to("cpu", torch.uint8)
            for down, across in shared:
                self._add_part(scores, tile, span, down, across)
        for down, across in shared:
            self._close(down, across)

    def finish(self) -> NDArray[np.uint8]:
        """The label map (H, W), when all tiles were added."""
        return self._labels

    def _add_part(self, scores: PixelScores, tile: Tile, span: slice, down: Stretch, across: Stretch) -> None:
        """Add to a seam what was said of those of its pixels that lie in a span of columns."""
        start, stop = max(span.start, across.span.start), min(span.stop, across.span.stop)
        if start >= stop:
            return
        rows, _ = tile.inside((down.span, across.span))
        found = scores.part(rows, slice(start - span.start, stop - span.start)).probabilities()
        inside = slice(start - across.span.start, stop - across.span.start)
        weights = torch.from_numpy(down.weights[:, None] * across.weights[inside]).to(found)
        key = down.span.start, across.span.start
        if key not in self._seams:
            width = across.span.stop - across.span.start
            self._seams[key] = _Seam(found.new_zeros(*found.shape[:2], width))
        self._seams[key].sums[..., inside] += found * weights

    def _close(self, down: Stretch, across: Stretch) -> None:
        """Note that a tile has said all of a seam; the last one makes it labels."""
        key = down.span.start, across.span.start
        self._seams[key].said += 1
        if self._seams[key].said == _owners(down, across):
            self._labels[down.span, across.span] = largest(self._seams.pop(key).sums).to("cpu", torch.uint8)


def _owners(down: Stretch, across: Stretch) -> int:
    return down.seen_by * across.seen_by
