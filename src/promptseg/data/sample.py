"""What the rest of the package knows of a data set: samples, splits and nothing of file layouts."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, overload

import numpy as np
from numpy.typing import NDArray

from promptseg.data.defects import Defect
from promptseg.label_space import IGNORE, LabelSpace

Box = tuple[slice, slice]
"""Rows and columns of a part of a picture."""


@dataclass(frozen=True)
class Segment:
    """One labelled region of a panoptic map: an instance of a thing class, or all of a stuff class."""

    id: int
    class_id: int
    is_crowd: bool = False


@dataclass(frozen=True, eq=False)
class PanopticLabels:
    """Panoptic labels: `map` (H, W) int32 holds segment ids, 0 where nothing is labelled."""

    map: NDArray[np.int32]
    segments: tuple[Segment, ...]

    def semantic(self) -> NDArray[np.uint8]:
        """Class ids (H, W), crowds included; 255 where nothing is labelled."""
        known = sorted(self.segments, key=lambda s: s.id)
        ids = np.array([0, *(s.id for s in known)], np.int32)
        classes = np.array([IGNORE, *(s.class_id for s in known)], np.uint8)
        labels: NDArray[np.uint8] = classes[np.searchsorted(ids, self.map)]
        return labels


@dataclass(frozen=True, eq=False)
class ObjectLabels:
    """Segments with their whole masks, which may overlap.

    Attributes:
        map: (H, W) int32 regions, each with pixels of the same segments; 0 where nobody says what is there, and a
            number of no segment where it is known that none is there.
        segments: the objects, and stuff where it is labelled.
        regions: for each segment the numbers of the map that it covers.
    """

    map: NDArray[np.int32]
    segments: tuple[Segment, ...]
    regions: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, labels: PanopticLabels) -> "ObjectLabels":
        """Segments that overlap nowhere."""
        return cls(labels.map, labels.segments, tuple((segment.id,) for segment in labels.segments))

    @classmethod
    def overlaid(
        cls, ground: NDArray[np.int32], segments: Sequence[Segment], masks: Iterable[tuple[Box, NDArray[np.bool_]]]
    ) -> "ObjectLabels":
        """Segments over a map (H, W) of what holds where none is: 0 or 1.

        Args:
            ground: the map.
            segments: the segments.
            masks: for each the rows and columns it lies in, and its mask (h, w) there.
        """
        map_ = ground.copy()
        owners: list[tuple[int, ...]] = [(), ()]
        for place, (box, mask) in enumerate(masks):
            part = map_[box]
            below = part[mask]
            renumbered = np.zeros(len(owners), np.int32)
            for old in np.flatnonzero(np.bincount(below, minlength=len(owners))).tolist():
                renumbered[old] = len(owners)
                owners.append((*owners[old], place))
            part[mask] = renumbered[below]
        covered: list[list[int]] = [[] for _ in segments]
        for region in np.flatnonzero(np.bincount(map_.ravel(), minlength=len(owners))).tolist():
            for place in owners[region]:
                covered[place].append(region)
        return cls(map_, tuple(segments), tuple(map(tuple, covered)))

    def mask(self, index: int) -> NDArray[np.bool_]:
        """The whole mask (H, W) of a segment."""
        regions = self.regions[index]
        inside: NDArray[np.bool_] = self.map == regions[0] if len(regions) == 1 else np.isin(self.map, regions)
        return inside


class Sample(Protocol):
    """One labelled image; reading is lazy, so a split of any length costs nothing to hold."""

    @property
    def id(self) -> str:
        """Name of the image, unique in its data set: the path below the image root, no suffix."""

    @property
    def label_space(self) -> LabelSpace:
        """The classes that the labels refer to."""

    def image(self) -> NDArray[np.uint8]:
        """The photo, (H, W, 3) uint8 RGB."""

    def semantic(self) -> NDArray[np.uint8]:
        """Class ids, (H, W) uint8, 255 = ignored; the size of the image."""

    def panoptic(self) -> PanopticLabels:
        """Panoptic labels: every pixel has one owner.

        Raises:
            PromptsegError: the data set has no instance labels.
        """

    def objects(self) -> ObjectLabels:
        """Labels of instances: every object has its whole mask.

        Raises:
            PromptsegError: the data set has no instance labels.
        """


class Split(Sequence[Sample]):
    """The samples of one split, with what a record of an experiment must name."""

    def __init__(self, samples: Sequence[Sample], dataset: str, name: str) -> None:
        self._samples = samples
        self.dataset = dataset
        self.name = name

    def __len__(self) -> int:
        return len(self._samples)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> "Split": ...
    def __getitem__(self, index: int | slice) -> "Sample | Split":
        if isinstance(index, slice):
            return Split(self._samples[index], self.dataset, self.name)
        return self._samples[index]

    def __iter__(self) -> Iterator[Sample]:
        return iter(self._samples)


@dataclass(frozen=True)
class Dataset:
    """A data set as its spec names it; a split that the data set lacks is empty."""

    spec: str
    label_space: LabelSpace
    train: Split
    val: Split
    test: Split
    warnings: tuple[Defect, ...] = ()
    """Files that no sample uses though they look as if they should be."""
