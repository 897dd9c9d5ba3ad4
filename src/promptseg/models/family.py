"""What a model family is to the rest of the package: models by name, how their folders are told, how one is loaded."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptseg.errors import PromptsegError
from promptseg.spec import Spec

if TYPE_CHECKING:
    import torch

    from promptseg.models.base import PromptableSegmenter


@dataclass(frozen=True)
class ModelEntry:
    """One model that can be loaded by name.

    Attributes:
        name: what `load_model` takes.
        parameters: number of weights.
        source: where the weights come from.
        licence: of the weights, as far as it is known.
        code_licence: of the authors' own code.
        folder: says where the weights are on this machine; None where they are not.
    """

    name: str
    parameters: int
    source: str
    licence: str
    code_licence: str
    folder: Callable[[], Path | None] = field(repr=False, compare=False)

    @property
    def available(self) -> bool:
        """Whether the weights are on this machine."""
        return self.folder() is not None


@dataclass(frozen=True)
class ModelSource:
    """What a spec names.

    Attributes:
        spec: the spec.
        entry: of a model that has a name; None for a folder, or a repository of the hub.
        folder: where its files are; None where they are not on this machine.
    """

    spec: Spec
    entry: ModelEntry | None
    folder: Path | None


class Family(ABC):
    """Models of one kind.

    This package has one in each folder of `models/`; other packages add theirs by entry points of the group
    `promptseg.families`. A module that holds one imports torch only when a model is loaded.

    Attributes:
        entries: the models that have names.
        folders: what the config.json of its model folders says, in words for errors.
    """

    entries: tuple[ModelEntry, ...]
    folders: str

    @abstractmethod
    def recognises(self, config: Mapping[str, Any]) -> bool:
        """Whether the config.json of a model folder is one of this family."""

    @abstractmethod
    def load(self, source: ModelSource, device: "torch.device") -> "PromptableSegmenter":
        """The frozen model, fetched first if it has a name and is not on this machine.

        Raises:
            PromptsegError: options that it does not take, weights that cannot be had, or files that are damaged.
        """

    def describe(self, source: ModelSource) -> dict[str, str]:
        """What the model is and costs, as words by what they are about; a name whose weights are not here will do.

        Raises:
            PromptsegError: as `load`.
        """
        if source.folder is None:
            assert source.entry is not None, "only a name can stand for what is not on this machine"
            return {
                "model": source.spec.text,
                "parameters": f"{source.entry.parameters / 1e6:.1f} M",
                "weights": f"not on this machine, from {source.entry.source}",
            }
        import torch

        model = self.load(source, torch.device("cpu"))
        weights = model.parameter_tensors().values()
        alone = ", ".join(getattr(model, "object_prompts", ()))
        return {
            "model": f"{source.spec.text}: {type(model).__name__}",
            "parameters": f"{sum(weight.numel() for weight in weights) / 1e6:.1f} M",
            "memory": f"{sum(weight.nbytes for weight in weights) / 1e6:.0f} MB of weights",
            "masks by": f"spatial prompts: {' or '.join(model.spatial_choices)}",
            "one object by": alone or "nothing: it takes lists of classes only",
            "licence": model.licence,
            "weights": f"in {source.folder}, fingerprint {model.fingerprint}",
        }

    def words(self, source: ModelSource) -> tuple[str, ...] | None:
        """The words that a model of few words knows (`words.txt` in its folder); None for one that reads any text."""
        file = None if source.folder is None else source.folder / "words.txt"
        return tuple(file.read_text(encoding="utf-8").splitlines()) if file is not None and file.is_file() else None

    def import_checkpoint(self, file: Path, config: str | None, out: Path, tokenizer: Path | None) -> str:
        """Turn a checkpoint of the authors into a model folder; returns a report for people.

        Args:
            file: the checkpoint; nothing in it is executed.
            config: its architecture, a name or a configuration file; None takes the one that fits.
            out: the folder to write.
            tokenizer: of its text encoder.

        Raises:
            PromptsegError: the family reads no other files than its folders, or the file does not fit.
        """
        raise PromptsegError(f"{file}: models of this family need no import: give their folder to --model")
