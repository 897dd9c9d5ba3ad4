"""SSPrompt: learned spatial and semantic prompts, each fused with the model's defaults (Eq. 4, 6, 8, 9).

SpaPrompt learns the spatial prompts alone, SemPrompt the semantic ones, zero-shot none.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from promptseg.checks import check_flag, check_number
from promptseg.errors import PromptsegError
from promptseg.methods.fusion import Fusion, FusionSettings
from promptseg.methods.module import Method, PromptModule
from promptseg.methods.prototypes import SemanticPrototypes
from promptseg.models.base import PromptableSegmenter
from promptseg.prompts import Prompts, Role


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

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        super().__post_init__()
        for name in ("renormalise", "learn_background"):
            check_flag(name, getattr(self, name))
        for name in ("spatial_rate", "spatial_weight_rate", "semantic_rate", "semantic_weight_rate"):
            check_number(name, getattr(self, name))


class SSPrompt(PromptModule):
    """Fusions over default prompts, kind by kind."""

    def __init__(self, defaults: Prompts, settings: SSPromptSettings, seed: int, roles: Collection[Role]) -> None:
        """Start from the model's defaults.

        Args:
            defaults: default prompts, on the device to train on.
            settings: how to fuse.
            seed: of the random start.
            roles: of the kinds that are fused; `class` brings `void` along where the settings say so.

        Raises:
            PromptsegError: the background is to be learned, and the model has none; or spatial prompts are to start
                as prototypes.
        """
        super().__init__()
        if "mask" in roles and settings.start == "prototype":
            raise PromptsegError("start is 'prototype': shots show classes, not spatial prompts; choose semprompt")
        learns_void = "class" in roles and settings.learn_background
        if learns_void and not defaults.of_role("void"):
            raise PromptsegError(
                f"learn_background is true: {defaults.model_id} has no background prompt; leave it out"
            )
        roles = {*roles, "void"} if learns_void else set(roles)
        generator = torch.Generator().manual_seed(seed)
        self._settings = settings
        self._roles = {kind.name: kind.role for kind in defaults.spec if kind.role in roles}
        self.fusions = nn.ModuleDict(
            {name: Fusion(defaults.kinds[name], settings, generator) for name in self._roles if name in defaults.kinds}
        )

    @property
    def learned_kinds(self) -> frozenset[str]:
        """Those that are fused."""
        return frozenset(self.fusions)

    def forward(self) -> dict[str, Tensor]:
        """The fused prompts."""
        return {name: self._fused(name, fusion) for name, fusion in self._by_kind().items()}

    def start_at(self, kinds: Mapping[str, Tensor]) -> None:
        """Learned prompts (K, D) of some kinds."""
        with torch.no_grad():
            for name, tensor in kinds.items():
                self._by_kind()[name].learned.copy_(tensor)

    def parts(self) -> dict[str, Tensor]:
        """Per learned kind: `KIND.learned` (K, D), `KIND.weight` (K, 1) and `KIND.default` (K, D)."""
        tensors: dict[str, Tensor] = {}
        for name, fusion in self._by_kind().items():
            tensors |= {
                f"{name}.learned": fusion.learned,
                f"{name}.weight": fusion.weight(),
                f"{name}.default": fusion.default,
            }
        return tensors

    def rate_scales(self) -> dict[str, float]:
        """As the settings say."""
        own = self._settings
        scales: dict[str, float] = {}
        for name in self.fusions:
            rates = (own.spatial_rate, own.spatial_weight_rate)
            if self._roles[name] != "mask":
                rates = (own.semantic_rate, own.semantic_weight_rate)
            scales |= {f"fusions.{name}.learned": rates[0], f"fusions.{name}.free_weight": rates[1]}
        return scales

    def _by_kind(self) -> dict[str, Fusion]:
        return {name: fusion for name, fusion in self.fusions.items() if isinstance(fusion, Fusion)}

    def _fused(self, name: str, fusion: Fusion) -> Tensor:
        fused: Tensor = fusion()
        if self._roles[name] == "mask" or not self._settings.renormalise:
            return fused
        lengths: Tensor = torch.linalg.vector_norm(fusion.default, dim=-1, keepdim=True)
        return F.normalize(fused, dim=-1) * lengths


def _fusing(*roles: Role) -> Method:
    def build(model: PromptableSegmenter, defaults: Prompts, settings: SSPromptSettings, seed: int) -> SSPrompt:
        return SSPrompt(defaults, settings, seed, roles)

    return Method(SSPromptSettings, build, starter=_starter if roles == ("class",) else None)


def _starter(
    model: PromptableSegmenter, defaults: Prompts, shots: int, settings: SSPromptSettings, seed: int
) -> SemanticPrototypes | None:
    return SemanticPrototypes(model, defaults) if settings.start == "prototype" else None


ZERO_SHOT, SSPROMPT, SPAPROMPT, SEMPROMPT = _fusing(), _fusing("mask", "class"), _fusing("mask"), _fusing("class")
