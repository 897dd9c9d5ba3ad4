"""What a set of weights is known by: file names were used twice, numbers were not."""

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor


def fingerprint(named: Iterable[tuple[str, Tensor]]) -> str:
    """SHA-256 over name, shape and float32 bytes of all tensors, in the order of names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(named, key=lambda pair: pair[0]):
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().reshape(-1).data)
    return digest.hexdigest()
