"""The import of official checkpoint files into model folders; nothing in a file is executed."""

import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from promptseg.errors import PromptsegError, unknown_name
from promptseg.files import file_digest
from promptseg.models.seem.config import NAMED, SeemConfig
from promptseg.models.seem.files.model_folder import (
    StateDifference,
    checked_tokenizer,
    described,
    difference,
    listed,
    save_model_folder,
)
from promptseg.models.seem.files.official import read_official_file
from promptseg.models.seem.network.seem_network import SeemNetwork
from promptseg.tensor_files import fingerprint, read_safetensors

_CONFIG_FILES = (".yaml", ".yml", ".json")
_TOKENS = "sem_seg_head.predictor.lang_encoder.lang_encoder.token_embedding.weight"
_NESTS = ("module", "model", "state_dict", "model_state_dict")
"""Where training states keep the weights, among optimiser, averages and counters."""
_PREFIXES = ("module.", "model.", "_orig_mod.")
"""What data-parallel, training and compiled wrappers put before every name."""


@dataclass(frozen=True)
class ImportReport:
    """What an import did.

    Attributes:
        folder: the model folder it wrote.
        config_name: the architecture.
        difference: what of the file was left out, or filled in; no parameter is among the missing.
        source_sha256: checksum of the imported file; official file names were used twice.
        fingerprint: the model's fingerprint from now on.
        has_tokenizer: whether the folder got a tokenizer.
    """

    folder: Path
    config_name: str
    difference: StateDifference
    source_sha256: str
    fingerprint: str
    has_tokenizer: bool

    def __str__(self) -> str:
        lines = [f"{self.config_name} written to {self.folder} (weights {self.fingerprint[:12]})"]
        ignored = (*self.difference.unexpected, *self.difference.misshapen)
        for what, names in (("ignored", ignored), ("filled in", self.difference.missing)):
            if names:
                lines.append(f"{what}: {listed(names)}")
        if not self.has_tokenizer:
            lines.append("no tokenizer: before it can read class names, put CLIP's tokenizer.json into the folder")
        return "\n".join(lines)


def import_checkpoint(file: Path, architecture: str | None, out: Path, tokenizer: Path | None = None) -> ImportReport:
    """Turn an official checkpoint into a model folder.

    Args:
        file: a state dict written by `torch.save` (plain, prefixed, or nested in a training state) or a
            safetensors file, of any precision. Nothing in it is executed.
        architecture: one of `NAMED`, or the path of an official configuration file (.yaml, .yml or .json); None takes
            the named one that names and shapes fit.
        out: the folder to write.
        tokenizer: CLIP's `tokenizer.json` or `bpe_simple_vocab_16e6.txt.gz`; needed for class names.

    Raises:
        PromptsegError: unknown name, unreadable file, a configuration that this package does not compute, parameters
            missing or of another shape, values that are not finite, or no name given and not exactly one that fits.
    """
    official = architecture is not None and architecture.endswith(_CONFIG_FILES)
    if architecture is not None and architecture not in NAMED and not official:
        raise unknown_name("model config", architecture, (*NAMED, "an official configuration file"))
    state = plain_state(read_checkpoint(file), file)
    name = architecture or _only_fit(file, state)
    config = read_official_file(Path(name), _vocabulary(file, state)) if official else NAMED[name]
    if tokenizer is not None:
        checked_tokenizer(tokenizer, config)
    network = _shapes(config)
    found = difference(network, state)
    if _lacking(network, found):
        raise PromptsegError(f"{file}: not the weights of {name}: {described(found)}{_hint(state)}")
    _fill(network, state, found, file)
    source = file_digest(file)
    save_model_folder(
        out=out,
        network=network,
        config=config,
        tokenizer_file=tokenizer,
        card=_card(name, file, source),
        dtype=torch.float32,
    )
    return ImportReport(out, name, found, source, fingerprint(network.named_parameters()), tokenizer is not None)


def fitting_configs(state: Mapping[str, Tensor]) -> list[str]:
    """The named architectures of which every parameter is there, in its shape."""
    return [name for name in NAMED if not _lacking(network := _shapes(NAMED[name]), difference(network, state))]


def _only_fit(file: Path, state: Mapping[str, Tensor]) -> str:
    fits = fitting_configs(state)
    if len(fits) > 1:
        raise PromptsegError(f"{file}: fits {' and '.join(fits)}, which differ in no weight: choose one with --config")
    if fits:
        return fits[0]
    found = {name: difference(_shapes(NAMED[name]), state) for name in NAMED}
    nearest = min(found, key=lambda name: sum(map(len, vars(found[name]).values())))
    if len(found[nearest].unexpected) == len(state):
        raise PromptsegError(f"{file}: none of its {len(state)} tensors is known: give a SEEM or X-Decoder checkpoint")
    raise PromptsegError(f"{file}: fits no known model; nearest is {nearest}: {described(found[nearest])}")


