"""From the decoder's mask logits to maps at the size of an image, and to semantic scores.

Every resize works on logits, before any sigmoid: bilinear up to the padded canvas, a crop to the
image, then bicubic with antialias to the output size, as SEEM's official evaluation does.
"""

from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from promptseg.models.base import Prediction, Size


def masks_at(prediction: Prediction, index: int, size: Size) -> Tensor:
    """Mask logits (N, H, W) of one image at an output size; differentiable.

    Args:
        prediction: the decoder's answer for B images.
        index: which of the B images.
        size: output height and width, pixels.
    """
    height, width = prediction.image_sizes[index]
    # Only this image is brought up to the canvas: a whole batch there would be B times the memory.
    canvas = _resize(prediction.mask_logits[index : index + 1], prediction.canvas, "bilinear")
    return _resize(canvas[..., :height, :width], size, "bicubic")[0]


def masks_on_canvas(prediction: Prediction) -> Tensor:
    """Mask logits (B, N, H, W) of all images on the padded canvas, padding included; differentiable."""
    return _resize(prediction.mask_logits, prediction.canvas, "bilinear")


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


def _resize(logits: Tensor, size: Size, mode: Literal["bilinear", "bicubic"]) -> Tensor:
    """Resize (B, N, h, w) with corners not aligned; bicubic is antialiased; an equal size is returned as it is."""
    if tuple(logits.shape[-2:]) == tuple(size):
        return logits
    return F.interpolate(logits, size, mode=mode, align_corners=False, antialias=mode == "bicubic")
