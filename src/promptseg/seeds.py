"""Draws that depend on a seed and a place alone, such as a step, an epoch or a photo: no order of work changes them."""

import torch

_STRIDE = 1_000_003
"""A prime beyond any number of places, so that no two seeds share draws."""


def generator_at(seed: int, place: int) -> torch.Generator:
    """Random numbers, on the CPU, of one place under a seed; both count from 0."""
    return torch.Generator().manual_seed(seed * _STRIDE + place)
