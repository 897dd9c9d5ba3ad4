"""State of an interrupted training run: parameters, optimiser state and a JSON header, in one safetensors file."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from promptseg.errors import PromptsegError
from promptseg.files import atomic_path
from promptseg.tensor_files import read_safetensors

_HEADER = "promptseg"


def save_checkpoint(path: Path, module: nn.Module, optimizer: torch.optim.Optimizer, header: dict[str, Any]) -> None:
    """Write the whole state atomically; `header` holds whatever else is needed to go on (step, settings)."""
    tensors = {f"module.{name}": tensor for name, tensor in module.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": torch.as_tensor(value) for name, value in state.items()}
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={_HEADER: json.dumps(header)})


def read_header(path: Path) -> dict[str, Any]:
    """The header of a checkpoint.

    Raises:
        PromptsegError: the file is not a checkpoint.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header: dict[str, Any] = json.loads((file.metadata() or {})[_HEADER])
    except (OSError, SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise PromptsegError(f"{path}: not a readable checkpoint ({error}); delete it to start anew") from None
    return header


def load_checkpoint(path: Path, module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Put the saved state into `module` and `optimizer`, built as they were; returns the header.

    Raises:
        PromptsegError: the file is not a checkpoint of such a module and optimiser.
    """
    header = read_header(path)
    tensors = read_safetensors(path)
    try:
        module.load_state_dict(_part(tensors, "module."))
    except RuntimeError as error:
        raise PromptsegError(f"{path}: belongs to another run ({error}); delete it to start anew") from None
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _part(tensors, "optimizer.").items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    return header


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
