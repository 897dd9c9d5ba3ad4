"""Training batches for the small model: endless generated scenes, or augmented photos of a data set."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from promptseg.data.images import resize_image, resize_labels
from promptseg.data.sample import PanopticLabels, Sample
from promptseg.data.streets.scene import generate_scene
from promptseg.label_space import IGNORE
from promptseg.tasks.matched_loss import Segments

MASK_STRIDE = 4
"""The stride of the decoder's masks: targets are averaged over cells of that many pixels."""
SMALLEST_SEGMENT = 12
"""Segments of fewer pixels are left out of the matching (they stay in the semantic loss)."""


@dataclass(frozen=True)
class Example:
    """One training image: pixels (3, H, W) 0..255, labels (H, W) int64, segments at `MASK_STRIDE`."""

    pixels: Tensor
    labels: Tensor
    segments: Segments


def generated_examples(condition: str, seed: int, step: int, batch: int, size: tuple[int, int]) -> list[Example]:
    """The scenes of one step; a function of seed and step alone, so a resumed run sees the same ones."""
    examples = []
    for item in range(batch):
        scene = generate_scene(condition, f"nano:{seed}:{step}:{item}", size)
        rng = np.random.default_rng([seed, step, item])
        image = jitter_colors(scene.image, rng, strength=0.1)
        examples.append(example(image, scene.semantic, panoptic_masks(scene.panoptic)))
    return examples


class PhotoExamples:
    """Augmented examples of a labelled split: random scale, crop, mirror and colour; epochs are shuffled."""

    def __init__(self, samples: Sequence[Sample], short_side: int, seed: int) -> None:
        self._photos = [(sample.image(), sample.semantic()) for sample in samples]
        self._short_side = short_side
        self._seed = seed

    def step(self, step: int, batch: int) -> list[Example]:
        """The examples of one step; a function of seed and step alone. All have the size of the first photo."""
        examples = []
        for position in range(step * batch, (step + 1) * batch):
            epoch, index = divmod(position, len(self._photos))
            order = np.random.default_rng([self._seed, epoch]).permutation(len(self._photos))
            rng = np.random.default_rng([self._seed, epoch, index])
            image, labels = self._photos[order[index]]
            examples.append(self._augmented(image, labels, rng))
        return examples

    def _augmented(self, image: NDArray[np.uint8], labels: NDArray[np.uint8], rng: np.random.Generator) -> Example:
        height, width = self._photos[0][1].shape
        canvas = tuple(round(side * self._short_side / min(height, width) / 32) * 32 for side in (height, width))
        scale = rng.uniform(1.0, 1.6)
        scaled = (round(canvas[0] * scale), round(canvas[1] * scale))
        top, left = (rng.integers(0, big - small + 1) for big, small in zip(scaled, canvas, strict=True))
        window = np.s_[top : top + canvas[0], left : left + canvas[1]]
        image, labels = resize_image(image, scaled)[window], resize_labels(labels, scaled)[window]
        if rng.random() < 0.5:
            image, labels = image[:, ::-1], labels[:, ::-1]
        return example(jitter_colors(image, rng, strength=0.25), labels, class_masks(labels))


def example(image: NDArray[np.uint8], labels: NDArray[np.uint8], masks: list[tuple[int, NDArray[np.bool_]]]) -> Example:
    """Join pixels, labels and (class, mask) pairs; masks are averaged down to `MASK_STRIDE`."""
    kept = [(class_id, mask) for class_id, mask in masks if mask.sum() >= SMALLEST_SEGMENT]
    height, width = labels.shape
    stacked = np.stack([mask for _, mask in kept]) if kept else np.zeros((0, height, width), bool)
    small = F.avg_pool2d(torch.from_numpy(stacked).float()[None], MASK_STRIDE)[0].flatten(1)
    classes = torch.tensor([class_id for class_id, _ in kept], dtype=torch.long)
    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
    return Example(pixels, torch.from_numpy(np.ascontiguousarray(labels)).long(), Segments(classes, small))


def panoptic_masks(labels: PanopticLabels) -> list[tuple[int, NDArray[np.bool_]]]:
    """(class, mask) of every segment that is not a crowd."""
    return [(segment.class_id, labels.map == segment.id) for segment in labels.segments if not segment.is_crowd]


def class_masks(labels: NDArray[np.uint8]) -> list[tuple[int, NDArray[np.bool_]]]:
    """(class, mask) of every class, where a data set has no instances."""
    return [(int(class_id), labels == class_id) for class_id in np.unique(labels) if class_id != IGNORE]


def jitter_colors(image: NDArray[np.uint8], rng: np.random.Generator, strength: float) -> NDArray[np.uint8]:
    """Random brightness, contrast and colour balance, each within 1 +- `strength`."""
    contrast, brightness, *balance = rng.uniform(1 - strength, 1 + strength, 5)
    pixels = image.astype(np.float32)
    mean = pixels.mean()
    pixels = ((pixels - mean) * contrast + mean) * brightness * np.asarray(balance, np.float32) ** 0.5
    jittered: NDArray[np.uint8] = pixels.clip(0, 255).astype(np.uint8)
    return jittered
