"""What the decoder works on, as data: rows, and per layer what they may look at.

Which group of rows sees which is a table; the decoder loop knows no group by name.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from promptseg.models.seem.variants import SeesWhom

PADDING = -1
"""Candidate number of a row that only fills up the batch."""


@dataclass(frozen=True, eq=False)
class Group:
    """Rows of one kind, in the order they take in self-attention.

    Attributes:
        name: a key of the table of who sees whom.
        count: number of rows.
        candidates: (B, count), the candidate object each row stands for, or None where rows stand
            for none. Between groups that have them, a row sees its own candidate's rows only.
        present: (B, count), False for padding, which sees none and is seen by none. None: all are.
    """

    name: str
    count: int
    candidates: Tensor | None = None
    present: Tensor | None = None


@dataclass(frozen=True, eq=False)
class LayerRows:
    """What one decoder layer adds to the rows that go through all layers.

    Attributes:
        tokens: (B, F, D) tokens that exist in this layer only, the same vectors as their positions.
        blocked: (B, A, A) of self-attention, True where the row must not look; A counts rows,
            lasting tokens and this layer's tokens, in that order. None: all see all.
        cross_blocked: (B, G, S), masks of the last G rows in place of what they predict themselves.
    """

    tokens: Tensor | None = None
    blocked: Tensor | None = None
    cross_blocked: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Rows:
    """Everything the decoder loop needs besides image features.

    Attributes:
        states: (B, R, D), rows that look at the image, at their start.
        positions: (B, R, D), their position terms.
        tokens: (B, T, D), rows that do not look at the image but change from layer to layer, the
            same vectors as their positions.
        layers: one entry per decoder layer.
    """

    states: Tensor
    positions: Tensor
    tokens: Tensor | None
    layers: Sequence[LayerRows]


def object_rows(states: Tensor, positions: Tensor, batch: int, layers: int, blocked: Tensor | None = None) -> Rows:
    """Rows of object queries alone.

    Args:
        states: (N, D), or (B, N, D).
        positions: (N, D), or (B, N, D).
        batch: B.
        layers: number of decoder layers.
        blocked: (1, N, N), of self-attention; None: they all see each other.
    """
    return Rows(per_image(states, batch), per_image(positions, batch), None, [LayerRows(blocked=blocked)] * layers)


def per_image(rows: Tensor, batch: int) -> Tensor:
    """Rows (N, D) as (B, N, D); rows (B, N, D) unchanged."""
    return rows if rows.dim() == 3 else rows.expand(batch, *rows.shape)


def joined(*parts: Tensor | None) -> Tensor:
    """The parts that exist, joined along the rows."""
    present = [part for part in parts if part is not None]
    return present[0] if len(present) == 1 else torch.cat(present, dim=1)


def last_apart(count: int, device: torch.device) -> Tensor:
    """The mask (1, N, N) of self-attention in which the last of N rows neither sees the others nor is seen."""
    last = torch.arange(count, device=device) == count - 1
    return (last[:, None] != last)[None]


def self_blocked(sees_whom: SeesWhom, groups: Sequence[Group], batch: int, device: torch.device) -> Tensor:
    """The mask (B, A, A) of self-attention among groups, by a table of who sees whom; True blocks."""
    total = sum(group.count for group in groups)
    blocked = torch.ones(batch, total, total, dtype=torch.bool, device=device)
    top = 0
    for row in groups:
        left = 0
        for seen in groups:
            if seen.name in sees_whom[row.name]:
                blocked[:, top : top + row.count, left : left + seen.count] = _pair_blocked(row, seen)
            left += seen.count
        top += row.count
    return blocked


def _pair_blocked(row: Group, seen: Group) -> Tensor:
    if row.candidates is not None and seen.candidates is not None:
        return row.candidates[:, :, None] != seen.candidates[:, None, :]
    blocked = torch.zeros((), dtype=torch.bool)
    if row.present is not None:
        blocked = blocked | ~row.present[:, :, None]
    if seen.present is not None:
        blocked = blocked | ~seen.present[:, None, :]
    return blocked
