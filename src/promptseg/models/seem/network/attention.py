"""Post-norm transformer parts shared by pixel decoder and decoder, under the official names, and codes of places."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from promptseg.models.seem.network.masked_attention import masked_attention

_TEMPERATURE = 10000.0
_EPSILON = 1e-6


class MultiHeadAttention(nn.Module):
    """Scaled dot-product attention with one joint input projection."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = nn.Linear(dim, dim)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, blocked: Tensor | None = None) -> Tensor:
        """Attend from query (B, N, D) to key and value (B, S, D); returns (B, N, D).

        Args:
            query: the rows that look.
            key: what they look at.
            value: what they take from there.
            blocked: (B, N, S), True where a row must not look. A row that is blocked everywhere
                takes nothing: it gets the bias of the output projection alone.
        """
        return self.attend(query, *self.project(key, value), blocked)

    def project(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """What `attend` needs of key and value: two (B, S, D)."""
        _, *weights = self.in_proj_weight.chunk(3)
        _, *biases = self.in_proj_bias.chunk(3)
        return functional.linear(key, weights[0], biases[0]), functional.linear(value, weights[1], biases[1])

    def attend(self, query: Tensor, key: Tensor, value: Tensor, blocked: Tensor | None = None) -> Tensor:
        """As `forward`, of a key and a value that went through `project`."""
        dim = query.shape[2]
        q = self._split(functional.linear(query, self.in_proj_weight[:dim], self.in_proj_bias[:dim]))
        k, v = self._split(key), self._split(value)
        if blocked is None:
            taken = functional.scaled_dot_product_attention(q, k, v)
        else:
            # Kernels leave a row without any key undefined, so it looks everywhere and is then emptied.
            empty = blocked.all(dim=2, keepdim=True)
            taken = masked_attention(q, k, v, blocked & ~empty)
            taken = taken.masked_fill(empty[:, None], 0.0)
        out: Tensor = self.out_proj(taken.transpose(1, 2).flatten(2))
        return out

    def _split(self, rows: Tensor) -> Tensor:
        return rows.view(*rows.shape[:2], self.heads, -1).transpose(1, 2)


class CrossAttentionLayer(nn.Module):
    """Rows look at one feature map."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.multihead_attn = MultiHeadAttention(dim, heads)
        self.norm = nn.LayerNorm(dim)

    def forward(self, rows: Tensor, positions: Tensor, keys: Tensor, values: Tensor, blocked: Tensor) -> Tensor:
        """New rows (B, N, D) after looking at a map, projected by the attention, not where `blocked`."""
        out: Tensor = self.norm(rows + self.multihead_attn.attend(rows + positions, keys, values, blocked))
        return out


class SelfAttentionLayer(nn.Module):
    """Rows look at each other."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.self_attn = MultiHeadAttention(dim, heads)
        self.norm = nn.LayerNorm(dim)

    def forward(self, rows: Tensor, positions: Tensor, blocked: Tensor | None) -> Tensor:
        """New rows (B, N, D), with `blocked` (B, N, N)."""
        placed = rows + positions
        out: Tensor = self.norm(rows + self.self_attn(placed, placed, rows, blocked))
        return out


class FeedForwardLayer(nn.Module):
    """Two linear maps with a ReLU between, on each row alone."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(dim, hidden)
        self.linear2 = nn.Linear(hidden, dim)
        self.norm = nn.LayerNorm(dim)
        xavier_linear_(self)

    def forward(self, rows: Tensor) -> Tensor:
        """New rows (B, N, D)."""
        out: Tensor = self.norm(rows + self.linear2(self.linear1(rows).relu()))
        return out


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward in one module, as the pixel decoder stores them."""

    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.self_attn = MultiHeadAttention(dim, heads)
        self.linear1 = nn.Linear(dim, hidden)
        self.linear2 = nn.Linear(hidden, dim)
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)
        xavier_linear_(self)

    def forward(self, rows: Tensor, positions: Tensor) -> Tensor:
        """New rows (B, S, D); positions (S, D) are added where rows are compared."""
        placed = rows + positions
        rows = self.norm1(rows + self.self_attn(placed, placed, rows))
        out: Tensor = self.norm2(rows + self.linear2(self.linear1(rows).relu()))
        return out


class Perceptron(nn.Module):
    """Linear maps of one width with ReLU between them; the last one may have another width."""

    def __init__(self, dim: int, out: int, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(dim, dim if i < depth - 1 else out) for i in range(depth))

    def forward(self, rows: Tensor) -> Tensor:
        """Rows (..., D) to (..., out)."""
        for layer in self.layers[:-1]:
            rows = layer(rows).relu()
        out: Tensor = self.layers[-1](rows)
        return out


def xavier_linear_(module: nn.Module) -> None:
    """Start every linear map inside `module` from Xavier's uniform weights and zero bias."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            nn.init.zeros_(part.bias)


def axis_code(fractions: Tensor, features: int) -> Tensor:
    """Codes (n, features) of n places along one axis, as fractions of its length.

    Feature 2k is the sine and feature 2k + 1 the cosine of the same argument.
    """
    pairs = torch.arange(features // 2, device=fractions.device, dtype=fractions.dtype)
    arguments = (fractions * (2 * math.pi))[:, None] / _TEMPERATURE ** (2 * pairs / features)
    return torch.stack((arguments.sin(), arguments.cos()), dim=2).flatten(1)


def sine_positions(height: int, width: int, channels: int, like: Tensor) -> Tensor:
    """Codes (height * width, channels) of every cell of a map, row by row.

    The first half of the channels holds the code of the row, the second half that of the column;
    both count from 1.

    Args:
        height: rows of the map.
        width: columns of the map.
        channels: a multiple of 4.
        like: gives device and dtype.
    """
    rows, columns = (
        axis_code(torch.arange(1, n + 1, device=like.device, dtype=like.dtype) / (n + _EPSILON), channels // 2)
        for n in (height, width)
    )
    grid = (height, width, channels // 2)
    return torch.cat((rows[:, None].expand(grid), columns[None].expand(grid)), dim=2).flatten(0, 1)
