"""Labelled segments as targets of instance and panoptic segmentation, and the loss of the predictions matched to them.

Masks are compared cell by cell at the decoder's own stride: the target of a cell is the part of its
labelled pixels that belong to the segment. Void and crowds count nowhere: cells that they fill to more
than half are left out of all masks, and a crowd is no segment to be found.

The costs and weights of the matching are those of SEEM's own training: class probability, binary cross-entropy and
dice of the masks, weighted 2, 5, 5; unmatched predictions are background, weighted 0.1.
"""

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

from promptseg.checks import check_choice, check_number, check_whole
from promptseg.data.images import resize_labels
from promptseg.data.sample import ObjectLabels, PanopticLabels, Segment
from promptseg.errors import PromptsegError
from promptseg.models.base import Prediction, Size
from promptseg.tasks.base import Window
from promptseg.tasks.masks import query_logits


@dataclass(frozen=True)
class MatchingWeights:
    """Weights of the parts of the matching cost and of the loss."""

    classes: float = 2.0
    mask: float = 5.0
    dice: float = 5.0
    background: float = 0.1


@dataclass(frozen=True, eq=False)
class Segments:
    """The T labelled segments of an image: classes (T,) int64 and masks (T, P) in [0, 1] over P pixels or points."""

    classes: Tensor
    masks: Tensor


@dataclass(frozen=True, eq=False)
class Matching:
    """Row `predictions[t]` of the N predictions belongs to segment `segments[t]`; both (T',) int64."""

    predictions: Tensor
    segments: Tensor


LOSSES = {"matched": 0.0, "matched+dice": 5.0}
"""The losses by name, with the weight of dice in matching and loss."""


@dataclass(frozen=True)
class MatchedSettings:
    """Settings of the matched loss.

    Attributes:
        loss: a name of `LOSSES`; `matched` is the paper's: cross-entropy of classes and binary cross-entropy of masks.
        background_weight: weight of the predictions that match no segment in the class loss.
        points: how many cells of an image are compared, drawn anew at every step; 0 = all.
    """

    loss: str = "matched+dice"
    background_weight: float = 0.4
    points: int = 0

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        check_choice("loss of matched segments", self.loss, LOSSES)
        check_number("background_weight", self.background_weight, 0, 1)
        check_whole("points", self.points, 0)

    @property
    def weights(self) -> MatchingWeights:
        """As matching and loss take them."""
        return MatchingWeights(dice=LOSSES[self.loss], background=self.background_weight)


@dataclass(frozen=True, eq=False)
class TargetCells:
    """Segments over all cells of a grid, in which every head and step of a fit sees them.

    Attributes:
        classes: (T',) int64, of the segments that fill a cell at least: what is smaller, no mask can show.
        shares: (T', cells), the part of a cell's labelled pixels that is the segment's.
        counted: (cells,) bool, those on the grid of the stride that are not void for the greater part.
    """

    classes: Tensor
    shares: Tensor
    counted: Tensor


@dataclass(frozen=True, eq=False)
class SegmentTarget:
    """The T segments of an image at training size.

    Attributes:
        classes: (T,) int64.
        map: (h, w) int64, one of K kinds: 0 = labelled but none of the segments, 1..T = one of the segments, from T + 1
            on several that overlap, K - 1 = ignored.
        members: (T, K) bool: which kinds belong to each segment.
    """

    classes: Tensor
    map: Tensor
    members: Tensor
    _cells: dict[Hashable, TargetCells] = field(default_factory=dict, init=False, repr=False)

    def windowed(self, window: Window) -> "SegmentTarget":
        """The segments in a window, enlarged to (h, w); some may have no pixel left."""
        return replace(self, map=window.nearest(self.map))

    def shown(self) -> Tensor:
        """The classes of the segments, (n,) int64, each once."""
        classes: Tensor = self.classes.unique()
        return classes

    def cells(self, canvas: Size, grid: Size, stride: int, device: torch.device) -> TargetCells:
        """The segments over the cells of a grid over the canvas, counted once for all heads and steps.

        Args:
            canvas: of the prediction, pixels.
            grid: of its masks.
            stride: pixels between the cells that count; that of the grid at least.
            device: where they are wanted.
        """
        key = (canvas, grid, stride, device)
        if key not in self._cells:
            self._cells[key] = _target_cells(self, canvas, grid, stride, device)
        return self._cells[key]


def segment_numbers(labels: PanopticLabels, segments: Sequence[Segment]) -> NDArray[np.intp]:
    """For each pixel the place of its segment in `segments`, from 1; 0 where it is none of them: (H, W)."""
    return renumbered(labels.map, {segment.id: number for number, segment in enumerate(segments, 1)}, 0)


