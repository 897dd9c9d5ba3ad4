"""Sizes that images are resized to."""

import pytest

from promptseg.models.images import long_side_size, short_side_size


@pytest.mark.parametrize(
    ("size", "short_side", "expected"),
    [
        ((1024, 2048), 512, (512, 1024)),
        ((360, 480), 512, (512, 683)),  # 682.67
        ((480, 360), 512, (683, 512)),
        ((2, 5), 1, (1, 3)),  # 2.5 rounds up, not to even
        ((100, 100), 33, (33, 33)),
        ((3, 12), 7, (7, 28)),
        ((3, 1000), 7, (1, 28)),  # four times the short side at most
        ((1, 4000), 128, (1, 512)),
    ],
)
def test_short_side_size(size, short_side, expected):
    assert short_side_size(size, short_side) == expected


@pytest.mark.parametrize(
    ("size", "long_side", "expected"),
    [
        ((1024, 2048), 1024, (512, 1024)),
        ((480, 360), 1024, (1024, 768)),
        ((100, 101), 1024, (1014, 1024)),  # 1013.86
        ((3, 200), 100, (2, 100)),  # 1.5 rounds up
        ((1, 3000), 100, (1, 100)),
    ],
)
def test_long_side_size(size, long_side, expected):
    assert long_side_size(size, long_side) == expected
