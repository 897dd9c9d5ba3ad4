"""What a model is and costs, counted without weights in memory: its layers run on tensors that have shapes only."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch.utils.flop_counter import FlopCounterMode

from promptseg.models.base import Size
from promptseg.models.family import ModelSource
from promptseg.models.seem.config import NAMED, SeemConfig
from promptseg.models.seem.files.model_folder import load_model_folder
from promptseg.models.seem.network.seem_network import SeemNetwork
from promptseg.models.seem.pointing.one_object import object_prompts
from promptseg.models.seem.segmenter import SPATIAL_CHOICES
from promptseg.tensor_files import fingerprint

SIZE: Size = (512, 1024)
"""Height and width of the image that costs are given for, pixels."""

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


def description(source: ModelSource) -> dict[str, str]:
    """What `models info` prints of a model, be it on this machine or not.

    Raises:
        PromptsegError: a folder that is no model.
    """
    name, weights = source.spec.where, "not on this machine"
    if source.folder is None:
        config = NAMED[name]
    else:
        network, config = load_model_folder(source.folder)
        weights = f"in {source.folder}, fingerprint {fingerprint(network.named_parameters())}"
    found, variant = cost(config, SIZE), config.variant
    image = f"one image of {SIZE[0]} x {SIZE[1]}"
    return {
        "model": f"{name}: variant {variant.name}, backbone {config.backbone.kind}, {config.num_queries} queries",
        "parameters": f"{found.parameters / 1e6:.1f} M",
        "operations": f"{(found.encode_flops + found.decode_flops) / 1e9:.0f} GFLOPs for {image} (image to features"
        f" {found.encode_flops / 1e9:.0f}, features to masks {found.decode_flops / 1e9:.0f}), padded to"
        f" {found.canvas[0]} x {found.canvas[1]}",
        "memory": f"{found.weight_bytes / 1e6:.0f} MB of weights,"
        f" {found.feature_bytes / 1e6:.0f} MB of features for {image}",
        "classes by": "class names, or learned semantic prompts",
        "masks by": f"spatial prompts: {' or '.join(SPATIAL_CHOICES)}",
        "one object by": f"{', '.join(object_prompts(variant))} (variant {variant.name})",
        "weights": weights,
    }
