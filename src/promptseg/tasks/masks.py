"""From the decoder's mask logits to maps at the size of an image, and to semantic scores.

Every resize works on logits, before any sigmoid: up to the padded canvas by the model's own rule, a crop
to the image, then bicubic with antialias to the output size, as SEEM's official evaluation does.
"""

from functools import lru_cache

import torch
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
    canvas = _resized(prediction, prediction.mask_logits[index : index + 1], prediction.canvas)[..., :height, :width]
    if tuple(canvas.shape[-2:]) == tuple(size):
        return canvas[0]
    return F.interpolate(canvas, size, mode="bicubic", align_corners=False, antialias=True)[0]


def _resized(prediction: Prediction, masks: Tensor, size: Size) -> Tensor:
    """Masks brought up by the rule of their model."""
    if prediction.upsampling == "bicubic":
        return F.interpolate(masks, size, mode="bicubic", align_corners=False, antialias=True)
    return resize_bilinear(masks, size)


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
def resize_matrix(old: int, new: int, upsampling: str, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Weights (new, old) of the old samples of one axis in the new ones, `bilinear` or `bicubic` with antialias."""
    if upsampling == "bicubic":
        columns = torch.eye(old, dtype=torch.float64)[None, None]
        weights = F.interpolate(columns, (new, old), mode="bicubic", align_corners=False, antialias=True)[0, 0]
        return weights.to(device, dtype)
    centres = ((torch.arange(new, dtype=torch.float64) + 0.5) * old / new - 0.5).clamp(0, old - 1)
    distance = (centres[:, None] - torch.arange(old, dtype=torch.float64)).abs()
    return (1 - distance).clamp(min=0).to(device, dtype)
