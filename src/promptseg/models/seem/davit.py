"""DaViT: attention over places within windows, then over channels within groups, in turn."""

from collections import OrderedDict

from torch import Tensor, nn
from torch.nn import functional

from promptseg.models.seem.backbone_config import STAGES, DavitConfig
from promptseg.models.seem.maps import Mlp, PatchEmbed, convolve, from_windows, start_linear_, to_windows


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

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.net = Mlp(dim)

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


def _block(attention_name: str, attention: nn.Module, dim: int) -> nn.Sequential:
    parts = (
        ("conv1", Branch(Depthwise(dim))),
        (attention_name, Branch(attention, dim)),
        ("conv2", Branch(Depthwise(dim))),
        ("ffn", Branch(FeedForward(dim), dim)),
    )
    return nn.Sequential(OrderedDict(parts))


def _unit(config: DavitConfig, stage: int) -> nn.Sequential:
    dim = config.dims[stage]
    places = WindowAttention(dim, config.heads[stage], config.window)
    channels = ChannelAttention(dim, config.groups[stage])
    parts = (
        ("spatial_block", _block("window_attn", places, dim)),
        ("channel_block", _block("channel_attn", channels, dim)),
    )
    return nn.Sequential(OrderedDict(parts))


class DaViT(nn.Module):
    """The backbone: four maps at strides 4, 8, 16 and 32, as the stages leave them."""

    def __init__(self, config: DavitConfig) -> None:
        super().__init__()
        channels = (3, *config.dims)
        self.convs = nn.ModuleList(
            PatchEmbed(channels[i], channels[i + 1], kernel, 2 if i else 4, (kernel - 1) // 2, norm_first=i > 0)
            for i, kernel in enumerate(config.kernels)
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
