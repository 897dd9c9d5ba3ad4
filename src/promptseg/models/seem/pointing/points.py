"""What is pointed at: drawn as pixels, which is how SEEM takes it, and as points at which feature maps are read.

A box is its area, a click a small square.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from promptseg.models.base import Size
from promptseg.models.capabilities import ObjectPrompt, Place
from promptseg.models.seem.network.rows import PADDING

_PEN = 3
"""Width of a click or stroke, pixels: that of the kernel in SEEM's checkpoints that widens points."""


@dataclass(frozen=True, eq=False)
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


def prompt_masks(prompt: ObjectPrompt, canvas: Size) -> tuple[Tensor, Tensor]:
    """Pixels (1, H, W) of the canvas, bool: those that the prompt says are on the object, and those that are not."""
    inside = Image.new("1", (canvas[1], canvas[0]))
    outside = inside.copy()
    pen = ImageDraw.Draw(inside)
    for x0, y0, x1, y1 in prompt.boxes:
        pen.rectangle([int(x0), int(y0), int(x1), int(y1)], fill=1)
    for line in (*prompt.strokes, *((place,) for place in prompt.points)):
        _draw(pen, line)
    for place in prompt.negative:
        _draw(ImageDraw.Draw(outside), (place,))
    return _mask(inside), _mask(outside)


def _draw(pen: ImageDraw.ImageDraw, places: tuple[Place, ...]) -> None:
    """A line through places; one place alone is a dot."""
    pixels = [(int(x), int(y)) for x, y in places]
    pen.line(pixels, fill=1, width=_PEN)
    reach = _PEN // 2
    for x, y in pixels:
        pen.rectangle([x - reach, y - reach, x + reach, y + reach], fill=1)


def _mask(drawn: Image.Image) -> Tensor:
    pixels = torch.frombuffer(bytearray(drawn.convert("L").tobytes()), dtype=torch.uint8)
    return (pixels > 0).view(1, drawn.height, drawn.width)
