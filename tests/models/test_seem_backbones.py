"""The backbones and pixel decoders beside SEEM's first ones; the golden cases hold the rest of the evidence."""

from dataclasses import replace

import pytest
import torch
from tiny import CONFIG, VERSIONS, tiny_network
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from promptseg.errors import PromptsegError
from promptseg.models.seem.backbones import BackboneConfig, EfficientNetConfig, FocalConfig
from promptseg.models.seem.backbones.common import from_windows, to_windows
from promptseg.models.seem.config import NAMED, SeemConfig
from promptseg.models.seem.cost import cost
from promptseg.models.seem.network.pixel_decoders import DeformableAttention
from promptseg.models.seem.network.seem_network import SeemNetwork

DAVIT, SAM = VERSIONS["davit"].backbone, VERSIONS["sam-vit"].backbone
FOCAL = FocalConfig("focal", 8, (1, 1, 1, 1), (2, 2, 2, 2))


@pytest.mark.parametrize("name", ["davit", "deformable", "sam-vit"])
def test_training_reaches_every_parameter(name: str) -> None:
    torch.manual_seed(0)
    network = SeemNetwork(VERSIONS[name])
    for parameter in network.parameters():
        if not parameter.any():  # what starts at 0 may hide what comes before it
            nn.init.normal_(parameter, std=0.1)
    features = network.encode(torch.randn(1, 3, 128, 128))
    torch.stack([tensor.sin().mean() for tensor in features.tensors().values()]).sum().backward()
    image_side = [(n, p) for n, p in network.named_parameters() if ".predictor." not in n]
    assert [n for n, p in image_side if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("config", [DAVIT, SAM, FOCAL, EfficientNetConfig()])
def test_maps_have_the_promised_channels_and_strides(config: BackboneConfig) -> None:
    maps = config.build()(torch.randn(1, 3, 128, 128))
    assert [tuple(x.shape) for x in maps[-4:]] == [(1, config.channels[i], 32 >> i, 32 >> i) for i in range(4)]
    assert all(x.shape[2:] == (64, 64) for x in maps[:-4])


def test_sam_vit_is_the_library_s_up_to_the_neck() -> None:
    transformers = pytest.importorskip("transformers")
    ours = _random(SAM.build().double())
    config = transformers.SamVisionConfig(
        hidden_size=SAM.dim,
        num_hidden_layers=SAM.depth,
        num_attention_heads=SAM.heads,
        mlp_dim=4 * SAM.dim,
        image_size=SAM.canvas,
        window_size=SAM.window,
        global_attn_indexes=[1, 3, 5, 7],
        output_channels=8,
    )
    theirs = transformers.SamVisionModel(config).double().eval()
    renamed = {_library_name(name): value for name, value in ours.state_dict().items() if not name.startswith("neck.")}
    loaded = theirs.load_state_dict(renamed, strict=False)
    assert not loaded.unexpected_keys and all(".neck." in name for name in loaded.missing_keys)
    images, seen = torch.randn(2, 3, SAM.canvas, SAM.canvas).double(), []
    for neck in (ours.neck, theirs.vision_encoder.neck):
        neck.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        ours(images)
        theirs(images)
    torch.testing.assert_close(seen[0].permute(0, 2, 3, 1), seen[1])


def _library_name(name: str) -> str:
    for official, other in (
        ("blocks.", "layers."),
        (".norm", ".layer_norm"),
        ("patch_embed.proj", "patch_embed.projection"),
    ):
        name = name.replace(official, other)
    return f"vision_encoder.{name}"


def test_the_neck_of_sam_vit_is_its_formula() -> None:
    neck = _random(SAM.build().neck.double())
    state = neck.state_dict()
    x = torch.randn(2, SAM.dim, 8, 8).double()

    def normed(x: Tensor, name: str) -> Tensor:
        centred = x - x.mean(dim=(1, 2, 3), keepdim=True)
        scaled = centred / (centred.square().mean(dim=(1, 2, 3), keepdim=True) + 1e-5).sqrt()
        return scaled * state[f"{name}.weight"][:, None, None] + state[f"{name}.bias"][:, None, None]

    def up(x: Tensor, name: str) -> Tensor:
        return functional.conv_transpose2d(x, state[f"{name}.weight"], state[f"{name}.bias"], stride=2)

    def conv(x: Tensor, name: str, stride: int = 1) -> Tensor:
        return functional.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], stride)

    gelu = functional.gelu
    finest = up(gelu(normed(up(x, "down_4.0"), "down_4.1")), "down_4.3")
    expected = [
        gelu(normed(conv(normed(finest, "down_4.4"), "down_4.5"), "down_4.6")),
        gelu(normed(conv(normed(up(x, "down_8.0"), "down_8.1"), "down_8.2"), "down_8.3")),
        gelu(normed(conv(x, "down_16.0"), "down_16.1")),
        gelu(normed(conv(normed(conv(x, "down_32.0", 2), "down_32.1"), "down_32.2"), "down_32.3")),
    ]
    for ours, formula in zip(neck(x), expected, strict=True):
        torch.testing.assert_close(ours, formula)


