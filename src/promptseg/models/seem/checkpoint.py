"""Weights on disk: the model folder this package reads and writes, and the import of official files.

A model folder holds `model.safetensors` (official parameter names), `config.json`, `tokenizer.json`
(where there is one) and `README.md`.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from promptseg.errors import PromptsegError, unknown_name
from promptseg.files import atomic_path, read_json, write_json, write_text
from promptseg.models.fingerprint import fingerprint
from promptseg.models.seem.config import NAMED, SeemConfig
from promptseg.models.seem.network import SeemNetwork
from promptseg.models.seem.state import plain_state, read_checkpoint
from promptseg.models.tokenizer import Tokenizer
from promptseg.tensor_files import read_safetensors

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


@dataclass(frozen=True)
class ImportReport:
    """What an import did.

    Attributes:
        folder: the model folder it wrote.
        config_name: the architecture.
        difference: what of the file was left out, or filled in; no parameter is among the missing.
        source_sha256: checksum of the imported file; official file names were used twice.
        fingerprint: the model's fingerprint from now on.
    """

    folder: Path
    config_name: str
    difference: StateDifference
    source_sha256: str
    fingerprint: str

    def __str__(self) -> str:
        lines = [f"{self.config_name} written to {self.folder} (weights {self.fingerprint[:12]})"]
        for what, names in (("ignored", self.difference.unexpected), ("filled in", self.difference.missing)):
            if names:
                lines.append(f"{what}: {_listed(names)}")
        return "\n".join(lines)


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
    state = {name: value.detach().to("cpu", dtype).contiguous() for name, value in network.state_dict().items()}
    with atomic_path(out / WEIGHTS_FILE) as path:
        save_file(state, path)


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
    state = {name: value.float() for name, value in read_safetensors(path).items()}
    with torch.device("meta"):
        network = SeemNetwork(config)
    found = difference(network, state)
    if found != StateDifference((), (), ()):
        raise PromptsegError(f"{path}: does not fit its config.json: {_described(found)}; write the folder again")
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


def import_checkpoint(file: Path, config_name: str, out: Path, tokenizer: Path | None = None) -> ImportReport:
    """Turn an official checkpoint into a model folder.

    Args:
        file: a state dict written by `torch.save` (plain, prefixed, or nested under "module",
            "model" or "state_dict") or a safetensors file. Nothing in it is executed.
        config_name: the architecture, one of `NAMED`.
        out: the folder to write.
        tokenizer: CLIP's `tokenizer.json` or `bpe_simple_vocab_16e6.txt.gz`; needed for class names.

    Raises:
        PromptsegError: unknown name, unreadable file, parameters missing or of another shape, or values
            that are not finite.
    """
    if config_name not in NAMED:
        raise unknown_name("model config", config_name, NAMED)
    config = NAMED[config_name]
    state = plain_state(read_checkpoint(file), file)
    network = SeemNetwork(config)
    found = difference(network, state)
    lacking = set(found.missing) & dict(network.named_parameters()).keys()
    if lacking or found.misshapen:
        raise PromptsegError(
            f"{file}: not the weights of {config_name}: {_described(found)}{_hint(state, config_name)}"
        )
    network.load_state_dict(state, strict=False)
    source = _sha256(file)
    save_model_folder(out, network, config, tokenizer, _card(config_name, file, source), torch.float32)
    return ImportReport(out, config_name, found, source, fingerprint(network.named_parameters()))


def difference(network: SeemNetwork, state: Mapping[str, Tensor]) -> StateDifference:
    """Compare names and shapes of a network's entries with those of a file."""
    wanted = network.state_dict()
    return StateDifference(
        missing=tuple(sorted(wanted.keys() - state.keys())),
        unexpected=tuple(sorted(state.keys() - wanted.keys())),
        misshapen=tuple(sorted(n for n in wanted.keys() & state.keys() if wanted[n].shape != state[n].shape)),
    )


def _hint(state: Mapping[str, Tensor], tried: str) -> str:
    """Which other named architecture the tensors fit, if any."""
    for name in NAMED.keys() - {tried}:
        with torch.device("meta"):
            found = difference(SeemNetwork(NAMED[name]), state)
        if not found.misshapen and len(found.missing) <= 2:  # the two buffers may be left out of a file
            return f"; they fit {name}"
    return ""


def _described(found: StateDifference) -> str:
    parts = (("missing", found.missing), ("of another shape", found.misshapen), ("unexpected", found.unexpected))
    return "; ".join(f"{len(names)} {what} ({_listed(names)})" for what, names in parts if names)


def _listed(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _card(config_name: str, file: Path, source: str) -> str:
    return "\n".join(
        (
            "---",
            "library_name: promptseg",
            "pipeline_tag: image-segmentation",
            "---",
            "",
            f"# {config_name}",
            "",
            f"Imported by promptseg from `{file.name}`, SHA-256 `{source}`.",
            "The official code is Apache-2.0; no separate licence of the weights is stated by its authors.",
            "",
        )
    )
