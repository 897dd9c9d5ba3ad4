"""What prompts say of a photo: a label map, objects or segments."""

from typing import Any

import torch

from promptseg.data.images import Photo, photo_pixels
from promptseg.engine.evaluate import input_short_side, task_of
from promptseg.features.encode import image_tensor
from promptseg.models.adapted import adapted
from promptseg.models.base import PromptableSegmenter
from promptseg.prompts import Prompts


@torch.no_grad()
def predict(
    model: PromptableSegmenter, prompts: Prompts, image: Photo, task: str | None = None, **settings: Any
) -> Any:
    """What prompts say of a photo.

    Args:
        model: the model that the prompts belong to.
        prompts: learned or default prompts.
        image: a file, a PIL image, or (H, W, 3) uint8 RGB.
        task: a name of `tasks.registry.TASKS`; none = that the prompts were learned for.
        settings: of the task, such as `object_threshold`; else those of the fit, else the task's own.

    Returns:
        What the task's `answer` gives, at the photo's own size, with class ids in the order of `prompts.class_names`:
        for `semantic` the class of every pixel, (H, W) uint8; for `instance` its `tasks.base.Instances`, best first;
        for `panoptic` its `data.sample.PanopticLabels`.

    Raises:
        PromptsegError: the image cannot be read, the prompts belong to another model, an unknown task or setting, or
            the task looks for objects and no class of the prompts has any.
    """
    prompts.check_model(model.id, model.fingerprint)
    chosen = task_of(prompts, task, settings)
    pixels = photo_pixels(image)
    used = adapted(model, prompts.to(model.device))
    features = used.encoder.encode_image([image_tensor(model, pixels, input_short_side(prompts))])
    prediction = used.decoder.decode(features, used.prompts)
    return chosen.answer(prediction, 0, (pixels.shape[0], pixels.shape[1]), prompts.label_space)
