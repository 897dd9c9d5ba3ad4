"""What a network costs, counted without weights in memory: its layers run on tensors that have shapes only."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch.utils.flop_counter import FlopCounterMode

from promptseg.models.base import Size
from promptseg.models.seem.config import SeemConfig
from promptseg.models.seem.network.seem_network import SeemNetwork

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class ModelCost:
    """What one network costs, float32, for one image.

    A multiplication and an addition count as two operations. Those of convolutions, linear maps and attention are
    counted; norms, activations, resizing and sampling are not.

    Attributes:
        parameters: number of weights, the text encoder's included.
        weight_bytes: memory of the weights.
        canvas: height and width the image is padded to, pixels.
        encode_flops: operations from image to image features.
        decode_flops: operations from image features to masks and classes, with all object queries.
        feature_bytes: memory of the image features, which a cache keeps.
    """

    parameters: int
    weight_bytes: int
    canvas: Size
    encode_flops: int
    decode_flops: int
    feature_bytes: int


def cost(config: SeemConfig, size: Size, classes: int = 20) -> ModelCost:
    """The cost of a network on one image.

    Args:
        config: the network.
        size: height and width of the image, pixels.
        classes: class names, background included.

    Raises:
        PromptsegError: the network does not take an image of this size.
    """
    canvas = config.canvas(*size)
    with torch.device("meta"), torch.no_grad():
        network = SeemNetwork(config).requires_grad_(False)
        queries, positions = network.decoder.query_feat.weight, network.decoder.query_embed.weight
        text = torch.empty(classes, config.text_dim)
        features, encode_flops = _counted(lambda: network.encode(torch.empty(1, 3, *canvas)))
        _, decode_flops = _counted(lambda: network.decode(features, queries, positions, text))
    return ModelCost(
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        weight_bytes=sum(parameter.nbytes for parameter in network.parameters()),
        canvas=canvas,
        encode_flops=encode_flops,
        decode_flops=decode_flops,
        feature_bytes=features.nbytes,
    )


def _counted(work: Callable[[], _Result]) -> tuple[_Result, int]:
    """The result of the work, and its operations."""
    counter = FlopCounterMode(display=False)
    with counter:
        result = work()
    return result, int(counter.get_total_flops())