def _random(module: nn.Module) -> nn.Module:
    """The module with every parameter random, norms around 1."""
    generator = torch.Generator().manual_seed(0)
    for name, parameter in module.named_parameters():
        centre = 1.0 if parameter.ndim == 1 and name.endswith("weight") else 0.0
        parameter.requires_grad_(False).normal_(centre, 0.2, generator=generator)
    return module.eval()


def test_sam_vit_takes_its_canvas_only() -> None:
    network = SeemNetwork(VERSIONS["sam-vit"])
    with pytest.raises(PromptsegError, match=r"128 x 256: this model's canvas is 128 x 128; .*smaller short side"):
        network.encode(torch.zeros(1, 3, 128, 256))


def test_windows_hold_the_map_row_by_row() -> None:
    x = torch.arange(1, 2 * 5 * 7 + 1).view(2, 5, 7, 1)
    windows = to_windows(x, 3)
    assert windows.shape == (2 * 2 * 3, 3, 3, 1)
    assert windows[1, ..., 0].tolist() == [[4, 5, 6], [11, 12, 13], [18, 19, 20]]
    assert windows[5, ..., 0].tolist() == [[28, 0, 0], [35, 0, 0], [0, 0, 0]]
    assert torch.equal(from_windows(windows, 5, 7), x)


def test_deformable_attention_reads_between_the_cells() -> None:
    """One head that looks one and a half cells to the right, on a map whose values are the columns."""
    attention = DeformableAttention(4, 1)
    for part in (attention.value_proj, attention.output_proj):
        nn.init.eye_(part.weight)
        nn.init.zeros_(part.bias)
    nn.init.zeros_(attention.sampling_offsets.weight)
    nn.init.zeros_(attention.attention_weights.weight)
    nn.init.zeros_(attention.attention_weights.bias)
    offsets = torch.tensor([1.5, 0.0]).repeat(12)
    attention.sampling_offsets.bias.data.copy_(offsets)
    sizes = [(2, 8)] * 3
    values = torch.arange(8.0).repeat(6)[None, :, None].expand(1, 48, 4)
    centres = (torch.arange(8.0) + 0.5)[:, None] / 8
    centres = torch.cat((centres, torch.full((8, 1), 0.25)), dim=1).repeat(6, 1)
    taken = attention(torch.zeros(1, 48, 4), centres, values, sizes)[0, :8, 0]
    torch.testing.assert_close(taken, torch.tensor([1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 3.5, 0.0]))


def test_cost_counts_what_a_real_run_does() -> None:
    network, counter = tiny_network(), FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        features = network.encode(torch.zeros(1, 3, 64, 96))
    found = cost(CONFIG, (50, 71))
    # The counter does not know the fused attention of a real run: 2 x 3 places look at each other.
    attention = 4 * 6 * 6 * CONFIG.hidden_dim
    assert found.canvas == (64, 96) and found.encode_flops == counter.get_total_flops() + attention
    assert found.parameters * 4 == found.weight_bytes == sum(p.nbytes for p in network.parameters())
    assert found.feature_bytes == sum(tensor.nbytes for tensor in features.tensors().values())
    assert cost(CONFIG, (128, 96)).encode_flops > 2 * found.encode_flops > 0 < found.decode_flops


def test_cost_of_a_full_size_network_needs_no_weights() -> None:
    found = cost(NAMED["seem-sam-vit-l-v1"], (512, 1024))
    assert found.canvas == (1024, 1024) and found.parameters == 440_538_689


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "davit"}, "backbone lacks the field"),
        (
            {"kind": "resnet"},
            "config.backbone 'resnet': choose one of davit, efficientnet_lite, focal, focal_dw, sam_vit",
        ),
        ({}, "unknown kind of config.backbone 'None'"),
        (
            vars(replace(DAVIT, dims=(8, 8, 12, 16))) | {"heads": [2, 2, 5, 4]},
            r"dims\[2\] 12 is not a multiple of its 5",
        ),
        (vars(DAVIT) | {"kernels": [7, 3]}, r"kernels \[7, 3\] has not one entry"),
        (
            vars(DAVIT) | {"paddings": [-1, 1, 1, 1]},
            "paddings is -1, expected a whole number from 0 to",
        ),
        (vars(SAM) | {"depth": 6}, r"global_blocks \[1, 3, 5, 7\]: there are 6 blocks"),
        (vars(SAM) | {"patch": 8}, "patch is 8, expected 16"),
        (vars(SAM), "size_divisor 32 is not the canvas 128"),
    ],
)
def test_bad_backbones_are_refused_in_one_line(change: dict[str, object], message: str) -> None:
    with pytest.raises(PromptsegError, match=message) as caught:
        SeemConfig.from_json(CONFIG.to_json() | {"backbone": change})
    assert "\n" not in str(caught.value)


def test_the_kind_of_pixel_decoder_is_checked() -> None:
    with pytest.raises(PromptsegError, match="unknown pixel decoder 'msda': choose one of deformable, fpn"):
        SeemConfig.from_json(CONFIG.to_json() | {"pixel_decoder": "msda"})
