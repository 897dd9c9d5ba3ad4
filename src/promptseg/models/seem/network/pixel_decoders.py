"""The pixel decoders: from backbone maps to mask features and to the three maps that the decoder attends to.

`FpnPixelDecoder` is a transformer on the stride-32 map, then a feature pyramid. `DeformablePixelDecoder` is a
transformer whose rows look at a few learned places of three maps: deformable attention as in Deformable DETR, with
plain bilinear sampling in place of a compiled operator.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from promptseg.models.base import Size
from promptseg.models.seem.config import LEVELS, SeemConfig
from promptseg.models.seem.network.attention import EncoderLayer, sine_positions, xavier_linear_

_POINTS = 4
_FFN_DIM = 1024


@dataclass(frozen=True, eq=False)
class PixelFeatures:
    """What the pixel decoder makes of one batch.

    Attributes:
        mask_features: (B, M, H / 4, W / 4).
        levels: maps (B, D, h, w) at strides 32, 16 and 8.
        encoded: (B, D, H / 32, W / 32), the stride-32 map as the transformer leaves it.
    """

    mask_features: Tensor
    levels: tuple[Tensor, ...]
    encoded: Tensor


class ConvNorm(nn.Conv2d):
    """A convolution without bias, then a group norm (the checkpoint keeps the norm inside it)."""

    def __init__(self, channels: int, dim: int, kernel: int, groups: int) -> None:
        super().__init__(channels, dim, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.GroupNorm(groups, dim)
        nn.init.kaiming_uniform_(self.weight, a=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to (B, dim, H, W)."""
        out: Tensor = self.norm(super().forward(x))
        return out


class FpnEncoder(nn.Module):
    """A stack of transformer layers over one map."""

    def __init__(self, config: SeemConfig) -> None:
        super().__init__()
        sizes = (config.hidden_dim, config.heads, config.ffn_dim)
        self.layers = nn.ModuleList(EncoderLayer(*sizes) for _ in range(config.encoder_layers))

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, H, W) to the same shape."""
        height, width = x.shape[2:]
        positions = sine_positions(height, width, x.shape[1], like=x)
        rows = x.flatten(2).transpose(1, 2).contiguous()
        for layer in self.layers:
            rows = layer(rows, positions)
        return rows.view(-1, height, width, x.shape[1]).permute(0, 3, 1, 2)


class FpnPixelDecoder(nn.Module):
    """From backbone maps to mask features and the maps the decoder attends to."""

    def __init__(self, config: SeemConfig) -> None:
        super().__init__()
        dim, groups = config.hidden_dim, config.norm_groups
        for i, channels in enumerate(config.backbone.channels[:-1], start=1):
            self.add_module(f"adapter_{i}", ConvNorm(channels, dim, 1, groups))
            self.add_module(f"layer_{i}", ConvNorm(dim, dim, 3, groups))
        self.mask_features = nn.Conv2d(dim, config.mask_dim, 3, padding=1)
        self.input_proj = nn.Conv2d(config.backbone.channels[-1], dim, 1)
        self.transformer = nn.ModuleDict({"encoder": FpnEncoder(config)})
        self.layer_4 = ConvNorm(dim, dim, 3, groups)

    def forward(self, maps: list[Tensor]) -> PixelFeatures:
        """Fuse backbone maps (B, C, h, w) at strides 4, 8, 16 and 32."""
        encoded = self.transformer["encoder"](self.input_proj(maps[-1]))
        x = self.layer_4(encoded).relu()
        levels = [x]
        for i in (3, 2, 1):
            lateral = self.get_submodule(f"adapter_{i}")(maps[i - 1])
            x = lateral + functional.interpolate(x, size=lateral.shape[2:], mode="nearest")
            x = self.get_submodule(f"layer_{i}")(x).relu()
            levels.append(x)
        return PixelFeatures(self.mask_features(x), tuple(levels[:-1]), encoded)


class DeformableAttention(nn.Module):
    """Every row takes a weighted sum of values at a few places around its own, on every level."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.sampling_offsets = nn.Linear(dim, heads * LEVELS * _POINTS * 2)
        self.attention_weights = nn.Linear(dim, heads * LEVELS * _POINTS)
        self.value_proj = nn.Linear(dim, dim)
        self.output_proj = nn.Linear(dim, dim)

    def start_(self) -> None:
        """Start with equal weights and each head looking in a direction of its own, point by point further."""
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.sampling_offsets.weight)
        angles = torch.arange(self.heads) * (2 * math.pi / self.heads)
        ways = torch.stack((angles.cos(), angles.sin()), dim=1)
        ways = ways / ways.abs().amax(dim=1, keepdim=True)
        steps = torch.arange(1, _POINTS + 1)[:, None] * ways[:, None, None]
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(steps.expand(-1, LEVELS, -1, -1).flatten())

    def forward(self, rows: Tensor, centres: Tensor, values: Tensor, sizes: Sequence[Size]) -> Tensor:
        """New rows (B, S, D).

        Args:
            rows: (B, S, D), what offsets and weights are read from.
            centres: (S, 2), x and y of each row as fractions of width and height.
            values: (B, S, D), the levels one after another, each row by row.
            sizes: height and width of each level.
        """
        offsets = self.sampling_offsets(rows).unflatten(2, (self.heads, LEVELS, _POINTS, 2)).unbind(3)
        weights = self.attention_weights(rows).unflatten(2, (self.heads, -1)).softmax(dim=3).chunk(LEVELS, dim=3)
        levels = self.value_proj(values).split([height * width for height, width in sizes], dim=1)
        taken = torch.stack(
            [
                self._sampled(level, size, centres[:, None, None] + _in_fractions(offset, size), weight)
                for level, size, offset, weight in zip(levels, sizes, offsets, weights, strict=True)
            ]
        ).sum(dim=0)
        out: Tensor = self.output_proj(taken)
        return out

    def _sampled(self, level: Tensor, size: Size, places: Tensor, weights: Tensor) -> Tensor:
        """Values (B, h * w, D) at places (B, S, heads, P, 2), weighted by (B, S, heads, P) and summed: (B, S, D)."""
        maps = level.unflatten(2, (self.heads, -1)).permute(0, 2, 3, 1).flatten(0, 1).unflatten(2, size)
        grid = (2 * places - 1).transpose(1, 2).flatten(0, 1)
        found = functional.grid_sample(maps, grid, align_corners=False)
        summed = (found * weights.transpose(1, 2).flatten(0, 1)[:, None]).sum(dim=3)
        taken: Tensor = summed.unflatten(0, (-1, self.heads)).flatten(1, 2).transpose(1, 2)
        return taken


