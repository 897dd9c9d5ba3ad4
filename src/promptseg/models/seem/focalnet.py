"""Focal modulation backbones: `focal` (Focal-L) and `focal_dw` (Focal-T)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from promptseg.models.seem.backbone_config import FocalConfig
from promptseg.models.seem.maps import Mlp, PatchEmbed, convolve, start_linear_

_LAYER_SCALE = 0.1
_STEM_PADDING = {"focal": 2, "focal_dw": 3}


class FocalModulation(nn.Module):
    """Each place is multiplied by a gated sum of its surroundings, from near to far."""

    def __init__(self, dim: int, levels: int) -> None:
        super().__init__()
        self.split = (dim, dim, levels + 1)
        self.f = nn.Linear(dim, 2 * dim + levels + 1)
        self.h = nn.Conv2d(dim, dim, 1)
        self.proj = nn.Linear(dim, dim)
        # The official names carry an index for the convolution within each level (its GELU has no weights).
        self.focal_layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(dim, dim, 3 + 2 * i, padding=1 + i, groups=dim, bias=False)) for i in range(levels)
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

    def __init__(self, dim: int, levels: int) -> None:
        super().__init__()
        self.gamma_1 = nn.Parameter(torch.full((dim,), _LAYER_SCALE))
        self.gamma_2 = nn.Parameter(torch.full((dim,), _LAYER_SCALE))
        self.norm1 = nn.LayerNorm(dim)
        self.modulation = FocalModulation(dim, levels)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, D) to the same shape."""
        x = x + self.gamma_1 * self.norm1(self.modulation(x))
        out: Tensor = x + self.gamma_2 * self.norm2(self.mlp(x))
        return out


class FocalDwBlock(nn.Module):
    """As `FocalBlock`, with a depthwise convolution before each branch and the norm after its sum."""

    def __init__(self, dim: int, levels: int) -> None:
        super().__init__()
        self.gamma_1 = nn.Parameter(torch.full((dim,), _LAYER_SCALE))
        self.gamma_2 = nn.Parameter(torch.full((dim,), _LAYER_SCALE))
        self.dw1 = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        self.norm1 = nn.LayerNorm(dim)
        self.modulation = FocalModulation(dim, levels)
        self.dw2 = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim)

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
        dim = config.dims[stage]
        block = _BLOCKS[config.kind]
        self.blocks = nn.ModuleList(block(dim, config.focal_levels) for _ in range(config.depths[stage]))
        last = stage == len(config.dims) - 1
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
        self.layers = nn.ModuleList(Stage(config, stage) for stage in range(len(config.dims)))
        for stage, dim in enumerate(config.dims):
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
