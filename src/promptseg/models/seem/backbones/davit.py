"""DaViT: attention over places within windows, then over channels within groups, in turn."""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

from promptseg.errors import PromptsegError
from promptseg.models.seem.backbones.common import (
    STAGES,
    BackboneNumbers,
    Mlp,
    PatchEmbed,
    convolve,
    from_windows,
    start_linear_,
    to_windows,
)

STRIDES = (4, 2, 2, 2)
"""Of the convolution that opens each stage."""


@dataclass(frozen=True)
class DavitConfig(BackboneNumbers):
    """A dual attention backbone: every unit attends over places, then over channels.

    Attributes:
        kind: `davit`.
        dims: channels per stage.
        depths: units per stage.
        heads: heads of the attention over places, per stage.
        groups: groups of the attention over channels, per stage.
        kernels: of the convolution that opens each stage.
        paddings: of the same convolution.
        window: side of the windows within which places attend to each other.
        mlp_ratio: hidden channels of the MLPs for each of their channels.
    """

    KINDS: ClassVar = ("davit",)
    kind: str
    dims: tuple[int, ...]
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    groups: tuple[int, ...]
    kernels: tuple[int, ...]
    paddings: tuple[int, ...] = field(metadata={"least": 0})
    window: int = 7
    mlp_ratio: float = 4.0

    def __post_init__(self) -> None:
        """Refuse numbers that no network can be built from."""
        self.check(stages=("dims", "depths", "heads", "groups", "kernels", "paddings"))
        for stage in range(STAGES):
            for name, parts in (("heads", self.heads[stage]), ("groups", self.groups[stage])):
                if self.dims[stage] % parts:
                    raise PromptsegError(f"dims[{stage}] {self.dims[stage]} is not a multiple of its {parts} {name}")

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels per stage."""
        return self.dims

    def build(self) -> nn.Module:
        """The network."""
        return DaViT(self)


class Branch(nn.Module):
    """x + fn(norm(x)), or x + fn(x)."""

    def __init__(self, fn: nn.Module, norm_dim: int | None = None) -> None:
        super().__init__()
        self.norm = nn.Identity() if norm_dim is None else nn.LayerNorm(norm_dim)
        self.fn = fn

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, D) to the same shape."""
        out: Tensor = x + self.fn(self.norm(x))
        return out


class Depthwise(nn.Module):
    """A 3 x 3 convolution of every channel by itself."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dw = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, D) to the same shape."""
        return convolve(self.dw, x)


class FeedForward(nn.Module):
    """The MLP, one level deeper as the checkpoint nests it."""

    def __init__(self, dim: int, mlp_ratio: float) -> None:
        super().__init__()
        self.net = Mlp(dim, mlp_ratio)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, D) to the same shape."""
        out: Tensor = self.net(x)
        return out


class WindowAttention(nn.Module):
    """Places look at places of their own window; the padding of the last windows is looked at too."""

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, D) to the same shape."""
        windows = to_windows(x, self.window)
        query, key, value = self.qkv(windows.flatten(1, 2)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        taken = functional.scaled_dot_product_attention(query, key, value)
        rows = self.proj(taken.transpose(1, 2).flatten(2))
        return from_windows(rows.view(windows.shape), *x.shape[1:3])


class ChannelAttention(nn.Module):
    """Channels look at channels of their own group, by their likeness over all places."""

    def __init__(self, dim: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, D) to the same shape."""
        rows = x.flatten(1, 2)
        query, key, value = self.qkv(rows).unflatten(2, (3, self.groups, -1)).permute(2, 0, 3, 1, 4)
        weights = ((query * rows.shape[1] ** -0.5).transpose(2, 3) @ key).softmax(dim=3)
        out: Tensor = self.proj((value @ weights.transpose(2, 3)).transpose(1, 2).flatten(2))
        return out.view(x.shape)


def _block(attention_name: str, attention: nn.Module, dim: int, mlp_ratio: float) -> nn.Sequential:
    parts = (
        ("conv1", Branch(Depthwise(dim))),
        (attention_name, Branch(attention, dim)),
        ("conv2", Branch(Depthwise(dim))),
        ("ffn", Branch(FeedForward(dim, mlp_ratio), dim)),
    )
    return nn.Sequential(OrderedDict(parts))


def _unit(config: DavitConfig, stage: int) -> nn.Sequential:
    dim = config.dims[stage]
    places = WindowAttention(dim, config.heads[stage], config.window)
    channels = ChannelAttention(dim, config.groups[stage])
    parts = (
        ("spatial_block", _block("window_attn", places, dim, config.mlp_ratio)),
        ("channel_block", _block("channel_attn", channels, dim, config.mlp_ratio)),
    )
    return nn.Sequential(OrderedDict(parts))


class DaViT(nn.Module):
    """The backbone: four maps at strides 4, 8, 16 and 32, as the stages leave them."""

    def __init__(self, config: DavitConfig) -> None:
        super().__init__()
        channels = (3, *config.dims)
        self.convs = nn.ModuleList(
            PatchEmbed(
                channels[i], channels[i + 1], config.kernels[i], STRIDES[i], config.paddings[i], norm_first=i > 0
            )
            for i in range(STAGES)
        )
        self.blocks = nn.ModuleList(
            nn.Sequential(*(_unit(config, stage) for _ in range(config.depths[stage]))) for stage in range(STAGES)
        )
        start_linear_(self)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images (B, 3, H, W) to maps (B, D, h, w) at strides 4, 8, 16, 32, in channels-last memory."""
        x = images.permute(0, 2, 3, 1).contiguous()
        maps = []
        for embed, blocks in zip(self.convs, self.blocks, strict=True):
            x = blocks(embed(x))
            maps.append(x.permute(0, 3, 1, 2))
        return maps
