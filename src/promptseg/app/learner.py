"""The model behind the page: encode a photo once, solve pixel prompts from labels, answer for a photo.

The pixel prompts of a fit are chosen among recipes by cross-validation over shots, which takes seconds and needs
several photos. Here one rule must do, within a second and from the first strokes on: a ridge of 1 / photos, as
beside a fixed prior every photo is one more observation. The score on the page says how it does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from promptseg.app.labels import LabelledPhoto
from promptseg.app.order import Glance
from promptseg.data.images import resize_labels
from promptseg.engine.defaults import default_prompts
from promptseg.engine.segment import segment
from promptseg.engine.settings import resolve
from promptseg.features.encode import image_tensor
from promptseg.features.features_cache import FeaturesCache
from promptseg.label_space import LabelSpace
from promptseg.methods.pixel.pixprompt import PIXPROMPT
from promptseg.methods.pixel.samples import PixelSampler, PixelSamples
from promptseg.methods.pixel.solver import PixelProblem, Recipe
from promptseg.models.base import ImageFeatures, Prediction
from promptseg.models.capabilities import dense_maps
from promptseg.models.evidence import BIAS, EMBEDDING, FLOOR, TRUST, largest
from promptseg.models.registry import load_model
from promptseg.prompts import Prompts
from promptseg.record import Draw, FitRecord
from promptseg.tasks.masks import resize_bilinear, semantic_map, strips

Photo = NDArray[np.uint8]
"""(H, W, 3) uint8 RGB."""

PIXELS = 8_000
"""Labelled pixels that are solved on, of all photos together."""
_PHOTO_PIXELS = 4_000
"""Of one photo, at most."""
_STEPS = 10
_GLANCE = 192
"""Longest side of a glance, pixels."""


class Learner:
    """A frozen model with its features on disk, for one thread."""

    def __init__(self, model: str, device: str | None = None, seed: int = 0) -> None:
        """Load the model.

        Raises:
            PromptsegError: as `load_model`, or a model without dense maps.
        """
        self.model, self._seed = load_model(model, device), seed
        self._maps = dense_maps(self.model)
        self._samples: dict[tuple[str, str, tuple[str, ...]], PixelSamples] = {}

    def zero_shot(self, space: LabelSpace) -> Prompts:
        """The model's default prompts for the classes."""
        return default_prompts(self.model, space).to(self.model.device)

    def learn(self, shots: Sequence[LabelledPhoto], zero_shot: Prompts) -> Prompts:
        """Pixel prompts solved from every photo's labelled pixels, beside the model's default prompts."""
        keys = [(shot.id, shot.version, shot.label_space.names) for shot in shots]
        self._samples = {
            key: self._samples[key] if key in self._samples else self._sampled(shot, zero_shot)
            for key, shot in zip(keys, shots, strict=True)
        }
        problem = PixelProblem.of(self._joined())
        recipe = Recipe(ridge=1 / len(shots))
        solution = problem.solve_from_leading(recipe, _STEPS)
        kinds = dict(zip((EMBEDDING, BIAS, TRUST), problem.folded(solution), strict=True))
        return replace(zero_shot.updated(kinds), record=self._record(shots, recipe))

    @torch.no_grad()
    def answer(self, prompts: Prompts, photo: Photo) -> NDArray[np.uint8]:
        """The class of every pixel, (H, W) uint8."""
        labels = np.empty(photo.shape[:2], np.uint8)
        for columns, part in strips(_scores(self._decode(prompts, photo)), (photo.shape[0], photo.shape[1])):
            labels[:, columns] = largest(part).to("cpu", torch.uint8)
        return labels

    @torch.no_grad()
    def glance(self, prompts: Prompts, photo: Photo) -> Glance:
        """The answer at every n-th pixel each way of what the model sees, n such that few are left."""
        scores = _scores(self._decode(prompts, photo))
        step = -(-max(scores.shape[1:]) // _GLANCE)
        shares = scores[:, step // 2 :: step, step // 2 :: step].softmax(0)
        best = shares.topk(min(2, len(shares)), dim=0).values
        margin = best[0] - best[1] if len(best) > 1 else best[0]
        return Glance(largest(shares).to("cpu", torch.uint8).numpy(), float(margin.mean()))

    def summary(self, photo: Photo) -> NDArray[np.float32]:
        """What the photo looks like to the model: mean and deviation of each channel of its dense maps, (2 D,)."""
        flat = [one[0].flatten(1) for one in self._maps.dense_maps(self._features(photo))]
        return torch.cat([part for one in flat for part in (one.mean(1), one.std(1, correction=0))]).cpu().numpy()

    def maps(self, photo: Photo) -> Tensor:
        """The finest dense map of the photo, (D, h, w) float32 on the CPU."""
        found = self._maps.dense_maps(self._features(photo))
        return max(found, key=lambda one: one.shape[-2] * one.shape[-1])[0].to("cpu", torch.float32)

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

    @torch.no_grad()
    def _sampled(self, shot: LabelledPhoto, zero_shot: Prompts) -> PixelSamples:
        features = self._features(shot.photo)
        labels = torch.from_numpy(resize_labels(shot.labels, features.image_sizes[0]))
        sampler = PixelSampler(_PHOTO_PIXELS, 1, len(shot.label_space), self._seed)
        sampler.take(0, self._maps.dense_maps(features), self.model.decode(features, zero_shot), labels)
        return sampler.samples()

    def _joined(self) -> PixelSamples:
        """Samples of all photos, an equal part of `PIXELS` of each."""
        each = max(1, PIXELS // len(self._samples))
        generator = torch.Generator().manual_seed(self._seed)
        parts = []
        for number, one in enumerate(self._samples.values()):
            rows = torch.randperm(len(one), generator=generator)[:each].to(one.labels.device)
            weights = one.weights[rows] * (len(one) / max(1, len(rows)))
            shots = torch.full_like(rows, number)
            parts.append((one.features[rows], one.labels[rows], one.answers[rows], weights, shots))
        return PixelSamples(*(torch.cat(columns) for columns in zip(*parts, strict=True)))

    def _record(self, shots: Sequence[LabelledPhoto], recipe: Recipe) -> FitRecord:
        resolved = resolve("tuned", PIXPROMPT, {"pixels": PIXELS, "solver_steps": _STEPS})
        return FitRecord(
            "pixprompt",
            "semantic",
            "tuned",
            self._seed,
            settings=resolved.fit,
            method_settings=asdict(resolved.method),
            task_settings=asdict(resolved.task),
            draw=Draw(tuple(shot.id for shot in shots)),
            licence=f"of the model: {self.model.licence}",
            tried=(asdict(recipe),),
        )

    def _features(self, photo: Photo) -> ImageFeatures:
        # A cache for this photo alone: one for all would keep every file that it ever opened in memory.
        return FeaturesCache(self.model.device, "disk").features(self.model, image_tensor(self.model, photo))

    def _decode(self, prompts: Prompts, photo: Photo) -> Prediction:
        return self.model.decode(self._features(photo), prompts)


def _scores(prediction: Prediction) -> Tensor:
    """Log probability of each class, up to a constant, at the size that the photo has on the canvas: (C, h, w).

    `predict` brings every mask to the photo's size before it adds them up. Here they are added up at the masks' own
    size, and the few maps of classes are brought up: a seventh of the time, and other answers at a few borders.
    """
    masks, (height, width) = prediction.mask_logits[0], prediction.image_sizes[0]
    scores = (semantic_map(prediction.class_logits[0], masks) + FLOOR).log()
    if (evidence := prediction.evidence) is not None:
        grid = (masks.shape[-2], masks.shape[-1])
        found = torch.stack([resize_bilinear(one[0], grid) for one in evidence.maps]).sum(0)
        scores = evidence.trust[:, None, None] * scores + found + evidence.bias[:, None, None]
    return resize_bilinear(scores, prediction.canvas)[:, :height, :width]
