"""Fusion of learned and default prompts: z_new = w * z^ + (1 - w) * z (Eq. 4 and 6 of the paper)."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from promptseg.checks import check_choice, check_number, is_number
from promptseg.errors import PromptsegError

STARTS = ("copy", "noise", "normal", "prototype")
WEIGHT_MAPS = ("sigmoid", "clamp")


@dataclass(frozen=True)
class FusionSettings:
    """How learned prompts start and how they are weighted.

    Attributes:
        start: start of z^: `copy` of the default, `noise` = copy plus noise of `start_noise` times
            the default's spread, `normal` = random of that spread alone, `prototype` = what the shots show of each
            class (semantic prompts only; see prototypes.py).
        start_noise: see `start`.
        weight: `learned`, or a fixed number in [0, 1]: 0.5 is the paper's "average" row, 1 leaves
            the default out.
        weight_start: first value of a learned weight.
        weight_map: what keeps a learned weight in [0, 1]: the `sigmoid` of a free parameter, or `clamp`.
    """

    start: str = "noise"
    start_noise: float = 0.3
    weight: float | Literal["learned"] = "learned"
    weight_start: float = 0.5
    weight_map: str = "sigmoid"

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        check_choice("start", self.start, STARTS)
        check_choice("weight_map", self.weight_map, WEIGHT_MAPS)
        if self.weight != "learned" and not (is_number(self.weight) and 0 <= self.weight <= 1):
            raise PromptsegError(f"weight is {self.weight!r}: give 'learned' or a number from 0 to 1")
        if not (is_number(self.weight_start) and 0 < self.weight_start < 1):
            raise PromptsegError(f"weight_start is {self.weight_start!r}: give a number between 0 and 1")
        check_number("start_noise", self.start_noise)


class Fusion(nn.Module):
    """K default prompts (K, D), fused with learned ones of the same shape by one weight each."""

    default: Tensor

    def __init__(self, default: Tensor, settings: FusionSettings, generator: torch.Generator) -> None:
        """Start from `default` (K, D); `generator` (on the CPU) draws the noise of the start."""
        super().__init__()
        self._settings = settings
        self.register_buffer("default", default.detach().clone())
        self.learned = nn.Parameter(_start(default, settings, generator))
        if settings.weight == "learned":
            start = torch.full((len(default), 1), settings.weight_start, device=default.device)
            self.free_weight = nn.Parameter(start.logit() if settings.weight_map == "sigmoid" else start)
        else:
            self.register_buffer(
                "fixed_weight", torch.full((len(default), 1), float(settings.weight), device=default.device)
            )

    def weight(self) -> Tensor:
        """Share (K, 1) of the learned prompts, w in [0, 1]."""
        if self._settings.weight != "learned":
            return self.get_buffer("fixed_weight")
        return self.free_weight.sigmoid() if self._settings.weight_map == "sigmoid" else self.free_weight.clamp(0, 1)

    def forward(self) -> Tensor:
        """The fused prompts (K, D)."""
        weight = self.weight()
        return weight * self.learned + (1 - weight) * self.default


def _start(default: Tensor, settings: FusionSettings, generator: torch.Generator) -> Tensor:
    spread = default.std()
    noise = torch.randn(default.shape, generator=generator).to(default) * spread
    match settings.start:
        case "copy" | "prototype":  # prototypes take its place as soon as the shots were seen
            return default.detach().clone()
        case "noise":
            return default.detach() + settings.start_noise * noise
        case _:
            return noise
