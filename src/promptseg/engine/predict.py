"""Label maps of photos."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from promptseg.data.images import read_image
from promptseg.engine.encode import image_tensor
from promptseg.engine.evaluate import input_short_side
from promptseg.errors import PromptsegError
from promptseg.models.base import PromptableSegmenter
from promptseg.prompts import Prompts
from promptseg.tasks.semantic import label_map

Photo = str | Path | Image.Image | NDArray[np.uint8]
"""A file, a PIL image, or (H, W, 3) uint8 RGB."""


@torch.no_grad()
def predict(model: PromptableSegmenter, prompts: Prompts, image: Photo) -> NDArray[np.uint8]:
    """The class of every pixel of a photo.

    Args:
        model: the model that the prompts belong to.
        prompts: learned or default prompts.
        image: a file, a PIL image, or (H, W, 3) uint8 RGB.

    Returns:
        (H, W) uint8 class ids in the order of `prompts.class_names`, at the photo's own size.

    Raises:
        PromptsegError: the image cannot be read, or the prompts belong to another model.
    """
    prompts.check_model(model.id, model.fingerprint)
    pixels = photo_pixels(image)
    features = model.encode_image([image_tensor(pixels, input_short_side(model, prompts))])
    prediction = model.decode(features, prompts.to(model.device))
    return label_map(prediction, 0, (pixels.shape[0], pixels.shape[1]))


def photo_pixels(image: Photo) -> NDArray[np.uint8]:
    """A photo as (H, W, 3) uint8 RGB.

    Raises:
        PromptsegError: a file that cannot be read, or an array of another shape or type.
    """
    if isinstance(image, str | Path):
        return read_image(Path(image))
    pixels = np.asarray(image.convert("RGB") if isinstance(image, Image.Image) else image)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise PromptsegError(f"the image is {pixels.dtype} {pixels.shape}: give a (H, W, 3) uint8 RGB array")
    return pixels
