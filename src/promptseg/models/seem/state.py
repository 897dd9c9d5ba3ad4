"""Reading tensors from weights files of any origin; nothing in them is executed."""

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from promptseg.errors import PromptsegError
from promptseg.tensor_files import read_safetensors

_NESTS = ("module", "model", "state_dict", "model_state_dict")
"""Where training states keep the weights, among optimiser, averages and counters."""
_PREFIXES = ("module.", "model.", "_orig_mod.")
"""What data-parallel, training and compiled wrappers put before every name."""


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