def _hint(state: Mapping[str, Tensor]) -> str:
    """Which other named architectures the tensors fit, if any."""
    fits = fitting_configs(state)
    return f"; they fit {' and '.join(fits)}" if fits else ""


def _shapes(config: SeemConfig) -> SeemNetwork:
    """A network without memory for its parameters."""
    with torch.device("meta"):
        return SeemNetwork(config)


def _vocabulary(file: Path, state: Mapping[str, Tensor]) -> int:
    """Tokens of the text encoder, which configuration files do not say."""
    if _TOKENS not in state:
        raise PromptsegError(f"{file}: holds no tensor {_TOKENS}: give a SEEM or X-Decoder checkpoint")
    return len(state[_TOKENS])


def _lacking(network: SeemNetwork, found: StateDifference) -> set[str]:
    """Parameters that a file does not give; buffers are the same in every network."""
    return {*found.missing, *found.misshapen} & dict(network.named_parameters()).keys()


def _fill(network: SeemNetwork, state: Mapping[str, Tensor], found: StateDifference, file: Path) -> None:
    """Make the tensors the network's own, uncopied; buffers that do not come with them keep their values."""
    for name, parameter in network.named_parameters():
        if not state[name].is_floating_point():
            raise PromptsegError(
                f"{file}: tensor {name} is stored as {state[name].dtype}, expected {parameter.dtype}:"
                " get the file before quantisation"
            )
    left_out = {*found.unexpected, *found.misshapen}
    network.load_state_dict({n: t for n, t in state.items() if n not in left_out}, strict=False, assign=True)


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


def read_checkpoint(file: Path) -> Any:
    """The content of a checkpoint file, tensors and plain containers only.

    Raises:
        PromptsegError: the file is missing, is no checkpoint or part of one, or holds objects that only code can build.
    """
    if not file.is_file():
        what = "is a folder, expected a checkpoint file" if file.is_dir() else "no such file"
        raise PromptsegError(f"{file}: {what}")
    with file.open("rb") as stream:
        start = stream.read(256)
    if _looks_like_safetensors(start):
        return read_safetensors(file)
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # which one depends on where the file stops making sense
        raise PromptsegError(f"{file}: refused, {_reason(file, start, str(error))}") from None


def plain_state(content: Any, file: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint's content under the official names, floating ones in float32.

    Raises:
        PromptsegError: there are none, two have one name, or one holds values that are not finite.
    """
    for _ in _NESTS:
        content = _nested(content)
    tensors = {n: v for n, v in content.items() if isinstance(v, Tensor)} if isinstance(content, Mapping) else {}
    state = {_without_prefix(str(name)): _in_float32(tensor) for name, tensor in tensors.items()}
    if not state:
        raise PromptsegError(f"{file}: holds no tensors by name, expected a state dict")
    if len(state) != len(tensors):
        raise PromptsegError(f"{file}: holds some tensors twice, with and without a prefix: keep one of each")
    for name, tensor in state.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise PromptsegError(f"{file}: tensor {name} holds values that are not finite numbers: get the file again")
    return state


def _nested(content: Any) -> Any:
    """The weights inside a training state, or the content itself."""
    if isinstance(content, Mapping):
        return next((content[key] for key in _NESTS if isinstance(content.get(key), Mapping)), content)
    return content


def _without_prefix(name: str) -> str:
    while name.startswith(_PREFIXES):
        name = name.partition(".")[2]
    return name


def _in_float32(tensor: Tensor) -> Tensor:
    return tensor.detach().float() if tensor.is_floating_point() else tensor


def _looks_like_safetensors(start: bytes) -> bool:
    """Eight bytes that say how long the header is, and the header, a JSON object."""
    return start[8:9] == b"{"


def _reason(file: Path, start: bytes, error: str) -> str:
    """What is wrong with a file that could not be read, and what to do."""
    if not start:
        return "it is empty: get it again"
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer, not the weights: fetch them with git lfs pull"
    if start.lstrip().startswith(b"<"):
        return "it is a web page: download the file itself"
    if (start.startswith(b"PK") and not zipfile.is_zipfile(file)) or "unexpected EOF" in error:
        return "it is cut short: get it again"
    if foreign := re.search(r"GLOBAL (\S+)", error):
        return f"it holds an object of {foreign[1]}, which only code could build: save its tensors alone, a state dict"
    reason = " ".join(error.split())[:120]
    return f"not a plain checkpoint of tensors ({reason}): give the published file, or a state dict"
