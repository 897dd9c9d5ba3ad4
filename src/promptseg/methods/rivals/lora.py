"""LoRA: a low-rank addition to every linear map and full convolution of the image side (Hu et al., 2021).

W' = W + (alpha / r) B A with A (r, fan in) drawn as a linear map's start and B (fan out, r) = 0, so that it starts from
the model itself. A kernel counts as a matrix (fan out, channels * height * width). Depthwise convolutions have no rank
to spare and stay as they are. The factor alpha / r is kept in B; alpha = r here, so it is 1 and the rate stands for it.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from promptseg.checks import check_number, check_whole
from promptseg.methods.module import Method, WeightModule
from promptseg.methods.pixel.pixprompt import PixelPrompts, PixelSettings, starting_prompts
from promptseg.models.base import PromptableSegmenter
from promptseg.models.capabilities import changeable_weights
from promptseg.models.weights import LORA_A, LORA_B
from promptseg.prompts import Prompts


@dataclass(frozen=True)
class LoRASettings:
    """Settings of LoRA.

    Attributes:
        rank: r, or less where a matrix has less.
        lora_rate: learning rate relative to the base rate.
    """

    rank: int = 4
    lora_rate: float = 0.3

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        check_whole("rank", self.rank)
        check_number("lora_rate", self.lora_rate)


class LoRA(WeightModule):
    """A and B of every matrix; all prompts stay default."""

    def __init__(self, model: PromptableSegmenter, defaults: Prompts, settings: LoRASettings, seed: int) -> None:
        """Start from the model itself.

        Args:
            model: gives the matrices.
            defaults: default prompts, none of which is learned.
            settings: of the learning.
            seed: of A.

        Raises:
            PromptsegError: the model offers no weights.
        """
        super().__init__(settings.lora_rate)
        offered = changeable_weights(model).weights()
        matrices = {w.name: w.value for w in offered if w.layer == "linear" and not w.is_bias}
        self._names = tuple(matrices)
        generator = torch.Generator().manual_seed(seed)
        self.a, self.b = nn.ParameterList(), nn.ParameterList()
        for value in matrices.values():
            rows, columns = len(value), value[0].numel()
            rank = min(settings.rank, rows, columns)
            bound = 1 / math.sqrt(columns)
            drawn = (2 * torch.rand((rank, columns), generator=generator) - 1) * bound
            self.a.append(nn.Parameter(drawn.to(value)))
            self.b.append(nn.Parameter(value.new_zeros(rows, rank)))

    def weights(self) -> dict[str, Tensor]:
        """The factors, as they are saved."""
        return {f"{name}{LORA_A}": a for name, a in zip(self._names, self.a, strict=True)} | {
            f"{name}{LORA_B}": b for name, b in zip(self._names, self.b, strict=True)
        }


@dataclass(frozen=True)
class LoRAPixelSettings(PixelSettings, LoRASettings):
    """Settings of LoRA, and of the pixel prompts that are solved over the adapted maps."""

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        LoRASettings.__post_init__(self)
        PixelSettings.__post_init__(self)


METHOD = Method(LoRASettings, LoRA, encodes=True)
LORA_PIXPROMPT = Method(LoRAPixelSettings, LoRA, solver=PixelPrompts, starter=starting_prompts, encodes=True)
"""Pixel prompts first, LoRA with these in place, and pixel prompts again over the maps that come of it."""
