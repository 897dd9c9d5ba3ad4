"""Sizes of images that keep their proportions; halves round up, as the official preprocessing of the models does."""

LONGEST = 4
"""Most that the longer side may be, in shorter sides as asked for: without a bound, a strip takes all memory."""


def short_side_size(size: tuple[int, int], short_side: int) -> tuple[int, int]:
    """The (h, w) of `size` scaled so that the shorter side is `short_side`, or smaller: see `LONGEST`."""
    if max(size) > LONGEST * min(size):
        return long_side_size(size, LONGEST * short_side)
    return _scaled(size, short_side, min(size))


def long_side_size(size: tuple[int, int], long_side: int) -> tuple[int, int]:
    """The (h, w) of `size` scaled so that the longer side is `long_side`; no side shrinks to nothing."""
    height, width = _scaled(size, long_side, max(size))
    return max(height, 1), max(width, 1)


def _scaled(size: tuple[int, int], wanted: int, side: int) -> tuple[int, int]:
    height, width = size
    return int(height * wanted / side + 0.5), int(width * wanted / side + 0.5)
