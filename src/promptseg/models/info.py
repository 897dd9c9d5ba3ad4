"""What a model is and what it costs, without running it."""

from dataclasses import dataclass
from pathlib import Path

from promptseg.errors import PromptsegError
from promptseg.files import read_json
from promptseg.models.base import Size
from promptseg.models.fingerprint import fingerprint
from promptseg.models.registry import find_entry
from promptseg.models.sam.names import SamEntry
from promptseg.models.seem.config import NAMED, SeemConfig
from promptseg.models.seem.cost import ModelCost, cost
from promptseg.models.seem.files.model_folder import load_model_folder
from promptseg.models.seem.pointing.one_object import object_prompts
from promptseg.models.seem.segmenter import SPATIAL_CHOICES

SIZE: Size = (512, 1024)
"""Height and width of the image that costs are given for, pixels."""


@dataclass(frozen=True)
class ModelInfo:
    """A model in numbers.

    Attributes:
        name: its name, or the folder it is in.
        config: the numbers that shape it.
        cost: of one image of `SIZE`.
        spatial_choices: its own spatial prompts by name, from which learning can start.
        object_prompts: ways to say which single object is meant.
        folder: where its weights are; None where they are not on this machine.
        fingerprint: of the weights; None likewise.
    """

    name: str
    config: SeemConfig
    cost: ModelCost
    spatial_choices: tuple[str, ...]
    object_prompts: tuple[str, ...]
    folder: Path | None
    fingerprint: str | None


def model_info(name_or_folder: str) -> ModelInfo:
    """Describe a model of the SEEM family by name, be it on this machine or not, or one in a folder.

    Raises:
        PromptsegError: neither a name nor a folder, a folder that is no model, or a model of the SAM family.
    """
    entry = find_entry(name_or_folder)
    if isinstance(entry, SamEntry):
        raise _no_cost(f"{entry.name}: {entry.parameters / 1e6:.1f} M parameters from {entry.source}")
    folder = Path(name_or_folder) if entry is None else entry.folder if entry.available else None
    if folder is not None and "model_type" in read_json(folder / "config.json"):
        raise _no_cost(f"{folder}: a model of the SAM family")
    config, weights = NAMED.get(name_or_folder), None
    if folder is not None:
        network, config = load_model_folder(folder)
        weights = fingerprint(network.named_parameters())
    assert config is not None, "what is not in a folder has a name"
    return ModelInfo(
        name=name_or_folder,
        config=config,
        cost=cost(config, SIZE),
        spatial_choices=SPATIAL_CHOICES,
        object_prompts=object_prompts(config.variant),
        folder=folder,
        fingerprint=weights,
    )


def _no_cost(what: str) -> PromptsegError:
    return PromptsegError(f"{what}; costs are counted for SEEM and X-Decoder alone, see docs/sam.md")
