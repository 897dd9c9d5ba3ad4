"""What a method of learning prompts is to the engine."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from promptseg.prompts import Prompts


class PromptModule(nn.Module, ABC):
    """A module whose parameters are all that is trained; calling it gives the prompts they stand for."""

    @abstractmethod
    def forward(self) -> Prompts:
        """The prompts, differentiable in the parameters."""

    @abstractmethod
    def parts(self) -> dict[str, Tensor]:
        """Tensors that reports need beside the fused prompts, by name."""

    def moves(self) -> frozenset[str]:
        """The prompts that training changes, among `spatial`, `semantic` and `background`."""
        return frozenset({"spatial", "semantic", "background"})

    def rate_scales(self) -> dict[str, float]:
        """Learning rates relative to the base rate, by parameter name; 1 where none is named."""
        return {}

    def num_parameters(self) -> int:
        """How many numbers are trained."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)
