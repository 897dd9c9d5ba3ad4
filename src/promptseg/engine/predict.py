"""What prompts say of photos: label maps, objects or segments."""

from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import torch

from promptseg.checks import check_choice
from promptseg.data.photo_pixels import Photo, PhotoPixels, open_photo
from promptseg.data.photo_pixels import photo_pixels as photo_pixels  # programs that call `predict` read photos so
from promptseg.engine.answers import Answering, at_once, tiling_of
from promptseg.engine.evaluate import encoding_precision, input_short_side, task_of
from promptseg.features.features_cache import encode_images
from promptseg.models.adapted import Adapted, adapted
from promptseg.models.base import PromptableSegmenter
from promptseg.models.registry import load_model
from promptseg.prompts import Prompts
from promptseg.record import PRECISIONS
from promptseg.tasks.base import tiled_task


def predict(
    model: PromptableSegmenter, prompts: Prompts, image: Photo, task: str | None = None, **settings: Any
) -> Any:
    """What prompts say of a photo.

    Args:
        model: the model that the prompts belong to.
        prompts: learned or default prompts.
        image: a file, a PIL image, or (H, W, 3) uint8 RGB.
        task: a name of `tasks.registry.TASKS`; none = that the prompts were learned for.
        settings: of the task, such as `object_threshold`, and what else `Labeller` takes, such as `tile`; else those of
            the fit, else the task's own.

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
        tile: int | None = None,
        overlap: int | None = None,
        **settings: Any,
    ) -> None:
        """Check what is asked for; nothing heavy is loaded.

        Args:
            prompts: learned or default prompts, or a folder of such.
            task: a name of `tasks.registry.TASKS`; none = that the prompts were learned for.
            model: the model that the prompts belong to, or what `load_model` takes; none = as the prompts say.
            device: where to load the model; none = a GPU where there is one.
            precision: numbers that photos are encoded in, one of `PRECISIONS`; none = those of the fit.
            tile: height and width of the tiles that photos are seen in, pixels; 0 = whole photos; none = as in the fit.
            overlap: pixels that tiles share at least; none = as in the fit, else an eighth of the tile.
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
        self._tiling = tiling_of(self.prompts, tile, overlap)
        if self._tiling is not None:
            tiled_task(self.task)
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
            "model": {"id": self._name, "fingerprint": self.prompts.model_fingerprint},
            "classes": list(self.prompts.class_names),
            "short side": input_short_side(self.prompts),
            "precision": self._precision,
            "tiles": None if self._tiling is None else asdict(self._tiling),
            "task": self.task.name,
            "settings": asdict(settings) if is_dataclass(settings) and not isinstance(settings, type) else None,
        }

    def __getstate__(self) -> dict[str, Any]:
        """All but the model."""
        return {**vars(self), "prompts": self.prompts.to("cpu"), "_model": None, "_used": None}

    def __call__(self, photos: Sequence[Photo | PhotoPixels]) -> list[Any]:
        """What the prompts say of each photo, as `predict` returns it; as many are decoded together as pays.

        Raises:
            PromptsegError: a photo cannot be read, or the prompts belong to another model.
        """
        used = self._loaded()
        how = Answering(
            used,
            self.task,
            self.prompts.label_space,
            lambda pixels: encode_images(used.encoder, [pixels], self._precision),
            input_short_side(self.prompts),
            self._tiling,
            at_once(used.encoder.device),
        )
        return [answer for _, answer in how.answers((None, self.open(photo)) for photo in photos)]

    def open(self, photo: Photo | PhotoPixels) -> PhotoPixels:
        """A photo to be labelled: read, or where it can be read tile by tile, just looked at.

        Raises:
            PromptsegError: it cannot be read.
        """
        return open_photo(photo, self._tiling is not None)

    def _loaded(self) -> Adapted:
        if self._used is None:
            model = self._model or load_model(self._name, device=self._device)
            self.prompts.check_model(model.id, model.fingerprint)
            self._used = adapted(model, self.prompts.to(model.device))
        return self._used
