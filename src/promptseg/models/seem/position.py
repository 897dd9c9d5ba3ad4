"""Sine codes of places on a map."""

import math

import torch
from torch import Tensor

_TEMPERATURE = 10000.0
_EPSILON = 1e-6


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
