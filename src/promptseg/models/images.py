"""Images on their way into a model: sized, checked, normalised and padded to a canvas.

Sizes keep their proportions; halves round up, as the official preprocessing of the models does.
"""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

from promptseg.errors import PromptsegError
from promptseg.models.base import Size

LONGEST = 4
"""Most that the longer side may be, in shorter sides as asked for: without a bound, a strip takes all memory."""


def image_sizes(images: Sequence[Tensor] | Tensor) -> tuple[Size, ...]:
    """Height and width of each image (3, H, W).

    Raises:
        PromptsegError: no image, or one of another shape.
    """
    for index, image in enumerate(images):
        if image.ndim != 3 or image.shape[0] != 3:
            raise PromptsegError(f"image {index} has shape {tuple(image.shape)}, expected (3, H, W)")
    if not len(images):
        raise PromptsegError("got 0 images, expected at least one (3, H, W) tensor")
    return tuple((image.shape[1], image.shape[2]) for image in images)


def normalised(pixels: Tensor, mean: Sequence[float], std: Sequence[float], canvas: Size) -> Tensor:
    """Pixels (3, H, W), normalised by channel, then padded right and below with 0, which is the mean colour."""
    middle, spread = (pixels.new_tensor(values)[:, None, None] for values in (mean, std))
    return F.pad((pixels - middle) / spread, (0, canvas[1] - pixels.shape[2], 0, canvas[0] - pixels.shape[1]))


def short_side_size(size: Size, short_side: int) -> Size:
    """The (h, w) of `size` scaled so that the shorter side is `short_side`, or smaller: see `LONGEST`."""
    if max(size) > LONGEST * min(size):
        return long_side_size(size, LONGEST * short_side)
    return _scaled(size, short_side, min(size))


def long_side_size(size: Size, long_side: int) -> Size:
    """The (h, w) of `size` scaled so that the longer side is `long_side`; no side shrinks to nothing."""
    height, width = _scaled(size, long_side, max(size))
    return max(height, 1), max(width, 1)


def _scaled(size: Size, wanted: int, side: int) -> Size:
    height, width = size
    return int(height * wanted / side + 0.5), int(width * wanted / side + 0.5)
