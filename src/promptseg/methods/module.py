"""What a method is to the engine: settings, a module whose parameters are trained, a solver over its prompts."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from promptseg.models.base import ImageFeatures, Prediction, PromptableSegmenter
from promptseg.prompts import Prompts
from promptseg.record import Setting


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
        """Changes of the model's weights that it answers with, by name (models/weights.py), differentiable; most: none.

        Where there are some of the image encoder, images are encoded anew at every step.
        """
        return {}

    def start_at(self, kinds: Mapping[str, Tensor]) -> None:
        """Start from prompts that the method's `starter` made of the shots."""
        raise NotImplementedError

    def parts(self) -> dict[str, Tensor]:
        """Tensors that reports need beside the prompts, by name."""
        return {}

    def rate_scales(self) -> dict[str, float]:
        """Learning rates relative to the base rate, by parameter name; 1 where none is named."""
        return {}

    def num_parameters(self) -> int:
        """How many numbers are trained."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)


class WeightModule(PromptModule):
    """Parameters that stand for changes of the model's weights alone: all prompts stay as they were given."""

    def __init__(self, rate: float) -> None:
        """All of them learn at `rate`, relative to the base rate."""
        super().__init__()
        self._rate, self._given = rate, dict[str, Tensor]()

    @property
    def learned_kinds(self) -> frozenset[str]:
        """None."""
        return frozenset()

    def forward(self) -> dict[str, Tensor]:
        """The prompts that it started with, if any."""
        return self._given

    def start_at(self, kinds: Mapping[str, Tensor]) -> None:
        """Prompts that stay as they are while weights are learned with them in place."""
        self._given = dict(kinds)

    def rate_scales(self) -> dict[str, float]:
        """The one rate, for every parameter."""
        return {name: self._rate for name, _ in self.named_parameters()}


Build = Callable[[PromptableSegmenter, Prompts, Any, int], PromptModule]
"""From the model, its default prompts, the method's settings and the seed, to a module."""


@dataclass(frozen=True, eq=False)
class Solved:
    """What a solver found.

    Attributes:
        kinds: prompts by kind, on the model's device; empty where nothing beat what is there.
        numbers: how many numbers were learned.
        metrics: what it measured while choosing, by name.
        tried: what it chose from, in the order in which it was tried.
    """

    kinds: Mapping[str, Tensor]
    numbers: int
    metrics: Mapping[str, float]
    tried: tuple[Mapping[str, Setting], ...]


class PromptSolver(ABC):
    """Prompts that are worked out instead of trained: it is shown every shot once, and then solves.

    Attributes:
        cross_fit: in how many folds what was trained before is trained again, each time on the other folds, so that
            the predictions that are shown are of prompts that were not trained on the shot; 0 = it is not.
    """

    cross_fit: int = 0

    @abstractmethod
    def show(self, shot: int, features: ImageFeatures, prediction: Prediction, labels: Tensor) -> None:
        """Take what it needs of a shot; it keeps a bounded part.

        Args:
            shot: its place among the shots, from 0; tiles of one photo share it, as they must be held out together.
            features: of the one image.
            prediction: what the model answers to the prompts so far.
            labels: (h, w) uint8 classes at the size of the image on the canvas, 255 = ignored.
        """

    @abstractmethod
    def solve(self) -> Solved:
        """The prompts, once all shots were shown."""


BuildSolver = Callable[[PromptableSegmenter, int, int, Any, int], PromptSolver]
"""From the model, the number of classes, that of shots, the method's settings and the seed, to a solver."""


BuildStarter = Callable[[PromptableSegmenter, Prompts, int, Any, int], PromptSolver | None]
"""From the model, its default prompts, the number of shots, the method's settings and the seed, to what makes the start
of the shots; none if not."""


@dataclass(frozen=True)
class Method:
    """One way to learn prompts: what is trained, and what is solved over it.

    Attributes:
        settings: its settings dataclass.
        build: makes its module.
        defaults: which default prompts it learns from, as settings of the fit that it does not leave open.
        solver: makes its solver; none = nothing is solved.
        starter: makes what its module starts from; none = never anything but default prompts.
        encodes: whether it trains the image encoder, so that each step encodes its images.
    """

    settings: type
    build: Build
    defaults: Mapping[str, str] = field(default_factory=dict)
    solver: BuildSolver | None = None
    starter: BuildStarter | None = None
    encodes: bool = False
