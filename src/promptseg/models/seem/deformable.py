"""The deformable pixel decoder: a transformer whose rows look at a few learned places of three maps.

Deformable attention as in Deformable DETR, with plain bilinear sampling in place of a compiled operator.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from promptseg.models.base import Size
from promptseg.models.seem.attention import xavier_linear_
from promptseg.models.seem.config import LEVELS, SeemConfig
from promptseg.models.seem.pixel_decoder import ConvNorm, PixelFeatures
from promptseg.models.seem.position import sine_positions

_POINTS = 4
_FFN_DIM = 1024


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
                self._sampled(level, size, centres[:, None, None] + offset / offset.new_tensor(size).flip(0), weight)
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
            for channels in reversed(config.backbone.dims[1:])
        )
        self.transformer = DeformableTransformer(config)
        self.mask_features = nn.Conv2d(dim, config.mask_dim, 1)
        self.adapter_1 = ConvNorm(config.backbone.dims[0], dim, 1, groups)
        self.layer_1 = ConvNorm(dim, dim, 3, groups)

    def forward(self, maps: list[Tensor]) -> PixelFeatures:
        """Fuse backbone maps (B, C, h, w) at strides 4, 8, 16 and 32."""
        inputs = [project(x) for project, x in zip(self.input_proj, reversed(maps[1:]), strict=True)]
        levels = self.transformer(inputs)
        lateral = self.adapter_1(maps[0])
        finest = functional.interpolate(levels[-1], size=lateral.shape[2:], mode="bilinear", align_corners=False)
        fused = self.layer_1(lateral + finest).relu()
        return PixelFeatures(self.mask_features(fused), tuple(levels), levels[0])


def _centres(height: int, width: int, like: Tensor) -> Tensor:
    """X and y (height * width, 2) of the centres of all cells, as fractions of width and height."""
    rows, columns = ((torch.arange(n, device=like.device, dtype=like.dtype) + 0.5) / n for n in (height, width))
    return torch.stack((columns.expand(height, width), rows[:, None].expand(height, width)), dim=2).flatten(0, 1)
