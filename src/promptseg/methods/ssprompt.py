"""SSPrompt: learned spatial and semantic prompts, each fused with the model's defaults (Eq. 4, 6, 8, 9).

SpaPrompt learns the spatial prompts alone, SemPrompt the semantic ones, zero-shot none.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from promptseg.methods.fusion import Fusion, FusionSettings
from promptseg.methods.module import PromptModule
from promptseg.prompts import Prompts


@dataclass(frozen=True)
class SSPromptSettings(FusionSettings):
    """Settings of the fusion, and of what is fused.

    Attributes:
        renormalise: scale every fused semantic prompt to the length of its default. Off: the length
            acts as a temperature of the class (Eq. 6 as written).
        learn_background: train the void column too; off: the model's own.
        spatial_rate: learning rate of the spatial prompts relative to the base rate.
        spatial_weight_rate: of the spatial weights.
        semantic_rate: of the semantic prompts (and of a learned background).
        semantic_weight_rate: of the semantic weights.
    """

    renormalise: bool = False
    learn_background: bool = False
    spatial_rate: float = 1.0
    spatial_weight_rate: float = 10.0
    semantic_rate: float = 1.0
    semantic_weight_rate: float = 1.0


class SSPrompt(PromptModule):
    """Fusions over the default spatial and / or semantic prompts; what is not learned stays default."""

    def __init__(
        self, defaults: Prompts, settings: SSPromptSettings, seed: int, spatial: bool = True, semantic: bool = True
    ) -> None:
        """Start from the model's defaults.

        Args:
            defaults: default prompts, on the device to train on.
            settings: how to fuse.
            seed: of the random start.
            spatial: learn the spatial prompts.
            semantic: learn the semantic prompts.
        """
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self._defaults = defaults
        self._settings = settings
        self.spatial = Fusion(defaults.spatial, settings, generator) if spatial else None
        self.semantic = Fusion(defaults.semantic, settings, generator) if semantic else None
        learns_background = semantic and settings.learn_background
        self.background = Fusion(defaults.background, settings, generator) if learns_background else None

    def forward(self) -> Prompts:
        """The fused prompts."""
        fused: dict[str, Any] = {name: self._renormalised(name, fusion()) for name, fusion in self._fusions().items()}
        return replace(self._defaults, **fused)

    def parts(self) -> dict[str, Tensor]:
        """Per learned kind: `<kind>.learned` (K, D), `<kind>.weight` (K, 1) and `<kind>.default` (K, D)."""
        tensors: dict[str, Tensor] = {}
        for name, fusion in self._fusions().items():
            tensors |= {
                f"{name}.learned": fusion.learned,
                f"{name}.weight": fusion.weight(),
                f"{name}.default": fusion.default,
            }
        return tensors

    def moves(self) -> frozenset[str]:
        """Those that are fused."""
        return frozenset(self._fusions())

    def rate_scales(self) -> dict[str, float]:
        """As the settings say."""
        settings = self._settings
        return {
            "spatial.learned": settings.spatial_rate,
            "spatial.free_weight": settings.spatial_weight_rate,
            "semantic.learned": settings.semantic_rate,
            "semantic.free_weight": settings.semantic_weight_rate,
            "background.learned": settings.semantic_rate,
            "background.free_weight": settings.semantic_weight_rate,
        }

    def _fusions(self) -> dict[str, Fusion]:
        fusions = {"spatial": self.spatial, "semantic": self.semantic, "background": self.background}
        return {name: fusion for name, fusion in fusions.items() if fusion is not None}

    def _renormalised(self, name: str, fused: Tensor) -> Tensor:
        if name == "spatial" or not self._settings.renormalise:
            return fused
        default: Tensor = getattr(self._defaults, name)
        renormalised: Tensor = F.normalize(fused, dim=-1) * torch.linalg.vector_norm(default, dim=-1, keepdim=True)
        return renormalised
