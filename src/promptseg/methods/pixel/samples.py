"""Labelled pixels of the shots, a fixed budget of them whatever the number of photos, and what the model makes of each.

The budget is shared out evenly over the photos. Of a photo's part one half goes to its pixels at large and one half
evenly to the classes that it shows, so that rare classes have pixels too; each pixel weighs 1 / the probability
that it was taken, which makes weighted sums over the samples unbiased estimates of those over all labelled pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from promptseg.errors import PromptsegError
from promptseg.label_space import IGNORE
from promptseg.models.base import Prediction, Size
from promptseg.seeds import generator_at

_AT_LARGE = 0.5
"""Of the pixels of a photo, those that are taken wherever they are."""


@dataclass(frozen=True, eq=False)
class PixelSamples:
    """n labelled pixels.

    Attributes:
        features: (n, sum of D_l), the dense maps there, side by side.
        labels: (n,) int64, classes.
        answers: (n, C), the model's own evidence m for each class.
        weights: (n,), how many labelled pixels each stands for.
        shots: (n,) int64, the photo of each, from 0; photos without a label have no number.
    """

    features: Tensor
    labels: Tensor
    answers: Tensor
    weights: Tensor
    shots: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def classes(self) -> Tensor:
        """The classes that are there, ascending: (T,) int64."""
        found: Tensor = self.labels.unique()
        return found

    def among(self, classes: Tensor) -> "PixelSamples":
        """The same pixels for the classes (T,) alone, ascending, all that are there: labels are places in them."""
        return replace(self, labels=torch.searchsorted(classes, self.labels), answers=self.answers[:, classes])

    def at(self, rows: Tensor) -> "PixelSamples":
        """Some of them, by index."""
        return PixelSamples(*(getattr(self, field.name)[rows] for field in fields(self)))


class PixelSampler:
    """Takes pixels of one photo after the other; holds the samples alone."""

    def __init__(self, budget: int, photos: int, classes: int, seed: int) -> None:
        """Plan for a number of photos.

        Args:
            budget: pixels in all; the features take budget x sum of D_l x 4 bytes.
            photos: how many there will be.
            classes: C.
            seed: of the draw; that of a photo follows from it and the photo's place alone.
        """
        self._each, self._classes, self._seed = max(1, budget // photos), classes, seed
        self._photos = photos
        self._taken = 0
        self._columns: tuple[Tensor, ...] = ()

    def take(self, shot: int, maps: Sequence[Tensor], prediction: Prediction, labels: Tensor) -> None:
        """Take the pixels of a photo.

        Args:
            shot: its place among the shots.
            maps: its dense maps, each (1, D_l, h, w).
            prediction: what the model answers by itself.
            labels: (H, W) uint8 at the size of the photo on the canvas, 255 = ignored.
        """
        generator = generator_at(self._seed, shot)
        rows, columns, weights = draw_pixels(labels, self._each, generator)
        places = (rows.to(maps[0].device), columns.to(maps[0].device))
        found = labels[rows, columns].long()
        features = torch.cat([look_up(one[0], prediction.canvas, *places) for one in maps], dim=1)
        answers = own_evidence(prediction, *places)
        photo = torch.full_like(found, shot)
        self._keep(features, found.to(features.device), answers, weights.to(features), photo.to(features.device))

    def samples(self) -> PixelSamples:
        """All that were taken.

        Raises:
            PromptsegError: there is none.
        """
        if not self._taken:
            raise PromptsegError("no pixel of the shots is labelled at training size: there is nothing to learn")
        found = PixelSamples(*(column[: self._taken] for column in self._columns))
        return replace(found, shots=found.shots.unique(return_inverse=True)[1])

    def _keep(self, *values: Tensor) -> None:
        if not self._columns:  # room for all at once: joining the parts of the photos would hold them twice
            room = self._photos * self._each
            self._columns = tuple(value.new_empty(room, *value.shape[1:]) for value in values)
        end = self._taken + len(values[0])
        for column, value in zip(self._columns, values, strict=True):
            column[self._taken : end] = value
        self._taken = end


def draw_pixels(labels: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """At most `count` labelled pixels of a map (H, W): rows (n,), columns (n,) and weights (n,).

    Pixels in the order of their classes, then row by row, are taken at equal steps of probability from a random
    start (systematic sampling), so they spread over each class's area, and the probability of each is known.
    """
    # NumPy sorts bytes by counting them; what is ignored comes last.
    order = torch.from_numpy(np.argsort(labels.flatten().numpy(), kind="stable"))
    counts = torch.bincount(labels.flatten(), minlength=IGNORE + 1)[:IGNORE]
    places = order[: counts.sum()]
    chance = _shared_out(counts.double(), min(count, len(places))) / counts.clamp(min=1)
    chance = chance.repeat_interleave(counts)
    reach = chance.cumsum(0) + torch.rand((), generator=generator, dtype=torch.float64)
    steps = reach.floor().diff(prepend=torch.zeros(1, dtype=torch.float64))
    taken = (steps > 0).nonzero()[:count, 0]
    width = labels.shape[1]
    return places[taken] // width, places[taken] % width, 1 / chance[taken]


def _shared_out(counts: Tensor, total: int) -> Tensor:
    """How many of `total` pixels each class gets, no more than it has (`counts`)."""
    there = (counts > 0).double()
    wanted = _AT_LARGE * counts / counts.sum().clamp(min=1) + (1 - _AT_LARGE) * there / there.sum().clamp(min=1)
    full = torch.zeros_like(counts, dtype=torch.bool)
    for _ in range(int(there.sum())):
        left = total - counts[full].sum()
        given = torch.where(full, counts, left * wanted / wanted[~full].sum().clamp(min=1e-12))
        over = given > counts
        if not (over & ~full).any():
            break
        full |= over
    return torch.minimum(given, counts) if len(counts) and total else torch.zeros_like(counts)


def look_up(values: Tensor, canvas: Size, rows: Tensor, columns: Tensor) -> Tensor:
    """A map (D, h, w) over a canvas at n of the canvas's pixels: (n, D).

    As a bilinear resize of the map to the canvas gives it there (corners not aligned, edges held).
    """
    height, width = values.shape[1:]
    (top, bottom, down), (left, right, across) = (
        _neighbours(height, canvas[0], rows),
        _neighbours(width, canvas[1], columns),
    )
    cells = values.flatten(1).mT
    upper = torch.lerp(cells[top * width + left], cells[top * width + right], across)
    lower = torch.lerp(cells[bottom * width + left], cells[bottom * width + right], across)
    return torch.lerp(upper, lower, down)


def _neighbours(old: int, new: int, places: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The two cells of an axis of `old` around n places on one of `new`, and the weight (n, 1) of the later."""
    at = ((places.double() + 0.5) * old / new - 0.5).clamp(0, old - 1)
    first = at.floor().long()
    return first, (first + 1).clamp(max=old - 1), (at - first).float()[:, None]


def own_evidence(prediction: Prediction, rows: Tensor, columns: Tensor) -> Tensor:
    """The model's semantic map m of the only image at n pixels of the canvas: (n, C).

    m_c = sum over queries q of softmax(class)_qc * sigmoid(mask_q), the masks looked up before the sigmoid.
    """
    masks = look_up(prediction.mask_logits[0].float(), prediction.canvas, rows, columns).sigmoid()
    return masks @ prediction.class_logits[0].float().softmax(-1)[:, :-1]
