"""Tensors by name: read from safetensors files, with errors a user can mend, and what a set of them is known by."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from promptseg.errors import PromptsegError


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


def fingerprint(named: Iterable[tuple[str, Tensor]]) -> str:
    """SHA-256 over name, shape and float32 bytes of all tensors, in the order of names.

    It says which weights prompts belong to: file names of checkpoints were used twice, numbers were not.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(named, key=lambda pair: pair[0]):
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().reshape(-1).data)
    return digest.hexdigest()
