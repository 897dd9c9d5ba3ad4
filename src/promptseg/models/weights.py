"""Weights of a frozen network that something is added to, without a touch on the network itself.

A *change* is a tensor by the name of the weight that it is added to, or the two factors of a low-rank addition:
`NAME.lora_A` (r, fan in) and `NAME.lora_B` (fan out, r) make `NAME + lora_B lora_A` (Hu et al., "LoRA", 2021). A change
of 0 is no change to the last bit, and half precision is enough to keep one.
"""

import copy
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Literal, TypeVar

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from promptseg.errors import PromptsegError
from promptseg.tensor_files import fingerprint

Part = Literal["encoder", "decoder"]
"""What a weight belongs to: `encoder` is all that `encode_image` goes through, `decoder` what `decode` does."""
Layer = Literal["norm", "linear", "other"]
"""What its layer is: a normalisation, a linear map or full convolution, or anything else."""
LORA_A, LORA_B = ".lora_A", ".lora_B"


@dataclass(frozen=True, eq=False)
class Weight:
    """One tensor that can be changed.

    Attributes:
        name: official.
        part: what it belongs to.
        layer: what its layer is.
        value: the live tensor.
    """

    name: str
    part: Part
    layer: Layer
    value: Tensor

    @property
    def is_bias(self) -> bool:
        """Whether it is added to what the layer gives."""
        return self.name.endswith("bias")


def module_weights(network: nn.Module, part_of: Callable[[str], Part | None], norms: tuple[type, ...]) -> list[Weight]:
    """The parameters of a network.

    Args:
        network: the frozen network.
        part_of: what a parameter belongs to, by name; none leaves it out.
        norms: types of its normalisation layers.
    """
    found = []
    for path, module in network.named_modules():
        for leaf, value in module.named_parameters(recurse=False):
            name = f"{path}.{leaf}" if path else leaf
            if (part := part_of(name)) is not None:
                found.append(Weight(name, part, _layer(module, leaf, norms), value))
    return found


def _layer(module: nn.Module, leaf: str, norms: tuple[type, ...]) -> Layer:
    if isinstance(module, norms):
        return "norm"
    full = isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1)
    return "linear" if full or leaf.startswith("in_proj") else "other"


NetworkT = TypeVar("NetworkT", bound=nn.Module)


def changed_network(
    network: NetworkT, changes: Mapping[str, Tensor], recomputed: re.Pattern[str] | None = None
) -> NetworkT:
    """The same network with other weights in some places; all other tensors are shared, none is copied.

    Args:
        network: stays as it is.
        changes: see above; the result is differentiable in them.
        recomputed: matches the paths of modules whose insides are computed again on the way back instead of kept.
    """
    shared = {id(tensor): tensor for tensor in chain(network.parameters(), network.buffers())}
    view = copy.deepcopy(network, shared)
    for name, tensor in effective(dict(network.named_parameters()), changes).items():
        path, _, leaf = name.rpartition(".")
        module = view.get_submodule(path)
        delattr(module, leaf)  # a parameter's place takes no tensor that was computed
        setattr(module, leaf, tensor)
    for path, module in view.named_modules():
        if recomputed is not None and recomputed.fullmatch(path):
            module.forward = _recomputing(module.forward)
    return view


def _recomputing(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def run(*given: Tensor) -> Tensor:
        out: Tensor = checkpoint(forward, *given, use_reentrant=False, preserve_rng_state=False)
        return out

    return run


def effective(own: Mapping[str, Tensor], changes: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights that `changes` make of a network's own, by name."""
    found = {}
    for name, tensor in changes.items():
        if name.endswith(LORA_A):
            weight = own[base := name.removesuffix(LORA_A)]
            found[base] = weight + (changes[base + LORA_B].to(weight) @ tensor.to(weight)).view(weight.shape)
        elif not name.endswith(LORA_B):
            found[name] = own[name] + tensor.to(own[name])
    return found


def weight_of(change: str) -> str:
    """The name of the weight that a change is of."""
    return change.removesuffix(LORA_A).removesuffix(LORA_B)


def check_changes(weights: Mapping[str, Weight], changes: Mapping[str, Tensor], model_id: str) -> None:
    """Refuse changes of weights that are not there, or of other shapes.

    Raises:
        PromptsegError: there is one.
    """
    for name, tensor in changes.items():
        base = weight_of(name)
        if base not in weights:
            raise PromptsegError(f"{model_id} has no weight {base!r} to change: fit again on this model")
        wanted, found = tuple(weights[base].value.shape), tuple(tensor.shape)
        if base != name:
            other = changes.get(base + (LORA_B if name.endswith(LORA_A) else LORA_A))
            if other is None:
                raise PromptsegError(f"{name} stands alone: its other factor is missing; fit again")
            rank = other.shape[0 if name.endswith(LORA_B) else 1]
            rows, columns = wanted[0], weights[base].value[0].numel()
            wanted = (rank, columns) if name.endswith(LORA_A) else (rows, rank)
        if found != wanted:
            raise PromptsegError(f"changed weight {name} has shape {found}, {model_id} expects {wanted}: fit again")


def changed_fingerprint(own: str, changes: Mapping[str, Tensor]) -> str:
    """What a network of fingerprint `own` with some weights changed is known by."""
    return hashlib.sha256(f"{own} {fingerprint(changes.items())}".encode()).hexdigest()
