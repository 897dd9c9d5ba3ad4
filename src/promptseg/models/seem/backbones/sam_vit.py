"""SAM's vision transformer, with the neck that gives SEEM its four maps."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from promptseg.errors import PromptsegError
from promptseg.models.seem.backbones.common import (
    BackboneNumbers,
    convolve,
    from_windows,
    start_linear_,
    to_windows,
)

_EPSILON = 1e-6


@dataclass(frozen=True)
class SamVitConfig(BackboneNumbers):
    """SAM's vision transformer, with a neck of four branches in place of SAM's own.

    Attributes:
        kind: `sam_vit`.
        dim: channels of the transformer.
        depth: its blocks.
        heads: attention heads.
        global_blocks: numbers of the blocks, from 0, that attend everywhere; the others attend within windows.
        canvas: height and width of the input, pixels; the table of positions fits no other size.
        patch: side of the patches, pixels.
        window: side of the windows, in patches.
        mlp_ratio: hidden channels of the MLPs for each of their channels.
    """

    KINDS: ClassVar = ("sam_vit",)
    kind: str
    dim: int
    depth: int
    heads: int
    global_blocks: tuple[int, ...] = field(metadata={"least": 0})
    canvas: int = 1024
    patch: int = 16
    window: int = 14
    mlp_ratio: float = 4.0

    def __post_init__(self) -> None:
        """Refuse numbers that no network can be built from."""
        self.check()
        for name, value, divisor in (
            ("dim", self.dim, self.heads),
            ("canvas", self.canvas, 32),
        ):
            if value % divisor:
                raise PromptsegError(f"backbone.{name} {value} is not a multiple of {divisor}")
        if self.patch != 16:
            raise PromptsegError(f"backbone.patch is {self.patch}, expected 16: the neck makes its maps from stride 16")
        if max(self.global_blocks, default=0) >= self.depth:
            raise PromptsegError(
                f"backbone.global_blocks {list(self.global_blocks)}: there are {self.depth} blocks, counted from 0"
            )

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the neck's maps."""
        return 128, 256, 512, 1024

    def build(self) -> nn.Module:
        """The network."""
        return SamVit(self)

    @property
    def fixed_canvas(self) -> int:
        """Height and width of its input, pixels."""
        return self.canvas


