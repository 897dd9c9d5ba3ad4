"""Masks at some of their enlarged pixels against PyTorch's own resize of the whole."""

from itertools import product

import pytest
import torch
from torch.nn import functional as F

from promptseg.models.base import Size, Upsampling
from promptseg.tasks.sampling import sampled

SIZES = [((8, 12), (32, 48)), ((7, 9), (28, 36)), ((5, 7), (32, 48)), ((32, 48), (32, 48)), ((16, 24), (8, 12))]


@pytest.mark.parametrize(("small", "large"), SIZES)
@pytest.mark.parametrize("upsampling", ["bilinear", "bicubic"])
def test_samples_are_those_of_the_enlarged_maps(upsampling: Upsampling, small: Size, large: Size) -> None:
    maps = torch.randn(2, 3, *small, dtype=torch.float64, requires_grad=True)
    for stride in range(1, 10):
        whole = F.interpolate(maps, large, mode=upsampling, align_corners=False, antialias=upsampling == "bicubic")
        values = whole[..., stride // 2 :: stride, stride // 2 :: stride], sampled(maps, large, stride, upsampling)
        signs = torch.randn_like(values[0])
        gradients = [torch.autograd.grad((signs * value).sum(), maps)[0] for value in values]
        for found, expected in (values, gradients):
            torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_single_rows_and_columns_are_taken() -> None:
    for size, stride in product([(4, 1), (1, 4), (1, 1)], [1, 2, 4]):
        maps = torch.randn(1, 2, *size)
        large = (4 * size[0], 4 * size[1])
        whole = F.interpolate(maps, large, mode="bilinear", align_corners=False)
        expected = whole[..., stride // 2 :: stride, stride // 2 :: stride]
        torch.testing.assert_close(sampled(maps, large, stride), expected)
