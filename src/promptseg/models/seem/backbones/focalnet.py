"""Focal modulation backbones: `focal` (Focal-L) and `focal_dw` (Focal-T)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from promptseg.errors import PromptsegError
from promptseg.models.seem.backbones.common import (
    STAGES,
    BackboneNumbers,
    Mlp,
    PatchEmbed,
    convolve,
    start_linear_,
)

_LAYER_SCALE = 0.1
_STEM_PADDING = {"focal": 2, "focal_dw": 3}


@dataclass(frozen=True)
class FocalConfig(BackboneNumbers):
    """A focal modulation backbone.

    Attributes:
        kind: `focal` as in Focal-L, or `focal_dw` as in Focal-T, with depthwise convolutions around each branch.
        embed_dim: channels of the first stage; each stage doubles them.
        depths: blocks per stage.
        focal_levels: depthwise convolutions per modulation, by stage.
        focal_windows: kernel of the first of them, by stage; each further one is wider by 2.
        mlp_ratio: hidden channels of the MLPs for each of their channels.
    """

    KINDS: ClassVar = ("focal", "focal_dw")
    kind: str
    embed_dim: int
    depths: tuple[int, ...]
    focal_levels: tuple[int, ...]
    focal_windows: tuple[int, ...] = (3, 3, 3, 3)
    mlp_ratio: float = 4.0

    def __post_init__(self) -> None:
        """Refuse numbers that no network can be built from."""
        self.check(stages=("depths", "focal_levels", "focal_windows"))
        for window in self.focal_windows:
            if window % 2 == 0:
                raise PromptsegError(
                    f"focal_windows {list(self.focal_windows)}: {window} is even, expected odd kernels"
                )

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels per stage."""
        return tuple(self.embed_dim * 2**stage for stage in range(STAGES))

    def build(self) -> nn.Module:
        """The network."""
        return FocalNet(self)


class FocalModulation(nn.Module):
    """Each place is multiplied by a gated sum of its surroundings, from near to far."""

    def __init__(self, dim: int, levels: int, window: int) -> None:
        super().__init__()
        self.split = (dim, dim, levels + 1)
        self.f = nn.Linear(dim, 2 * dim + levels + 1)
        self.h = nn.Conv2d(dim, dim, 1)
        self.proj = nn.Linear(dim, dim)
        kernels = [window + 2 * level for level in range(levels)]
        # The official names carry an index for the convolution within each level (its GELU has no weights).
        self.focal_layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(dim, dim, kernel, padding=kernel // 2, groups=dim, bias=False))
            for kernel in kernels
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, D) to the same shape."""
        query, context, gates = self.f(x).split(self.split, dim=3)
        gates = (gates / self.split[2]).split(1, dim=3)
        total = torch.zeros_like(query)
        for layer, gate in zip(self.focal_layers, gates[:-1], strict=True):
            context = functional.gelu(convolve(layer, context))
            total = torch.addcmul(total, context, gate)
        overall = functional.gelu(context.mean(dim=(1, 2), keepdim=True))
        modulator = functional.linear(torch.addcmul(total, overall, gates[-1]), self.h.weight.flatten(1), self.h.bias)
        out: Tensor = self.proj(query * modulator)
        return out


class FocalBlock(nn.Module):
    """Modulation and MLP, each with its norm inside the branch."""

    def __init__(self, dim: int, levels: int, window: int, mlp_ratio: float) -> None:
        super().__init__()
        self.gamma_1 = nn.Parameter(torch.full((dim,), _LAYER_SCALE))
        self.gamma_2 = nn.Parameter(torch.full((dim,), _LAYER_SCALE))
        self.norm1 = nn.LayerNorm(dim)
        self.modulation = FocalModulation(dim, levels, window)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, mlp_ratio)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, D) to the same shape."""
        x = x + self.gamma_1 * self.norm1(self.modulation(x))
        out: Tensor = x + self.gamma_2 * self.norm2(self.mlp(x))
        return out


class FocalDwBlock(nn.Module):
    """As `FocalBlock`, with a depthwise convolution before each branch and the norm after its sum."""

    def __init__(self, dim: int, levels: int, window: int, mlp_ratio: float) -> None:
        super().__init__()
        self.gamma_1 = nn.Parameter(torch.full((dim,), _LAYER_SCALE))
        self.gamma_2 = nn.Parameter(torch.full((dim,), _LAYER_SCALE))
        self.dw1 = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        self.norm1 = nn.LayerNorm(dim)
        self.modulation = FocalModulation(dim, levels, window)
        self.dw2 = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, mlp_ratio)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, D) to the same shape."""
        x = x + convolve(self.dw1, x)
        x = self.norm1(x + self.gamma_1 * self.modulation(x))
        x = x + convolve(self.dw2, x)
        out: Tensor = self.norm2(x + self.gamma_2 * self.mlp(x))
        return out


_BLOCKS = {"focal": FocalBlock, "focal_dw": FocalDwBlock}


class Stage(nn.Module):
    """Blocks of one width and, but for the last stage, the step to the next one."""

    def __init__(self, config: FocalConfig, stage: int) -> None:
        super().__init__()
        dim, block = config.channels[stage], _BLOCKS[config.kind]
        shape = (dim, config.focal_levels[stage], config.focal_windows[stage], config.mlp_ratio)
        self.blocks = nn.ModuleList(block(*shape) for _ in range(config.depths[stage]))
        last = stage == STAGES - 1
        self.downsample = None if last else PatchEmbed(dim, 2 * dim, kernel=3, stride=2, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The stage's map (B, H, W, D) and the next stage's input."""
        for block in self.blocks:
            x = block(x)
        return x, x if self.downsample is None else self.downsample(x)


class FocalNet(nn.Module):
    """The backbone: four maps at strides 4, 8, 16 and 32."""

    def __init__(self, config: FocalConfig) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(3, config.embed_dim, kernel=7, stride=4, padding=_STEM_PADDING[config.kind])
        self.layers = nn.ModuleList(Stage(config, stage) for stage in range(STAGES))
        for stage, dim in enumerate(config.channels):
            self.add_module(f"norm{stage}", nn.LayerNorm(dim))
        start_linear_(self)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images (B, 3, H, W) to maps (B, D, h, w) at strides 4, 8, 16, 32, in channels-last memory."""
        x = self.patch_embed(images.permute(0, 2, 3, 1).contiguous())
        maps = []
        for stage, layer in enumerate(self.layers):
            out, x = layer(x)
            maps.append(self.get_submodule(f"norm{stage}")(out).permute(0, 3, 1, 2))
        return maps
