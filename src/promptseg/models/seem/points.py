"""Points of spatial prompts, and feature maps read at them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from promptseg.models.seem.rows import PADDING


@dataclass(frozen=True)
class Points:
    """Points on B images, padded to equal number.

    Attributes:
        places: (B, P, 2), row and column as fractions of the canvas' height and width.
        candidates: (B, P), the candidate object each point belongs to; `PADDING` for no point.
        positive: (B, P), True inside the object, False outside.
    """

    places: Tensor
    candidates: Tensor
    positive: Tensor

    def read(self, maps: Tensor) -> Tensor:
        """Maps (B, D, h, w) at the points, bilinearly: (B, P, D).

        Fractions 0 and 1 stand for the centres of the first and the last cell.
        """
        grid = (2 * self.places - 1).flip(2)[:, None].to(maps.dtype)
        read = functional.grid_sample(maps, grid, mode="bilinear", padding_mode="zeros", align_corners=True)
        return read[:, :, 0].transpose(1, 2)

    def means(self, maps: Tensor, positive: bool, candidates: int, nothing: float) -> Tensor:
        """Mean of maps (B, D, h, w) over each candidate's points of one sign: (B, C, D).

        A candidate without such points gets a vector of `nothing`.
        """
        numbers = torch.arange(candidates, device=self.candidates.device)
        taken = (self.candidates[:, None] == numbers[None, :, None]) & (self.positive == positive)[:, None]
        counts = taken.sum(dim=2, keepdim=True)
        means = taken.to(maps.dtype) @ self.read(maps) / counts.clamp(min=1)
        return means.masked_fill(counts == 0, nothing)


def points_from_masks(
    positive: Sequence[Tensor], negative: Sequence[Tensor], limit: int, generator: torch.Generator | None = None
) -> Points:
    """The set pixels of masks as points, candidate by candidate and row by row, positive ones first.

    Args:
        positive: for each of B images (C, H, W), bool, on the padded canvas.
        negative: the same for what is not the object.
        limit: points of one sign per image at most. Of more, a subset is drawn in which every
            candidate has the same expected share.
        generator: source of that draw.
    """
    parts = [
        [_mask_points(mask, limit, generator) for mask in (inside, outside)]
        for inside, outside in zip(positive, negative, strict=True)
    ]
    places = [torch.cat([place for place, _ in image]) for image in parts]
    candidates = [torch.cat([candidate for _, candidate in image]) for image in parts]
    signs = [
        torch.arange(len(c), device=c.device) < len(image[0][1]) for c, image in zip(candidates, parts, strict=True)
    ]
    return Points(
        pad_sequence(places, batch_first=True),
        pad_sequence(candidates, batch_first=True, padding_value=PADDING),
        pad_sequence(signs, batch_first=True),
    )


def _mask_points(mask: Tensor, limit: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    found = mask.nonzero()
    if len(found) > limit:
        shares = 1 / torch.bincount(found[:, 0])[found[:, 0]].double()
        found = found[torch.multinomial(shares, limit, generator=generator).sort().values]
    size = torch.tensor(mask.shape[1:], device=mask.device)
    return found[:, 1:] / size, found[:, 0]
