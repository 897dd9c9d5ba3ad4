"""The model behind the page: encode a photo once, learn prompts from labels, answer for a photo."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from promptseg.app.labels import LabelledPhoto
from promptseg.app.order import Glance
from promptseg.engine.defaults import default_prompts
from promptseg.engine.fit import fit
from promptseg.engine.segment import segment
from promptseg.features.encode import image_tensor
from promptseg.features.features_cache import FeaturesCache
from promptseg.label_space import LabelSpace
from promptseg.models.base import ImageFeatures, Prediction
from promptseg.models.registry import load_model
from promptseg.prompts import Prompts
from promptseg.tasks.masks import masks_at, semantic_map
from promptseg.tasks.semantic import label_map

Photo = NDArray[np.uint8]
"""(H, W, 3) uint8 RGB."""


class Learner:
    """A frozen model with its features on disk, for one thread."""

    def __init__(self, model: str, device: str | None = None, seed: int = 0) -> None:
        """Load the model.

        Raises:
            PromptsegError: as `load_model`.
        """
        self.model, self._seed = load_model(model, device), seed

    def zero_shot(self, space: LabelSpace) -> Prompts:
        """The model's default prompts for the classes."""
        return default_prompts(self.model, space)

    def learn(self, shots: Sequence[LabelledPhoto]) -> Prompts:
        """Prompts learned from every labelled pixel of the photos."""
        run = fit(self.model, shots, "semprompt", steps=10, seed=self._seed, progress=False, flip=False)
        return run.prompts

    @torch.no_grad()
    def answer(self, prompts: Prompts, photo: Photo) -> NDArray[np.uint8]:
        """The class of every pixel, (H, W) uint8."""
        return label_map(self._decode(prompts, photo), 0, (photo.shape[0], photo.shape[1]))

    @torch.no_grad()
    def glance(self, prompts: Prompts, photo: Photo) -> Glance:
        """The answer at the model's own stride."""
        prediction = self._decode(prompts, photo)
        height, width = prediction.image_sizes[0]
        stride = prediction.canvas[0] / prediction.mask_logits.shape[-2]
        size = (max(1, round(height / stride)), max(1, round(width / stride)))
        classes = semantic_map(prediction.class_logits[0], masks_at(prediction, 0, size))
        shares = classes / classes.sum(0).clamp(min=1e-12)
        best = shares.topk(min(2, len(shares)), dim=0).values
        margin = best[0] - best[1] if len(best) > 1 else best[0]
        return Glance(classes.argmax(0).to("cpu", torch.uint8).numpy(), float(margin.mean()))

    def summary(self, photo: Photo) -> NDArray[np.float32]:
        """What the photo looks like to the model: mean and deviation of each channel of its features, (2 D,)."""
        maps = self.maps(photo).flatten(1)
        return torch.cat((maps.mean(1), maps.std(1))).numpy()

    def maps(self, photo: Photo) -> Tensor:
        """A dense map of features of the photo, (D, h, w) float32 on the CPU."""
        tensors = self._features(photo).tensors()
        finest = max((t for t in tensors.values() if t.ndim == 4), key=lambda t: t.shape[-1] * t.shape[-2])
        return finest[0].to("cpu", torch.float32)

    @property
    def object_prompts(self) -> tuple[str, ...]:
        """Ways to point at one object that the model takes; none for most."""
        return tuple(getattr(self.model, "object_prompts", ()))

    def find(self, photo: Photo, pointed: Mapping[str, Sequence[tuple[float, ...]]]) -> NDArray[np.bool_]:
        """The mask (H, W) of one object, by `points`, `negative` points and `boxes` in pixels of the photo.

        Raises:
            PromptsegError: the model takes no such prompts, or a place is outside the photo.
        """
        return segment(self.model, photo, **pointed, seed=self._seed).mask  # type: ignore[arg-type]

    def _features(self, photo: Photo) -> ImageFeatures:
        # A cache for this photo alone: one for all would keep every file that it ever opened in memory.
        return FeaturesCache(self.model.device, "disk").features(self.model, image_tensor(self.model, photo))

    def _decode(self, prompts: Prompts, photo: Photo) -> Prediction:
        return self.model.decode(self._features(photo), prompts.to(self.model.device))
