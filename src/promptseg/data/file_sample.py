"""A sample that is files: a photo, and labels that a format knows how to read."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from promptseg.data.defects import Defect, DefectError
from promptseg.data.photo_pixels import photo_pixels, photo_size
from promptseg.data.sample import ObjectLabels, PanopticLabels
from promptseg.errors import PromptsegError
from promptseg.label_space import IGNORE, LabelSpace


@dataclass(frozen=True)
class FileSample:
    """One photo with its labels; every file is read when asked for, and never kept."""

    id: str
    label_space: LabelSpace
    image_path: Path
    label_path: Path
    """The file that reports name; `read_semantic` is called with it."""
    read_semantic: Callable[[Path], NDArray[np.uint8]] | None
    """Gives class ids (H, W), 255 ignored; None where they are those of the panoptic labels."""
    read_panoptic: Callable[[], PanopticLabels] | None = None
    """None where the data set has no instance labels, or they were not downloaded."""
    read_objects: Callable[[], ObjectLabels] | None = None
    """None where the objects are those of the panoptic labels."""
    oddities: Callable[[], Iterable[Defect]] | None = None
    """What is probably not meant in the labels, for the check."""

    def image(self) -> NDArray[np.uint8]:
        """The photo, (H, W, 3) uint8 RGB."""
        return photo_pixels(self.image_path)

    def semantic(self) -> NDArray[np.uint8]:
        """Class ids, (H, W) uint8, 255 = ignored.

        Raises:
            PromptsegError: unreadable, not the photo's size, or an id that is no class.
        """
        labels = self.class_ids()
        for defect in self.label_defects(labels, photo_size(self.image_path)):
            raise DefectError(defect.file, defect.reason, defect.mend)
        return labels

    def class_ids(self) -> NDArray[np.uint8]:
        """What the files hold, of whatever size and ids; see `label_defects`."""
        return self._segments().semantic() if self.read_semantic is None else self.read_semantic(self.label_path)

    def panoptic(self) -> PanopticLabels:
        """Segments with their classes; void is 0.

        Raises:
            PromptsegError: no instance labels, unreadable, or not the photo's size.
        """
        labels = self._segments()
        self._check_size(labels.map.shape)
        return labels

    def objects(self) -> ObjectLabels:
        """Objects with their whole masks.

        Raises:
            PromptsegError: no instance labels, unreadable, or not the photo's size.
        """
        if self.read_objects is None:
            return ObjectLabels.of(self.panoptic())
        labels = self.read_objects()
        self._check_size(labels.map.shape)
        return labels

    def _segments(self) -> PanopticLabels:
        if self.read_panoptic is None:
            mend = "use the task 'semantic', or add the files that `promptseg data list` names"
            raise PromptsegError(f"{self.id}: has no instance labels; {mend}")
        return self.read_panoptic()

    def label_defects(self, labels: NDArray[np.uint8], size: tuple[int, int]) -> Iterator[Defect]:
        """What is wrong with the `labels` of a photo of `size` (H, W): ids that are no class, another size."""
        count = len(self.label_space)
        strange = labels[(labels >= count) & (labels != IGNORE)]
        if strange.size:
            reason = f"{strange.size} pixels of the ids {listed(np.unique(strange).tolist())}"
            known = f"where 0..{count - 1} or {IGNORE} was expected"
            mend = f"add the classes to classes.json, or paint {IGNORE} there"
            yield Defect(str(self.label_path), f"{reason}, {known}", mend)
        yield from self._size_defects(labels.shape, size)

    def _check_size(self, shape: tuple[int, ...]) -> None:
        for defect in self._size_defects(shape, photo_size(self.image_path)):
            raise DefectError(defect.file, f"panoptic labels of {defect.reason}", defect.mend)

    def _size_defects(self, shape: tuple[int, ...], size: tuple[int, int]) -> Iterator[Defect]:
        if shape != size:
            reason = f"{_by(shape)}, but the photo {self.image_path.name} is {_by(size)}"
            turned = shape == size[::-1]
            mend = "the photo may be stored turned (EXIF): label it upright" if turned else "give both the same size"
            yield Defect(str(self.label_path), reason, mend)


def listed(ids: list[int]) -> str:
    """The first eight ids, for a message."""
    return ", ".join(str(i) for i in ids[:8]) + (", ..." if len(ids) > 8 else "")


def _by(size: tuple[int, ...]) -> str:
    return f"{size[1]}x{size[0]} pixels"