class PatchEmbed(nn.Module):
    """One linear map of each patch."""

    def __init__(self, dim: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, patch, patch)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, 3) to (B, H / patch, W / patch, dim)."""
        return convolve(self.proj, x)


class Attention(nn.Module):
    """Self-attention over a square map, with learned terms for the distance in rows and in columns."""

    def __init__(self, dim: int, heads: int, side: int) -> None:
        super().__init__()
        self.heads = heads
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * side - 1, dim // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * side - 1, dim // heads))
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, side, side, D) to the same shape."""
        tables = [self._by_places(table) for table in (self.rel_pos_h, self.rel_pos_w)]
        heads = self.qkv(x).unflatten(3, (3, self.heads, -1)).permute(4, 3, 0, 1, 2, 5)
        # One head after another, as the bias of a block that looks everywhere has side ** 4 numbers per image and head.
        taken = [_attend(query, key, value, *tables) for query, key, value in heads]
        out: Tensor = self.proj(torch.cat(taken, dim=3))
        return out

    @staticmethod
    def _by_places(table: Tensor) -> Tensor:
        """Rows (side, side, d) of a table of distances, by place of the query and of the key."""
        places = torch.arange(len(table) // 2 + 1, device=table.device)
        return table[places[:, None] - places + len(table) // 2]


def _attend(query: Tensor, key: Tensor, value: Tensor, by_rows: Tensor, by_columns: Tensor) -> Tensor:
    """One head over (B, side, side, d); the tables are (side, side, d)."""
    rows = torch.einsum("bhwd,hkd->bhwk", query, by_rows)
    columns = torch.einsum("bhwd,wkd->bhwk", query, by_columns)
    bias = (rows[..., :, None] + columns[..., None, :]).flatten(3).flatten(1, 2)
    # The fused kernel, twice as fast, takes four axes only.
    q, k, v = (x.flatten(1, 2)[:, None] for x in (query, key, value))
    return functional.scaled_dot_product_attention(q, k, v, attn_mask=bias[:, None]).view(query.shape)


class Mlp(nn.Module):
    """Two linear maps with a GELU between, under SAM's names."""

    def __init__(self, dim: int, ratio: float) -> None:
        super().__init__()
        hidden = int(dim * ratio)
        self.lin1 = nn.Linear(dim, hidden)
        self.lin2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) to the same shape."""
        out: Tensor = self.lin2(functional.gelu(self.lin1(x)))
        return out


class Block(nn.Module):
    """Attention and MLP, each on the norm of its input; attention over everything or within windows."""

    def __init__(self, dim: int, heads: int, side: int, window: int | None, mlp_ratio: float) -> None:
        super().__init__()
        self.window = window
        self.norm1 = nn.LayerNorm(dim, eps=_EPSILON)
        self.attn = Attention(dim, heads, window or side)
        self.norm2 = nn.LayerNorm(dim, eps=_EPSILON)
        self.mlp = Mlp(dim, mlp_ratio)

    def forward(self, x: Tensor) -> Tensor:
        """(B, side, side, D) to the same shape."""
        normed = self.norm1(x)
        if self.window is None:
            x = x + self.attn(normed)
        else:
            x = x + from_windows(self.attn(to_windows(normed, self.window)), *x.shape[1:3])
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


def _step(kind: type[nn.Conv2d | nn.ConvTranspose2d], channels: int, dim: int, kernel: int) -> list[nn.Module]:
    """A convolution whose stride is its kernel, and a norm over the whole map."""
    return [kind(channels, dim, kernel, kernel), nn.GroupNorm(1, dim)]


class Neck(nn.Module):
    """Four branches from one map at stride 16 to maps at strides 4, 8, 16 and 32."""

    def __init__(self, dim: int, dims: tuple[int, ...]) -> None:
        super().__init__()
        half, double = max(256, dim // 2), max(1024, 2 * dim)
        conv, up = nn.Conv2d, nn.ConvTranspose2d
        self.down_4 = nn.Sequential(
            *_step(up, dim, half, 2),
            nn.GELU(),
            *_step(up, half, half // 2, 2),
            *_step(conv, half // 2, dims[0], 1),
            nn.GELU(),
        )
        self.down_8 = nn.Sequential(*_step(up, dim, half, 2), *_step(conv, half, dims[1], 1), nn.GELU())
        self.down_16 = nn.Sequential(*_step(conv, dim, dims[2], 1), nn.GELU())
        self.down_32 = nn.Sequential(*_step(conv, dim, double, 2), *_step(conv, double, dims[3], 1), nn.GELU())

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, dim, h, w) to four maps, the finest first."""
        return [branch(x) for branch in (self.down_4, self.down_8, self.down_16, self.down_32)]


class SamVit(nn.Module):
    """The backbone: four maps at strides 4, 8, 16 and 32, from a square input of one size."""

    def __init__(self, config: SamVitConfig) -> None:
        super().__init__()
        self.canvas = config.canvas
        side = config.canvas // config.patch
        self.pos_embed = nn.Parameter(torch.zeros(1, side, side, config.dim))
        self.patch_embed = PatchEmbed(config.dim, config.patch)
        windows = [None if index in config.global_blocks else config.window for index in range(config.depth)]
        self.blocks = nn.ModuleList(
            Block(config.dim, config.heads, side, window, config.mlp_ratio) for window in windows
        )
        self.neck = Neck(config.dim, config.channels)
        start_linear_(self)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images (B, 3, canvas, canvas) to maps (B, D, h, w) at strides 4, 8, 16, 32.

        Raises:
            PromptsegError: height or width is not the canvas.
        """
        height, width = images.shape[2:]
        if (height, width) != (self.canvas, self.canvas):
            raise PromptsegError(
                f"image batch of {height} x {width}: this model's canvas is {self.canvas} x {self.canvas};"
                " resize larger images to fit into it (a smaller short side), and pad smaller ones"
            )
        x = self.patch_embed(images.permute(0, 2, 3, 1).contiguous()) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        maps: list[Tensor] = self.neck(x.permute(0, 3, 1, 2))
        return maps
