"""Images on their way into a model: checked, normalised and padded to a canvas."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

from promptseg.errors import PromptsegError
from promptseg.models.base import Size


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
