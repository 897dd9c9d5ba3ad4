"""What prompts say of photos: label maps, objects or segments."""

from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import torch

from promptseg.checks import check_choice
from promptseg.data.images import Photo, photo_pixels
from promptseg.engine.evaluate import at_once, encoding_precision, input_short_side, task_of
from promptseg.features.encode import image_tensor
from promptseg.features.features_cache import encode_images
from promptseg.models.adapted import Adapted, adapted
from promptseg.models.base import ImageFeatures, PromptableSegmenter, Size
from promptseg.models.registry import load_model
from promptseg.prompts import Prompts
from promptseg.record import PRECISIONS


def predict(
    model: PromptableSegmenter, prompts: Prompts, image: Photo, task: str | None = None, **settings: Any
) -> Any:
    """What prompts say of a photo.

    Args:
        model: the model that the prompts belong to.
        prompts: learned or default prompts.
        image: a file, a PIL image, or (H, W, 3) uint8 RGB.
        task: a name of `tasks.registry.TASKS`; none = that the prompts were learned for.
        settings: of the task, such as `object_threshold`, and `precision`; else those of the fit, else the task's own.

    Returns:
        What the task's `answer` gives, at the photo's own size, with class ids in the order of `prompts.class_names`:
        for `semantic` the class of every pixel, (H, W) uint8; for `instance` its `tasks.instances.Instances`, best
        first; for `panoptic` its `data.sample.PanopticLabels`.

    Raises:
        PromptsegError: the image cannot be read, the prompts belong to another model, an unknown task or setting, or
            the task looks for objects and no class of the prompts has any.
    """
    return Labeller(prompts, task, model=model, **settings)([image])[0]


class Labeller:
    """Labels photos with prompts, in this process or in many.

    It can be pickled: the prompts go along, and every process loads the model for itself when it is first called. So it
    is what frameworks that spread work over processes and machines take.
    """

    def __init__(
        self,
        prompts: Prompts | str | Path,
        task: str | None = None,
        *,
        model: PromptableSegmenter | str | None = None,
        device: str | None = None,
        precision: str | None = None,
        **settings: Any,
    ) -> None:
        """Check what is asked for; nothing heavy is loaded.

        Args:
            prompts: learned or default prompts, or a folder of such.
            task: a name of `tasks.registry.TASKS`; none = that the prompts were learned for.
            model: the model that the prompts belong to, or what `load_model` takes; none = as the prompts say.
            device: where to load the model; none = a GPU where there is one.
            precision: numbers that photos are encoded in, one of `PRECISIONS`; none = those of the fit.
            settings: of the task; else those of the fit, else the task's own.

        Raises:
            PromptsegError: no such prompts, or an unknown task, precision or setting.
        """
        self.prompts = prompts if isinstance(prompts, Prompts) else Prompts.load(prompts)
        self.task = task_of(self.prompts, task, settings)
        self._name = model if isinstance(model, str) else self.prompts.model_id if model is None else model.id
        self._model = None if isinstance(model, str) else model
        self._device, self._precision = device, precision or encoding_precision(self.prompts)
        check_choice("precision", self._precision, PRECISIONS)
        self._used: Adapted | None = None

    @property
    def device(self) -> torch.device:
        """Where the model is; it is loaded if it was not."""
        return self._loaded().encoder.device

    def about(self) -> dict[str, Any]:
        """All that its answers depend on beside the photo, as JSON."""
        settings = getattr(self.task, "settings", None)
        return {
            "prompts": self.prompts.fingerprint,
            "model": self.prompts.model_fingerprint,
            "classes": list(self.prompts.class_names),
            "short side": input_short_side(self.prompts),
            "precision": self._precision,
            "task": self.task.name,
            "settings": asdict(settings) if is_dataclass(settings) and not isinstance(settings, type) else None,
        }

    def __getstate__(self) -> dict[str, Any]:
        """All but the model."""
        return {**vars(self), "prompts": self.prompts.to("cpu"), "_model": None, "_used": None}

    @torch.no_grad()
    def __call__(self, photos: Sequence[Photo]) -> list[Any]:
        """What the prompts say of each photo, as `predict` returns it; as many are decoded together as pays.

        Raises:
            PromptsegError: a photo cannot be read, or the prompts belong to another model.
        """
        used = self._loaded()
        short_side, answers = input_short_side(self.prompts), list[Any]()
        step = at_once(used.encoder.device)
        for start in range(0, len(photos), step):
            encoded = [self._encoded(used, photo, short_side) for photo in photos[start : start + step]]
            for _, same in groupby(encoded, key=lambda item: item[1].canvas):
                group = list(same)
                prediction = used.decoder.decode(ImageFeatures.cat([features for _, features in group]), used.prompts)
                space = self.prompts.label_space
                answers += [self.task.answer(prediction, i, size, space) for i, (size, _) in enumerate(group)]
        return answers

    def _encoded(self, used: Adapted, photo: Photo, short_side: int | None) -> tuple[Size, ImageFeatures]:
        pixels = photo_pixels(photo)
        features = encode_images(used.encoder, [image_tensor(used.encoder, pixels, short_side)], self._precision)
        return (pixels.shape[0], pixels.shape[1]), features

    def _loaded(self) -> Adapted:
        if self._used is None:
            model = self._model or load_model(self._name, device=self._device)
            self.prompts.check_model(model.id, model.fingerprint)
            self._used = adapted(model, self.prompts.to(model.device))
        return self._used
