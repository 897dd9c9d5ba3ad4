"""Tensors by name: safetensors files written whole and read with errors a user can mend, and what a set is known by."""

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from promptseg.errors import PromptsegError
from promptseg.files import atomic_path


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name, on the CPU.

    Raises:
        PromptsegError: the file is missing or is not one.
    """
    try:
        return load_file(path)
    except FileNotFoundError:
        raise PromptsegError(f"{path}: no such file; the folder is incomplete") from None
    except (SafetensorError, OSError) as error:
        raise PromptsegError(f"{path}: not a readable safetensors file ({error})") from None


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write tensors atomically.

    Raises:
        OSError: as the system says it, such as a full disk; safetensors has an error of its own for that.
    """
    with atomic_path(path) as temporary:
        try:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary, metadata)
        except SafetensorError as error:
            number = re.search(r"os error (\d+)", str(error))
            if number is None:
                raise
            raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from None


def fingerprint(named: Iterable[tuple[str, Tensor]]) -> str:
    """SHA-256 over name, shape and float32 bytes of all tensors, in the order of names.

    It says which weights prompts belong to: file names of checkpoints were used twice, numbers were not.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(named, key=lambda pair: pair[0]):
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().reshape(-1).data)
    return digest.hexdigest()
