"""Samples drawn in memory: coloured rectangles on a background, for tests of the engine."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from promptseg.data.sample import ObjectLabels, PanopticLabels, Segment
from promptseg.errors import PromptsegError
from promptseg.label_space import ClassInfo, LabelSpace

SPACE = LabelSpace(
    "shapes",
    (ClassInfo("ground", (90, 90, 90)), ClassInfo("car", (200, 30, 30), True), ClassInfo("sky", (30, 60, 200))),
)


@dataclass(frozen=True)
class ShapeSample:
    """Ground below, sky above, one car; the first column is unlabelled."""

    number: int
    height: int = 48
    width: int = 80
    label_space: LabelSpace = SPACE

    @property
    def id(self) -> str:
        """Its number."""
        return f"shape/{self.number}"

    def semantic(self) -> NDArray[np.uint8]:
        """The drawing."""
        labels = np.zeros((self.height, self.width), np.uint8)
        labels[: self.height // 3] = 2
        top, left = 18 + self.number % 5, (self.number * 13) % (self.width - 24)
        labels[top : top + 16, left : left + 20] = 1
        labels[:, 0] = 255
        return labels

    def image(self) -> NDArray[np.uint8]:
        """The colours of the classes, with noise."""
        rng = np.random.default_rng(self.number)
        colors = np.zeros((256, 3), np.int64)
        colors[:3] = SPACE.colors
        noisy = colors[self.semantic()] + rng.integers(-20, 20, (self.height, self.width, 3))
        return noisy.clip(0, 255).astype(np.uint8)

    def panoptic(self) -> PanopticLabels:
        """There are none."""
        raise PromptsegError(f"{self.id}: shapes have no instance labels")

    def objects(self) -> ObjectLabels:
        """Those of the panoptic labels."""
        return ObjectLabels.of(self.panoptic())


SHAPES = [ShapeSample(number) for number in range(6)]


@dataclass(frozen=True)
class CarSample(ShapeSample):
    """A shape with instance labels: ground, sky and one car."""

    def panoptic(self) -> PanopticLabels:
        """Three segments."""
        labels = self.semantic()
        map_ = np.where(labels == 255, 0, labels.astype(np.int32) + 11)
        return PanopticLabels(map_.astype(np.int32), (Segment(11, 0), Segment(12, 1), Segment(13, 2)))


CARS = [CarSample(number) for number in range(4)]
