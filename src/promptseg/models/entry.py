"""What the list of models says of each."""

from typing import Protocol


class ModelEntry(Protocol):
    """One model that can be loaded by name."""

    @property
    def name(self) -> str:
        """What `load_model` takes."""

    @property
    def parameters(self) -> int:
        """Number of weights."""

    @property
    def licence(self) -> str:
        """Of the weights, as far as it is known."""

    @property
    def code_licence(self) -> str:
        """Of the authors' own code."""

    @property
    def source(self) -> str:
        """Where the weights come from."""

    @property
    def available(self) -> bool:
        """Whether the weights are on this machine."""
