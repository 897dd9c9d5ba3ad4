"""Maps read tile by tile at an output size, against the two resizes one after the other."""

import pytest
import torch
from torch import Tensor

from promptseg.models.base import Prediction
from promptseg.tasks import enlarge
from promptseg.tasks.enlarge import Enlarging, bands
from promptseg.tasks.masks import masks_at

SIZES = [(53, 97), (20, 24), (20, 37), (7, 60), (11, 5), (32, 32), (1, 1)]


def whole(maps: Tensor, image: tuple[int, int], size: tuple[int, int], upsampling: str) -> Tensor:
    prediction = Prediction(torch.zeros(1, len(maps), 2), maps[None], (32, 32), (image,), upsampling)
    return masks_at(prediction, 0, size)


@pytest.mark.parametrize("upsampling", ["bilinear", "bicubic"])
@pytest.mark.parametrize("image", [(20, 24), (32, 32), (2, 31)])
@pytest.mark.parametrize("size", SIZES)
def test_tiles_cover_the_output_once_with_what_both_resizes_give(size, image, upsampling, monkeypatch) -> None:
    monkeypatch.setitem(enlarge.VALUES, "cpu", 200)
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randn(count, side, side, generator=generator) for count, side in ((5, 8), (2, 4), (3, 32))]
    seen = [torch.full((len(one), *size), torch.nan) for one in maps]
    many = [Enlarging.of(one, (32, 32), image, size, upsampling) for one in maps]
    for columns, tiles in bands(many, depth=2):
        for rows, parts in tiles:
            for found, part in zip(seen, parts, strict=True):
                assert found[:, rows, columns].isnan().all()
                found[:, rows, columns] = part.transpose(0, 1)
    for found, one in zip(seen, maps, strict=True):
        torch.testing.assert_close(found, whole(one, image, size, upsampling), rtol=1e-5, atol=1e-5)
