"""What a method is to the engine: settings, and a module whose parameters are all that is trained."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from promptseg.models.base import PromptableSegmenter
from promptseg.prompts import Prompts


class PromptModule(nn.Module, ABC):
    """Parameters that stand for prompts; calling it gives them."""

    @property
    @abstractmethod
    def learned_kinds(self) -> frozenset[str]:
        """The kinds that training changes."""

    @abstractmethod
    def forward(self) -> dict[str, Tensor]:
        """The prompts by kind: those of `learned_kinds`, (K, D) and differentiable, and what is fixed with them.

        Kinds that are not given stay those that the module was built from.
        """

    def weights(self) -> dict[str, Tensor]:
        """Changed weights of the model that it answers with, by name (models/weights.py), differentiable; most: none.

        Where there are some of the image encoder, images are encoded anew at every step.
        """
        return {}

    def parts(self) -> dict[str, Tensor]:
        """Tensors that reports need beside the prompts, by name."""
        return {}

    def rate_scales(self) -> dict[str, float]:
        """Learning rates relative to the base rate, by parameter name; 1 where none is named."""
        return {}

    def num_parameters(self) -> int:
        """How many numbers are trained."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)


Build = Callable[[PromptableSegmenter, Prompts, Any, int], PromptModule]
"""From the model, its default prompts, the method's settings and the seed, to a module."""


@dataclass(frozen=True)
class Method:
    """One way to learn prompts.

    Attributes:
        settings: its settings dataclass.
        build: makes its module.
        defaults: which default prompts it learns from, as settings of the fit that it does not leave open.
    """

    settings: type
    build: Build
    defaults: Mapping[str, str] = field(default_factory=dict)
