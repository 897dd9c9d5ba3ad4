"""Fine-tuning: all weights of the decoder, all of the model, or all biases (BitFit, Ben Zaken et al., 2022).

What is trained is the difference to the model's own weights, so that weight decay draws towards the model. Spatial
prompts stand for the decoder's queries and semantic ones for the text encoder: they are trained where those belong to
what is fine-tuned, as free tensors that start from the default.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from promptseg.checks import check_number
from promptseg.methods.module import Method, PromptModule
from promptseg.models.base import PromptableSegmenter
from promptseg.models.capabilities import changeable_weights
from promptseg.models.weights import Weight
from promptseg.prompts import Prompts, Role


@dataclass(frozen=True)
class FineTuneSettings:
    """Settings of fine-tuning.

    Attributes:
        weight_rate: learning rate of weights relative to the base rate.
        prompt_rate: of the prompts that are trained with them.
    """

    weight_rate: float = 0.01
    prompt_rate: float = 0.01

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        check_number("weight_rate", self.weight_rate)
        check_number("prompt_rate", self.prompt_rate)


@dataclass(frozen=True)
class BitFitSettings:
    """Settings of BitFit.

    Attributes:
        bias_rate: learning rate relative to the base rate.
    """

    bias_rate: float = 0.1

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        check_number("bias_rate", self.bias_rate)


class FineTune(PromptModule):
    """Differences to chosen weights, and chosen prompts."""

    def __init__(self, weights: dict[str, Tensor], prompts: dict[str, Tensor], rates: tuple[float, float]) -> None:
        """Start from the model.

        Args:
            weights: the model's own, by name; they stay as they are.
            prompts: default prompts that are trained too, by kind.
            rates: of weights and of prompts, relative to the base rate.
        """
        super().__init__()
        self._names, self._rates = tuple(weights), rates
        self.differences = nn.ParameterList(torch.zeros_like(own) for own in weights.values())
        self.prompts = nn.ParameterDict({name: nn.Parameter(own.clone()) for name, own in prompts.items()})

    @property
    def learned_kinds(self) -> frozenset[str]:
        """Those of the prompts that are trained."""
        return frozenset(self.prompts)

    def forward(self) -> dict[str, Tensor]:
        """The prompts as they are."""
        return dict(self.prompts)

    def weights(self) -> dict[str, Tensor]:
        """The differences."""
        return dict(zip(self._names, self.differences, strict=True))

    def rate_scales(self) -> dict[str, float]:
        """As the settings say."""
        return {name: self._rates[name.startswith("prompts.")] for name, _ in self.named_parameters()}


def _finetuning(chosen: Callable[[Weight], bool], roles: tuple[Role, ...], encodes: bool) -> Method:
    def build(model: PromptableSegmenter, defaults: Prompts, settings: FineTuneSettings, seed: int) -> FineTune:
        weights = {weight.name: weight.value for weight in changeable_weights(model).weights() if chosen(weight)}
        prompts = {name: tensor for role in roles for name, tensor in defaults.of_role(role).items()}
        return FineTune(weights, prompts, (settings.weight_rate, settings.prompt_rate))

    return Method(FineTuneSettings, build, encodes=encodes)


def _bitfit(model: PromptableSegmenter, defaults: Prompts, settings: BitFitSettings, seed: int) -> FineTune:
    biases = {weight.name: weight.value for weight in changeable_weights(model).weights() if weight.is_bias}
    return FineTune(biases, {}, (settings.bias_rate, 0.0))


DECODER = _finetuning(lambda weight: weight.part == "decoder", ("mask",), encodes=False)
EVERYTHING = _finetuning(lambda weight: True, ("mask", "class", "void"), encodes=True)
BITFIT = Method(BitFitSettings, _bitfit, encodes=True)
