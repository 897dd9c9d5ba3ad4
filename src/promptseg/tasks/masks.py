"""From the decoder's mask logits to maps at the size of an image, whole or tile by tile, and to semantic scores.

Every resize works on logits, before any sigmoid: up to the padded canvas by the model's own rule, a crop
to the image, then bicubic with antialias to the output size, as SEEM's official evaluation does.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import prod
from typing import get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from promptseg.errors import unknown_name
from promptseg.models.base import Prediction, Size, Upsampling
from promptseg.models.evidence import balanced


def masks_at(prediction: Prediction, index: int, size: Size) -> Tensor:
    """Mask logits (N, H, W) of one image at an output size; differentiable.

    Args:
        prediction: the decoder's answer for B images.
        index: which of the B images.
        size: output height and width, pixels.
    """
    return _enlarged(image_masks(prediction, index), size)


def image_masks(prediction: Prediction, index: int) -> Tensor:
    """Mask logits (N, h, w) of one image, at the size that it has on the canvas; differentiable."""
    height, width = prediction.image_sizes[index]
    # Only this image is brought up to the canvas: a whole batch there would be B times the memory.
    return _resized(prediction, prediction.mask_logits[index : index + 1], prediction.canvas)[0, :, :height, :width]


def _enlarged(maps: Tensor, size: Size) -> Tensor:
    """Maps (N, h, w) at an output size; equal sizes are returned as they are."""
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return F.interpolate(maps[None], size, mode="bicubic", align_corners=False, antialias=True)[0]


STRIP_VALUES = 2**24
"""Values of a strip: 64 MiB, of which an answer takes a few more for what it makes of them."""
PANEL_VALUES = 2**26
"""Values of maps of full width and small height that are kept for the strips to come: 256 MiB."""

_NARROWEST = 3
"""PyTorch 2.13 enlarges a single column wrongly; about equal parts of 3 columns have 2 at least."""


def strips(maps: Tensor, size: Size) -> Iterator[tuple[slice, Tensor]]:
    """Maps (N, h, w) at an output size (H, W), some columns at a time: the columns, and their values (N, H, columns).

    So an answer at the size of a photo takes memory that does not grow with the photo. A resize goes along the rows
    first, and then along each column by itself: on a CPU the values are those of `masks_at` to the last bit.
    """
    (count, old, _), (height, width) = maps.shape, size
    wide = max(_NARROWEST, STRIP_VALUES // (count * height))
    if wide >= width or tuple(maps.shape[-2:]) == tuple(size):
        enlarged = _enlarged(maps, size)
        yield from ((columns, enlarged[..., columns]) for columns in _spans(0, width, wide))
        return
    panel_width = max(wide, PANEL_VALUES // (count * old))
    for panel in _spans(0, width, panel_width):
        across = _across(maps, width, panel)
        for columns in _spans(panel.start, panel.stop, wide):
            part = across[..., columns.start - panel.start : columns.stop - panel.start]
            yield columns, _enlarged(part, (height, part.shape[2]))


def _across(maps: Tensor, width: int, columns: slice) -> Tensor:
    """Some columns of maps (N, h, w) enlarged to a width: (N, h, columns); a few maps at a time, as all are needed."""
    few = max(1, STRIP_VALUES // (maps.shape[1] * width))
    found = maps.new_empty(*maps.shape[:2], columns.stop - columns.start)
    for some, place in zip(maps.split(few), found.split(few), strict=True):
        place.copy_(_enlarged(some, (maps.shape[1], width))[..., columns])
    return found


def _spans(start: int, stop: int, step: int) -> list[slice]:
    """Slices of about one length, at most `step`, that cover a range."""
    count = -(-(stop - start) // step)
    ends = [start + (stop - start) * i // count for i in range(count + 1)]
    return list(map(slice, ends, ends[1:]))


def image_evidence(prediction: Prediction, index: int) -> Tensor:
    """Evidence e (C, h, w) of pixel prompts for one image, at the size that it has on the canvas; differentiable."""
    assert prediction.evidence is not None, "a prediction of pixel prompts"
    evidence, (height, width) = prediction.evidence.image(index), prediction.image_sizes[index]
    canvas = torch.stack([resize_bilinear(one, prediction.canvas) for one in evidence.maps]).sum(0)
    return canvas[0, :, :height, :width] + evidence.bias[:, None, None]


def query_logits(prediction: Prediction, index: int) -> Tensor:
    """Class logits (N, C + 1) of the queries of one image, with what pixel prompts find under their masks.

    The logit of class c gains (t_c - 1) log p_qc + the mean of e_c under the mask of q,
    sum over x of sigmoid(mask_q(x)) e_c(x) / sum over x of sigmoid(mask_q(x)), at the masks' own resolution and over
    the image alone; the background gains nothing. Where some classes were not taught, these and the background keep
    the share that the model gives them.
    """
    logits = prediction.class_logits[index]
    if prediction.evidence is None:
        return logits
    evidence, masks = prediction.evidence.image(index), prediction.mask_logits[index].sigmoid()
    grid = (masks.shape[-2], masks.shape[-1])
    inside = [
        max(1, round(cells * length / whole))
        for cells, length, whole in zip(grid, prediction.image_sizes[index], prediction.canvas, strict=True)
    ]
    found = torch.stack([resize_bilinear(one[0], grid) for one in evidence.maps]).sum(0)
    found, masks = (one[..., : inside[0], : inside[1]].flatten(1) for one in (found, masks))
    means = masks @ found.mT / masks.sum(1, keepdim=True).clamp(min=1e-6) + evidence.bias
    own = logits.log_softmax(-1)[:, :-1]
    found = torch.cat((logits[:, :-1] + (evidence.trust - 1) * own + means, logits[:, -1:]), dim=1)
    if evidence.taught.all():
        return found
    return balanced(found.mT, logits.mT, F.pad(evidence.taught, (0, 1))).mT


def _resized(prediction: Prediction, masks: Tensor, size: Size) -> Tensor:
    """Masks brought up by the rule of their model."""
    match prediction.upsampling:
        case "bilinear":
            return resize_bilinear(masks, size)
        case "bicubic":
            return F.interpolate(masks, size, mode="bicubic", align_corners=False, antialias=True)
        case other:
            raise unknown_name("upsampling of masks", other, get_args(Upsampling))


def semantic_map(class_logits: Tensor, mask_logits: Tensor) -> Tensor:
    """Scores (..., C, H, W) of each class at each pixel; the label is the argmax over C; differentiable.

    sum over queries n of p[n, c] * sigmoid(mask[n, y, x]), with p the softmax over all C + 1
    classes, its background column dropped afterwards. Leading batch dimensions are optional.

    Args:
        class_logits: (..., N, C + 1), the background column last.
        mask_logits: (..., N, H, W).
    """
    probabilities = class_logits.softmax(-1)[..., :-1]
    # A product of matrices never holds the N x C x H x W terms of the sum.
    scores = probabilities.mT @ mask_logits.sigmoid().flatten(-2)
    return scores.view(*scores.shape[:-1], *mask_logits.shape[-2:])


def resize_bilinear(maps: Tensor, size: Size) -> Tensor:
    """Resize (..., h, w) to `size` bilinearly, corners not aligned; an equal size is returned as it is.

    Written as a product with one matrix per axis: the gradient is two products again, which takes half the
    time of `F.interpolate`'s on a CPU (101 maps of 32 x 64 to 128 x 256) and adds up in a fixed order.
    """
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    rows, columns = (
        resize_matrix(old, new, "bilinear", maps.dtype, maps.device)
        for old, new in zip(maps.shape[-2:], size, strict=True)
    )
    return rows @ (maps @ columns.mT)


@lru_cache(maxsize=64)
def resize_matrix(old: int, new: int, upsampling: Upsampling, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Weights (new, old) of the old samples of one axis in the new ones.

    Raises:
        PromptsegError: unknown upsampling.
    """
    if upsampling not in get_args(Upsampling):
        raise unknown_name("upsampling of masks", upsampling, get_args(Upsampling))
    if upsampling == "bicubic" and old > 1:  # a single sample goes everywhere, and PyTorch enlarges it wrongly
        columns = torch.eye(old, dtype=torch.float64)[None, None]
        weights = F.interpolate(columns, (new, old), mode="bicubic", align_corners=False, antialias=True)[0, 0]
        return weights.to(device, dtype)
    centres = ((torch.arange(new, dtype=torch.float64) + 0.5) * old / new - 0.5).clamp(0, old - 1)
    distance = (centres[:, None] - torch.arange(old, dtype=torch.float64)).abs()
    return (1 - distance).clamp(min=0).to(device, dtype)


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


def tiles(maps: Tensor, size: Size, pixels: int, upsampling: Upsampling = "bilinear") -> Iterator[Tile]:
    """Tiles of at most about `pixels` pixels that cover maps (B, N, h, w) enlarged to `size`, row by row.

    Args:
        maps: the small maps.
        size: height and width of the large ones.
        pixels: how many pixels a tile may have.
        upsampling: how they are enlarged.
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


def _strips(
    maps: Tensor, old: int, new: int, step: int, upsampling: Upsampling
) -> Iterator[tuple[slice, slice, Tensor]]:
    """Spans of one axis, the old samples that each depends on, and the weights of these."""
    weights = resize_matrix(old, new, upsampling, torch.float64, torch.device("cpu"))
    for start in range(0, new, step):
        span = slice(start, min(start + step, new))
        used = weights[span].any(dim=0).nonzero()
        reach = slice(int(used[0]), int(used[-1]) + 1)
        yield span, reach, weights[span, reach].to(maps)
