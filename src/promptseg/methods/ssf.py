"""Scale and shift: one factor and one summand for every channel behind every normalisation layer of the image side.

Lian et al., "Scaling & Shifting Your Features", 2022, at the normalisation layers, whose own affine map takes them in:

    (1 + s) * (w x + b) + t = (w + s w) x + (b + s b + t)

so that using them costs nothing, and s w and s b + t are what is saved. At s = t = 0 they are 0.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from promptseg.checks import check_number
from promptseg.methods.module import Method, WeightModule
from promptseg.methods.pixel.pixprompt import PixelPrompts, PixelSettings, starting_prompts
from promptseg.models.base import PromptableSegmenter
from promptseg.models.capabilities import changeable_weights
from promptseg.prompts import Prompts


@dataclass(frozen=True)
class SSFSettings:
    """Settings of scale and shift.

    Attributes:
        norm_rate: learning rate of scales and shifts relative to the base rate.
    """

    norm_rate: float = 1.0

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        check_number("norm_rate", self.norm_rate)


class ScaleShift(WeightModule):
    """s and t of every normalisation layer; all prompts stay default."""

    def __init__(self, model: PromptableSegmenter, defaults: Prompts, settings: SSFSettings, seed: int) -> None:
        """Start from none.

        Args:
            model: gives the layers.
            defaults: default prompts, none of which is learned.
            settings: of the learning.
            seed: not needed, the start is not random.

        Raises:
            PromptsegError: the model offers no weights.
        """
        super().__init__(settings.norm_rate)
        norms = {w.name: w.value for w in changeable_weights(model).weights() if w.layer == "norm"}
        self._own = {name.removesuffix(".weight"): value for name, value in norms.items() if name.endswith(".weight")}
        self._biases = {path: norms[f"{path}.bias"] for path in self._own}
        self.scales = nn.ParameterList(torch.zeros_like(value) for value in self._own.values())
        self.shifts = nn.ParameterList(torch.zeros_like(value) for value in self._own.values())

    def weights(self) -> dict[str, Tensor]:
        """For every layer s w and s b + t."""
        changed: dict[str, Tensor] = {}
        for (path, weight), scale, shift in zip(self._own.items(), self.scales, self.shifts, strict=True):
            changed[f"{path}.weight"] = scale * weight
            changed[f"{path}.bias"] = scale * self._biases[path] + shift
        return changed


@dataclass(frozen=True)
class SSFPixelSettings(PixelSettings, SSFSettings):
    """Settings of scale and shift, and of the pixel prompts that are solved over the adapted maps."""

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        SSFSettings.__post_init__(self)
        PixelSettings.__post_init__(self)


SSF = Method(SSFSettings, ScaleShift, encodes=True)
SSF_PIXPROMPT = Method(SSFPixelSettings, ScaleShift, solver=PixelPrompts, starter=starting_prompts, encodes=True)
"""Pixel prompts first, scales and shifts with these in place, and pixel prompts again over the maps that come of it."""
