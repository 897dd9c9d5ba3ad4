"""Other views of the training images, where each step encodes its images anyway: parts of them enlarged, other colours.

Features of such views could not be kept, so methods that leave the image encoder alone learn from the images as they
are, and mirrored.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from promptseg.features.encode import Encoded
from promptseg.models.base import Size
from promptseg.seeds import generator_at
from promptseg.tasks.base import Task, Window


@dataclass(frozen=True)
class Augmentation:
    """Random views; what is drawn depends on the seed, the step and the place in the batch alone.

    Attributes:
        zoom: a window whose sides are from 1 to this many times smaller than the image's is enlarged to its size.
        jitter: brightness, contrast and saturation are multiplied by 1 - jitter to 1 + jitter, and the exponent of the
            values (gamma) is 2 ** -jitter to 2 ** jitter.
        seed: of the draws.
    """

    zoom: float
    jitter: float
    seed: int

    def __call__(self, batch: Sequence[Encoded], task: Task[Any], step: int) -> list[Encoded]:
        """The batch of a step with views in place of its images and targets, of the same sizes."""
        if self.zoom == 1 and not self.jitter:
            return list(batch)
        generator = generator_at(self.seed, step)
        return [self._view(item, task, generator) for item in batch]

    def _view(self, item: Encoded, task: Task[Any], generator: torch.Generator) -> Encoded:
        draws = torch.rand(7, generator=generator).tolist()
        pixels, target = item.pixels, item.target
        if self.zoom > 1:
            height, width = pixels.shape[1:]
            window = _window((height, width), 1 / self.zoom, draws[:3])
            pixels, target = enlarged(pixels, window), task.windowed(target, window)
        if self.jitter:
            pixels = recoloured(pixels, self.jitter, draws[3:])
        return replace(item, pixels=pixels, target=target)


def _window(size: Size, least: float, draws: Sequence[float]) -> Window:
    """A window of one of the sizes between `least` times `size` and `size`, anywhere in it; of three draws in 0..1."""
    part = least + (1 - least) * draws[0]
    height, width = (max(1, round(part * side)) for side in size)
    return Window(int(draws[1] * (size[0] - height + 1)), int(draws[2] * (size[1] - width + 1)), height, width)


def enlarged(pixels: Tensor, window: Window) -> Tensor:
    """What is in a window of an image (3, h, w) uint8, bilinearly enlarged to (3, h, w)."""
    part = pixels[None, :, window.rows, window.columns].float()
    return F.interpolate(part, pixels.shape[1:], mode="bilinear")[0].round_().to(torch.uint8)


def recoloured(pixels: Tensor, jitter: float, draws: Sequence[float]) -> Tensor:
    """An image (3, h, w) uint8 with other brightness, contrast, saturation and gamma, by four draws in 0..1."""
    brightness, contrast, saturation, gamma = (jitter * (2 * draw - 1) for draw in draws)
    values = pixels.float().mul_(1 + brightness)
    values = values.lerp_(values.mean(), -contrast)
    values = values.lerp_(values.mean(0, keepdim=True), -saturation)
    return values.clamp_(0, 255).div_(255).pow_(2**gamma).mul_(255).round_().to(torch.uint8)
