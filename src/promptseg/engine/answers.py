"""From photos to answers. Every photo is tiles; one that is seen as a whole has a single one.

Tiles of several photos are decoded together where they share a canvas, as many as pays. What the tiles of a photo say
is joined by the task (`Mosaic`).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from promptseg.data.photo_pixels import PhotoPixels
from promptseg.data.tiles import Tile, Tiling, tiles_of
from promptseg.features.encode import image_tensor, read_ahead
from promptseg.label_space import LabelSpace
from promptseg.models.adapted import Adapted
from promptseg.models.base import ImageFeatures, Prediction, Size
from promptseg.prompts import Prompts
from promptseg.tasks.base import Mosaic, Task, tiled_task

AboutT = TypeVar("AboutT")

_AT_ONCE = {"cuda": 8}
"""Images decoded together, by device."""


def at_once(device: torch.device) -> int:
    """How many images are decoded together: one on a CPU, which is no faster with more."""
    return _AT_ONCE.get(device.type, 1)


def tiling_of(prompts: Prompts, tile: int | None, overlap: int | None) -> Tiling | None:
    """The tiles that photos are seen in: as is said, else as in the fit, else none.

    Args:
        prompts: learned or default prompts.
        tile: height and width of the tiles, pixels; 0 = photos stay whole; none = as in the fit.
        overlap: pixels that neighbours share at least; none = as in the fit, else an eighth of the tile.

    Raises:
        PromptsegError: a value outside its range, or an overlap without tiles.
    """
    if tile is None and prompts.record is not None:
        of_fit = prompts.record.settings
        return Tiling.of(of_fit.tile, of_fit.overlap if overlap is None else overlap)
    return Tiling.of(tile, overlap)


@dataclass(frozen=True)
class Answering:
    """How photos are answered.

    Attributes:
        used: the model as the prompts want it.
        task: makes answers of predictions.
        label_space: the classes of the prompts.
        encode: features (B = 1) of an image (3, h, w) as the model takes it.
        short_side: shorter input side, pixels; none = the model's own.
        tiling: the tiles that photos are seen in; none = they are seen whole.
        most: images that are decoded together.
    """

    used: Adapted
    task: Task[Any]
    label_space: LabelSpace
    encode: Callable[[Tensor], ImageFeatures]
    short_side: int | None
    tiling: Tiling | None
    most: int

    @torch.no_grad()
    def answers(self, photos: Iterable[tuple[AboutT, PhotoPixels]]) -> Iterator[tuple[AboutT, Any]]:
        """For each photo, in order, what was given beside it, and the answer; a thread reads ahead.

        Raises:
            PromptsegError: the task cannot go by tiles.
        """
        pieces = ((piece, self.encode(piece.pixels)) for piece in read_ahead(self._pieces(photos)))
        for batch in _batches(pieces, self.most):
            features = ImageFeatures.cat([features for _, features in batch])
            prediction = self.used.decoder.decode(features, self.used.prompts)
            for index, (piece, _) in enumerate(batch):
                piece.mosaic.add(prediction, index, piece.tile)
                if piece.is_last:
                    yield piece.about, piece.mosaic.finish()

    def _pieces(self, photos: Iterable[tuple[AboutT, PhotoPixels]]) -> "Iterator[_Piece[AboutT]]":
        for about, photo in photos:
            tiles, mosaic = list(tiles_of(photo.size, self.tiling)), self._mosaic(photo.size)
            for number, tile in enumerate(tiles, 1):
                pixels = image_tensor(self.used.encoder, photo.read(tile.rows, tile.columns), self.short_side)
                if number == len(tiles):
                    del photo  # or a large one would be held until the next is read
                yield _Piece(about, mosaic, tile, pixels, number == len(tiles))

    def _mosaic(self, size: Size) -> Mosaic:
        if self.tiling is None:
            return _Whole(self.task, self.label_space)
        return tiled_task(self.task).mosaic(size, self.label_space)


@dataclass(frozen=True, eq=False)
class _Piece(Generic[AboutT]):
    """A tile on its way."""

    about: AboutT
    mosaic: Mosaic
    tile: Tile
    pixels: Tensor
    is_last: bool


class _Whole:
    """The mosaic of a photo that is seen whole."""

    def __init__(self, task: Task[Any], label_space: LabelSpace) -> None:
        self._task, self._space = task, label_space
        self._answer: Any = None

    def add(self, prediction: Prediction, index: int, tile: Tile) -> None:
        """Take what image `index` of a prediction says."""
        self._answer = self._task.answer(prediction, index, tile.size, self._space)

    def finish(self) -> Any:
        """The answer."""
        return self._answer


def _batches(
    items: Iterable[tuple[_Piece[AboutT], ImageFeatures]], most: int
) -> Iterator[Sequence[tuple[_Piece[AboutT], ImageFeatures]]]:
    """Successive images that share a canvas, at most `most` together."""
    for _, same in groupby(items, key=lambda item: item[1].canvas):
        while batch := list(islice(same, most)):
            yield batch