def renumbered(map_: NDArray[np.int32], numbers: Mapping[int, int], rest: int) -> NDArray[np.intp]:
    """Other numbers in place of those of a map (H, W); `rest` in place of all that `numbers` does not know."""
    largest = max([int(map_.max(initial=0)), *numbers])
    if largest < 2**24:  # a table has the answer in one look-up for each pixel
        table = np.full(largest + 1, rest, np.intp)
        table[list(numbers)] = list(numbers.values())
        return table[map_]
    present, inverse = np.unique(map_, return_inverse=True)
    return np.array([numbers.get(value, rest) for value in present.tolist()])[inverse].reshape(map_.shape)


def segment_target(labels: ObjectLabels, classes: Collection[int], size: Size, flip: bool) -> SegmentTarget:
    """The segments of some classes at another size, by the nearest pixel, mirrored if `flip`."""
    wanted = [i for i, s in enumerate(labels.segments) if s.class_id in classes and not s.is_crowd]
    owners: dict[int, list[int]] = {}
    for index, regions in enumerate(labels.regions):
        for region in regions:
            owners.setdefault(region, []).append(index)
    kinds: dict[tuple[int, ...], int] = {(): 0} | {(index,): place for place, index in enumerate(wanted, 1)}
    numbers, ignored = {}, [0]
    for region, indices in owners.items():
        if all(labels.segments[i].is_crowd for i in indices):
            ignored.append(region)
        else:
            key = tuple(i for i in indices if i in wanted)
            numbers[region] = kinds.setdefault(key, len(kinds))
    members = torch.tensor([[i in key for key in kinds] + [False] for i in wanted], dtype=torch.bool)
    kinds_at = renumbered(labels.map, numbers | dict.fromkeys(ignored, len(kinds)), 0)
    resized = resize_labels(np.asarray(kinds_at, np.int32), size)
    map_ = torch.from_numpy(np.ascontiguousarray(resized[:, ::-1] if flip else resized)).long()
    class_ids = torch.tensor([labels.segments[i].class_id for i in wanted], dtype=torch.long)
    return SegmentTarget(class_ids, map_, members.view(len(wanted), len(kinds) + 1))


def check_found(targets: Iterable[SegmentTarget]) -> None:
    """Refuse targets of which none has a segment.

    Raises:
        PromptsegError: they are all void and crowds.
    """
    if not any(len(target.classes) for target in targets):
        raise PromptsegError(
            "the shots show no object or segment but crowds: there is nothing to learn; label single objects"
        )


def segments_loss(
    prediction: Prediction, targets: Sequence[SegmentTarget], stride: int, settings: MatchedSettings
) -> Tensor:
    """Mean over the images of the loss of matched predictions; see `matched_loss`.

    Args:
        prediction: the decoder's answer for B images.
        targets: B sets of segments.
        stride: pixels between the cells that are compared; the decoder's own stride at least.
        settings: parts and weights of the loss.
    """
    losses = []
    for single, target in zip(prediction.split(), targets, strict=True):
        masks = single.mask_logits[0]
        grid = (masks.shape[1], masks.shape[2])
        of_target = target.cells(single.canvas, grid, stride, masks.device)
        cells = _compared(of_target, masks, settings.points)
        segments = Segments(of_target.classes, of_target.shares[:, cells].to(masks.dtype))
        flat = masks.flatten(1)
        logits = query_logits(single, 0)
        matching = match(logits, flat.detach()[:, cells], segments, settings.weights)
        found = flat[matching.predictions][:, cells]
        losses.append(matched_loss(logits[None], [found], [segments], [matching], settings.weights))
    return torch.stack(losses).mean()


