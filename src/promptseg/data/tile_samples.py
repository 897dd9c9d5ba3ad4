"""Labelled photos cut into tiles to learn from; each labelled pixel is in the labels of one tile."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptseg.data.sample import ObjectLabels, PanopticLabels, Sample
from promptseg.data.tiles import Tile, Tiling, tiles_of
from promptseg.errors import PromptsegError
from promptseg.label_space import IGNORE, LabelSpace

_NO_LABEL = "no pixel of the shots is labelled: there is nothing to learn"


class _Last:
    """What was last read of a photo: its tiles come one after the other, and it is decoded once for all of them."""

    def __init__(self) -> None:
        self._key: tuple[str, str] | None = None
        self._value: Any = None

    def read(self, sample: Sample, what: str) -> Any:
        """`sample.WHAT()`."""
        if self._key != (sample.id, what):
            self._key, self._value = None, None  # two large photos at once would be twice the memory
            self._value = getattr(sample, what)()
            self._key = sample.id, what
        return self._value


@dataclass(frozen=True, eq=False)
class TileSample:
    """A tile as a sample: the photo around the tile's core is seen, the labels there are those of its neighbours."""

    photo: Sample
    tile: Tile
    images: _Last
    labels: _Last

    @property
    def id(self) -> str:
        """The photo's, and where the tile begins."""
        return f"{self.photo.id}@{self.tile.rows.start},{self.tile.columns.start}"

    @property
    def label_space(self) -> LabelSpace:
        """That of the photo."""
        return self.photo.label_space

    def image(self) -> NDArray[np.uint8]:
        """The tile, (h, w, 3) uint8 RGB."""
        image: NDArray[np.uint8] = self.images.read(self.photo, "image")
        return np.ascontiguousarray(image[self.tile.rows, self.tile.columns])

    def semantic(self) -> NDArray[np.uint8]:
        """Class ids (h, w) uint8, 255 = ignored."""
        return self._cut(self.labels.read(self.photo, "semantic"), IGNORE)

    def panoptic(self) -> PanopticLabels:
        """Panoptic labels of the segments that are seen; raises as that of the photo."""
        whole: PanopticLabels = self.labels.read(self.photo, "panoptic")
        map_ = self._cut(whole.map, 0)
        there = set(np.unique(map_).tolist())
        return PanopticLabels(map_, tuple(segment for segment in whole.segments if segment.id in there))

    def objects(self) -> ObjectLabels:
        """Labels of the objects that are seen; raises as those of the photo."""
        whole: ObjectLabels = self.labels.read(self.photo, "objects")
        map_ = self._cut(whole.map, 0)
        there = set(np.unique(map_).tolist())
        seen = [i for i, regions in enumerate(whole.regions) if there.intersection(regions)]
        return ObjectLabels(map_, tuple(whole.segments[i] for i in seen), tuple(whole.regions[i] for i in seen))

    def _cut(self, whole: NDArray[Any], nothing: int) -> NDArray[Any]:
        """The tile of a map, with `nothing` outside its core."""
        cut = np.full(self.tile.size, nothing, whole.dtype)
        cut[self.tile.inside(self.tile.core)] = whole[self.tile.core]
        return cut


@dataclass(frozen=True, eq=False)
class Pieces:
    """What a fit learns from: photos, or tiles of them.

    Attributes:
        samples: the photos or tiles.
        groups: for each the number of what must be held out together, from 0: its photo; the tile itself where all are
            of one photo.
    """

    samples: tuple[Sample, ...]
    groups: tuple[int, ...]

    @staticmethod
    def of(photos: Sequence[Sample], tiling: Tiling | None) -> "Pieces":
        """Photos as they are, or their tiles without those where no pixel has a label; reads the labels for that.

        Raises:
            PromptsegError: no pixel has a label.
        """
        if tiling is None:
            return Pieces(tuple(photos), tuple(range(len(photos))))
        images, labels = _Last(), _Last()
        found = [
            (TileSample(photo, tile, images, labels), number)
            for number, photo in enumerate(photos)
            for tile in tiles_of(labels.read(photo, "semantic").shape, tiling)
            if (labels.read(photo, "semantic")[tile.core] != IGNORE).any()
        ]
        if not found:
            raise PromptsegError(_NO_LABEL)
        samples, of_photo = (sample for sample, _ in found), tuple(number for _, number in found)
        return Pieces(tuple(samples), of_photo if len(set(of_photo)) > 1 else tuple(range(len(found))))

    def labelled(self) -> "Pieces":
        """Those in which a pixel has a label; groups are numbered anew.

        Raises:
            PromptsegError: there is none.
        """
        kept = [i for i, sample in enumerate(self.samples) if (sample.semantic() != IGNORE).any()]
        if not kept:
            raise PromptsegError(_NO_LABEL)
        return self._some(kept)

    def without_fold(self, fold: int, folds: int) -> "Pieces":
        """Those of all groups but every `folds`-th, from group `fold` on; groups are numbered anew."""
        return self._some([i for i, group in enumerate(self.groups) if group % folds != fold])

    def _some(self, kept: Sequence[int]) -> "Pieces":
        numbers = {group: number for number, group in enumerate(sorted({self.groups[i] for i in kept}))}
        return Pieces(tuple(self.samples[i] for i in kept), tuple(numbers[self.groups[i]] for i in kept))
