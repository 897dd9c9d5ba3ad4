"""Weights on disk: the model folder this package reads and writes.

A model folder holds `model.safetensors` (official parameter names), `config.json`, `tokenizer.json`
(where there is one) and `README.md`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from promptseg.errors import PromptsegError
from promptseg.files import read_json, write_json, write_text
from promptseg.models.seem.config import SeemConfig
from promptseg.models.seem.network.seem_network import SeemNetwork
from promptseg.models.tokenizer import Tokenizer
from promptseg.tensor_files import read_safetensors, write_safetensors

FORMAT_VERSION = 1
WEIGHTS_FILE, CONFIG_FILE, CARD_FILE = "model.safetensors", "config.json", "README.md"
TOKENIZER_FILES = ("tokenizer.json", "bpe_simple_vocab_16e6.txt.gz")
"""Either will do in a model folder: the hub's form, which this package writes, or CLIP's own."""
_SHOWN = 3


@dataclass(frozen=True)
class StateDifference:
    """How the entries of a file differ from those of a network, names sorted."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshapen: tuple[str, ...]


def save_model_folder(
    out: Path, network: SeemNetwork, config: SeemConfig, tokenizer_file: Path | None, card: str, dtype: torch.dtype
) -> None:
    """Write a model folder, each file atomically, the weights last.

    Args:
        out: the folder; files in it are replaced.
        network: its parameters are stored under the official names.
        config: what the network was built from.
        tokenizer_file: `tokenizer.json` or CLIP's classic list of merges; None leaves the model without text.
        card: the README.
        dtype: of the stored weights; they are float32 again when loaded.

    Raises:
        PromptsegError: the tokenizer has another vocabulary than the network.
    """
    if tokenizer_file is not None:
        checked_tokenizer(tokenizer_file, config).save(out / TOKENIZER_FILES[0])
    write_text(out / CARD_FILE, card)
    content = {"format_version": FORMAT_VERSION, "architecture": "seem", "network": config.to_json()}
    write_json(out / CONFIG_FILE, content)
    state = {name: _as(value.detach().cpu(), dtype) for name, value in network.state_dict().items()}
    write_safetensors(out / WEIGHTS_FILE, state)


def load_model_folder(folder: Path) -> tuple[SeemNetwork, SeemConfig]:
    """Read network (float32, on the CPU) and config of a model folder.

    Raises:
        PromptsegError: a file is missing or malformed, or the weights do not fit the config.
    """
    content = read_json(folder / CONFIG_FILE)
    version = content.get("format_version") if isinstance(content, dict) else None
    if version != FORMAT_VERSION:
        raise PromptsegError(f"{folder / CONFIG_FILE}: format_version is {version!r}, expected {FORMAT_VERSION}")
    try:
        config = SeemConfig.from_json(content.get("network"))
    except PromptsegError as error:
        raise PromptsegError(f"{folder / CONFIG_FILE}: {error}") from None
    path = folder / WEIGHTS_FILE
    state = {name: _as(value, torch.float32) for name, value in read_safetensors(path).items()}
    with torch.device("meta"):
        network = SeemNetwork(config)
    found = difference(network, state)
    if found != StateDifference((), (), ()):
        raise PromptsegError(f"{path}: does not fit its config.json: {described(found)}; write the folder again")
    # The network holds shapes only so far, so the loaded tensors become its parameters uncopied.
    network.load_state_dict(state, assign=True)
    return network, config


def find_tokenizer(folder: Path, config: SeemConfig) -> Tokenizer | None:
    """The tokenizer of a model folder, or None where there is no file of it.

    Raises:
        PromptsegError: the file cannot be read, or has another vocabulary than the network.
    """
    for name in TOKENIZER_FILES:
        if (folder / name).is_file():
            return checked_tokenizer(folder / name, config)
    return None


def checked_tokenizer(path: Path, config: SeemConfig) -> Tokenizer:
    """Read a tokenizer that must have the network's vocabulary.

    Raises:
        PromptsegError: the file cannot be read, or has another vocabulary.
    """
    tokenizer = Tokenizer.from_file(path)
    if tokenizer.vocab_size != config.text.vocab:
        raise PromptsegError(
            f"{path}: {tokenizer.vocab_size} tokens, the model has {config.text.vocab}: give the model's own tokenizer"
        )
    return tokenizer


def difference(network: SeemNetwork, state: Mapping[str, Tensor]) -> StateDifference:
    """Compare names and shapes of a network's entries with those of a file."""
    wanted = network.state_dict()
    return StateDifference(
        missing=tuple(sorted(wanted.keys() - state.keys())),
        unexpected=tuple(sorted(state.keys() - wanted.keys())),
        misshapen=tuple(sorted(n for n in wanted.keys() & state.keys() if wanted[n].shape != state[n].shape)),
    )


def _as(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """The tensor in another floating type; bits and whole numbers stay what they are."""
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def described(found: StateDifference) -> str:
    """The difference in words, the first few names of each kind."""
    parts = (("missing", found.missing), ("of another shape", found.misshapen), ("unexpected", found.unexpected))
    return "; ".join(f"{len(names)} {what} ({listed(names)})" for what, names in parts if names)


def listed(names: tuple[str, ...]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
