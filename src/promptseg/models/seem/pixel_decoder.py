"""The pixel decoder: a transformer on the stride-32 map, then a feature pyramid."""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from promptseg.models.seem.attention import EncoderLayer
from promptseg.models.seem.config import SeemConfig
from promptseg.models.seem.position import sine_positions


@dataclass(frozen=True)
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


class Encoder(nn.Module):
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


class PixelDecoder(nn.Module):
    """From backbone maps to mask features and the maps the decoder attends to."""

    def __init__(self, config: SeemConfig) -> None:
        super().__init__()
        dim, groups = config.hidden_dim, config.norm_groups
        for i, channels in enumerate(config.backbone.dims[:-1], start=1):
            self.add_module(f"adapter_{i}", ConvNorm(channels, dim, 1, groups))
            self.add_module(f"layer_{i}", ConvNorm(dim, dim, 3, groups))
        self.mask_features = nn.Conv2d(dim, config.mask_dim, 3, padding=1)
        self.input_proj = nn.Conv2d(config.backbone.dims[-1], dim, 1)
        self.transformer = nn.ModuleDict({"encoder": Encoder(config)})
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
