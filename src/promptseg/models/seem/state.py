"""Reading tensors from weights files of any origin; nothing in them is executed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from promptseg.errors import PromptsegError
from promptseg.tensor_files import read_safetensors


def read_checkpoint(file: Path) -> Any:
    """The content of a checkpoint file, tensors and plain containers only.

    Raises:
        PromptsegError: the file is missing, is no checkpoint, or holds objects that need code to be built.
    """
    if not file.is_file():
        raise PromptsegError(f"{file}: no such file")
    if file.suffix == ".safetensors":
        return read_safetensors(file)
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # which one depends on where the file stops making sense
        reason = " ".join(str(error).split())[:120]
        raise PromptsegError(
            f"{file}: refused, not a plain checkpoint of tensors ({reason}): give the published file, or a state dict"
        ) from None


def plain_state(content: Any, file: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint's content under the official names.

    Raises:
        PromptsegError: there are none, two have one name, or one holds values that are not finite.
    """
    for key in ("module", "state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    tensors = {n: v for n, v in content.items() if isinstance(v, Tensor)} if isinstance(content, Mapping) else {}
    state = {_without_prefix(str(name)): tensor for name, tensor in tensors.items()}
    if not state:
        raise PromptsegError(f"{file}: holds no tensors by name, expected a state dict")
    if len(state) != len(tensors):
        raise PromptsegError(f"{file}: holds some tensors twice, with and without a prefix: keep one of each")
    for name, tensor in state.items():
        if not torch.isfinite(tensor).all():
            raise PromptsegError(f"{file}: tensor {name} holds values that are not finite numbers: get the file again")
    return state


def _without_prefix(name: str) -> str:
    while name.startswith(("module.", "model.")):
        name = name.partition(".")[2]
    return name