class DeformableLayer(nn.Module):
    """Deformable attention and feed-forward, each with its norm after the sum."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.self_attn = DeformableAttention(dim, heads)
        self.norm1 = nn.LayerNorm(dim)
        self.linear1 = nn.Linear(dim, _FFN_DIM)
        self.linear2 = nn.Linear(_FFN_DIM, dim)
        self.norm2 = nn.LayerNorm(dim)
        xavier_linear_(self)
        self.self_attn.start_()

    def forward(self, rows: Tensor, positions: Tensor, centres: Tensor, sizes: Sequence[Size]) -> Tensor:
        """New rows (B, S, D); see `DeformableAttention`."""
        rows = self.norm1(rows + self.self_attn(rows + positions, centres, rows, sizes))
        out: Tensor = self.norm2(rows + self.linear2(self.linear1(rows).relu()))
        return out


class DeformableEncoder(nn.Module):
    """A stack of deformable layers."""

    def __init__(self, config: SeemConfig) -> None:
        super().__init__()
        sizes = (config.hidden_dim, config.heads)
        self.layers = nn.ModuleList(DeformableLayer(*sizes) for _ in range(config.encoder_layers))

    def forward(self, rows: Tensor, positions: Tensor, centres: Tensor, sizes: Sequence[Size]) -> Tensor:
        """New rows (B, S, D); see `DeformableAttention`."""
        for layer in self.layers:
            rows = layer(rows, positions, centres, sizes)
        return rows


class DeformableTransformer(nn.Module):
    """The encoder over three maps, with a position code and a level code for every place."""

    def __init__(self, config: SeemConfig) -> None:
        super().__init__()
        self.level_embed = nn.Parameter(torch.randn(LEVELS, config.hidden_dim))
        self.encoder = DeformableEncoder(config)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps (B, D, h, w) to maps of the same shapes."""
        sizes = [(x.shape[2], x.shape[3]) for x in maps]
        rows = torch.cat([x.flatten(2).transpose(1, 2) for x in maps], dim=1)
        codes = [sine_positions(*size, rows.shape[2], like=rows) for size in sizes]
        positions = torch.cat([code + level for code, level in zip(codes, self.level_embed, strict=True)])
        centres = torch.cat([_centres(*size, like=rows) for size in sizes])
        levels = self.encoder(rows, positions, centres, sizes).split([h * w for h, w in sizes], dim=1)
        return [level.transpose(1, 2).unflatten(2, size) for level, size in zip(levels, sizes, strict=True)]


class DeformablePixelDecoder(nn.Module):
    """From backbone maps to mask features and the maps the decoder attends to."""

    def __init__(self, config: SeemConfig) -> None:
        super().__init__()
        dim, groups = config.hidden_dim, config.norm_groups
        self.input_proj = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, dim, 1), nn.GroupNorm(groups, dim))
            for channels in reversed(config.backbone.channels[1:])
        )
        self.transformer = DeformableTransformer(config)
        self.mask_features = nn.Conv2d(dim, config.mask_dim, 1)
        self.adapter_1 = ConvNorm(config.backbone.channels[0], dim, 1, groups)
        self.layer_1 = ConvNorm(dim, dim, 3, groups)

    def forward(self, maps: list[Tensor]) -> PixelFeatures:
        """Fuse backbone maps (B, C, h, w) at strides 4, 8, 16 and 32."""
        inputs = [project(x) for project, x in zip(self.input_proj, reversed(maps[1:]), strict=True)]
        levels = self.transformer(inputs)
        lateral = self.adapter_1(maps[0])
        finest = functional.interpolate(levels[-1], size=lateral.shape[2:], mode="bilinear", align_corners=False)
        fused = self.layer_1(lateral + finest).relu()
        return PixelFeatures(self.mask_features(fused), tuple(levels), levels[0])


def _in_fractions(offset: Tensor, size: Size) -> Tensor:
    """Offsets (..., 2), x and y in cells, as fractions of width and height."""
    # Axis by axis: a tensor of both sides would be a constant in a graph that is traced for any size.
    height, width = size
    return torch.stack((offset[..., 0] / width, offset[..., 1] / height), dim=-1)


def _centres(height: int, width: int, like: Tensor) -> Tensor:
    """X and y (height * width, 2) of the centres of all cells, as fractions of width and height."""
    rows, columns = ((torch.arange(n, device=like.device, dtype=like.dtype) + 0.5) / n for n in (height, width))
    return torch.stack((columns.expand(height, width), rows[:, None].expand(height, width)), dim=2).flatten(0, 1)