def _target_cells(target: SegmentTarget, canvas: Size, grid: Size, stride: int, device: torch.device) -> TargetCells:
    counts = cell_counts(target, canvas, grid)
    labelled, inside = counts[:-1].sum(0), target.members.float() @ counts.float()
    pixels = canvas[0] * canvas[1] / labelled.numel()
    kept = (inside.sum(1) >= pixels).nonzero()[:, 0]
    shares = _sharpened(inside[kept] / labelled.clamp(min=1))
    step = max(1, stride * grid[0] // canvas[0])
    on_grid = torch.zeros(grid, dtype=torch.bool)
    on_grid[step // 2 :: step, step // 2 :: step] = True
    counted = on_grid.flatten() & (2 * labelled > pixels)
    return TargetCells(target.classes[kept].to(device), shares.to(device), counted.to(device))


def _compared(target: TargetCells, mask_logits: Tensor, points: int) -> Tensor:
    """Indices (P,) of the cells that count at this step, among those of a mask."""
    compared, cells = target.counted, target.counted.nonzero()[:, 0]
    if 0 < points < len(cells):
        compared = torch.zeros_like(compared)
        compared[cells[_draw(mask_logits, len(cells))[:points]]] = True
    # A segment of which no cell was taken, as most around it is void or between the points, would teach an empty mask.
    missed = (target.shares[:, compared] < 0.5).all(1)
    return (compared | (target.shares[missed] >= 0.5).any(0)).nonzero()[:, 0]


def _sharpened(shares: Tensor) -> Tensor:
    """Shares (T, cells) of segments; of one too thin to fill half of any cell, the fullest cell counts as full."""
    if not shares.numel():
        return shares
    peaks = shares.amax(1, keepdim=True)
    return torch.where(peaks < 0.5, shares / peaks, shares)


def cell_counts(target: SegmentTarget, canvas: Size, grid: Size) -> Tensor:
    """How many pixels of each cell of a grid over the canvas are of each kind of the map: (K, cells) int64."""
    height, width = target.map.shape
    rows = torch.arange(height) * grid[0] // canvas[0]
    columns = torch.arange(width) * grid[1] // canvas[1]
    cells, kinds = grid[0] * grid[1], target.members.shape[1]
    places = target.map * cells + rows[:, None] * grid[1] + columns
    return places.flatten().bincount(minlength=kinds * cells).view(kinds, cells)


def _draw(logits: Tensor, count: int) -> Tensor:
    """A random order of `count` things that follows from the prediction alone: a resumed run draws the same."""
    seed = int(logits.detach().double().sum().cpu().view(torch.int64).item())
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed)).to(logits.device)


@torch.no_grad()
def match(class_logits: Tensor, mask_logits: Tensor, target: Segments, weights: MatchingWeights) -> Matching:
    """Assign predictions to segments at the lowest total cost (Hungarian method).

    Args:
        class_logits: (N, C + 1).
        mask_logits: (N, P).
        target: the segments of the image.
        weights: how the parts of the cost are weighted.
    """
    probabilities = class_logits.softmax(-1)[:, target.classes]
    cost = -weights.classes * probabilities
    cost = cost + weights.mask * _pairwise_bce(mask_logits, target.masks)
    cost = cost + weights.dice * _pairwise_dice(mask_logits.sigmoid(), target.masks)
    finite = cost.double().nan_to_num(0.0, 1e9, -1e9)  # the loss of what diverged stays what it is, and is told of
    rows, columns = linear_sum_assignment(finite.cpu().numpy())
    device = class_logits.device
    return Matching(torch.as_tensor(rows, device=device), torch.as_tensor(columns, device=device))


def matched_loss(
    class_logits: Tensor,
    mask_logits: Sequence[Tensor],
    targets: Sequence[Segments],
    matchings: Sequence[Matching],
    weights: MatchingWeights,
) -> Tensor:
    """Mean over images and segments of the weighted class, mask and dice losses.

    Args:
        class_logits: (B, N, C + 1).
        mask_logits: B times (T', P), of the predictions that are matched, in the order of the matching.
        targets: B sets of segments.
        matchings: B matchings.
        weights: how the parts of the loss are weighted.
    """
    background = class_logits.shape[-1] - 1
    wanted = torch.full(class_logits.shape[:2], background, dtype=torch.long, device=class_logits.device).flatten()
    rows = torch.cat([m.predictions + row * class_logits.shape[1] for row, m in enumerate(matchings)])
    wanted[rows] = torch.cat([t.classes[m.segments] for t, m in zip(targets, matchings, strict=True)])
    class_weights = class_logits.new_ones(background + 1)
    class_weights[background] = weights.background
    loss = weights.classes * F.cross_entropy(class_logits.flatten(0, 1), wanted, class_weights)
    logits = torch.cat(list(mask_logits))
    masks = torch.cat([t.masks[m.segments] for t, m in zip(targets, matchings, strict=True)])
    if len(logits) == 0:
        return loss
    loss = loss + weights.mask * F.binary_cross_entropy_with_logits(logits, masks)
    return loss + weights.dice * dice_loss(logits.sigmoid(), masks).mean()


def dice_loss(masks: Tensor, targets: Tensor) -> Tensor:
    """1 - dice coefficient of soft masks (..., P) in [0, 1], smoothed by one pixel: (...)."""
    overlap = (masks * targets).sum(-1)
    return 1 - (2 * overlap + 1) / (masks.sum(-1) + targets.sum(-1) + 1)


def _pairwise_bce(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean binary cross-entropy of every pair, (N, T): softplus(x) - x * t, averaged over the pixels."""
    return (F.softplus(logits).sum(-1, keepdim=True) - logits @ targets.T) / logits.shape[-1]


def _pairwise_dice(masks: Tensor, targets: Tensor) -> Tensor:
    return 1 - (2 * masks @ targets.T + 1) / (masks.sum(-1, keepdim=True) + targets.sum(-1) + 1)
