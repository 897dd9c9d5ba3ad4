"""Shots in which some classes are not labelled: what becomes of classes that were named but never shown."""

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from promptseg.data.few_shot import Shots
from promptseg.data.sample import ObjectLabels, PanopticLabels, Sample
from promptseg.errors import PromptsegError, unknown_name
from promptseg.label_space import IGNORE, LabelSpace


@dataclass(frozen=True)
class UnlabelledClasses:
    """A sample whose label map says nothing of some classes; their pixels count as unlabelled.

    Attributes:
        sample: with all labels.
        kept_out: ids of the classes.
    """

    sample: Sample
    kept_out: tuple[int, ...]

    @property
    def id(self) -> str:
        """That of the sample."""
        return self.sample.id

    @property
    def label_space(self) -> LabelSpace:
        """All classes: those that are kept out are named like the others."""
        return self.sample.label_space

    def image(self) -> NDArray[np.uint8]:
        """The photo as it is."""
        return self.sample.image()

    def semantic(self) -> NDArray[np.uint8]:
        """Class ids (H, W), 255 where nothing is labelled or a class is kept out."""
        labels = self.sample.semantic()
        return np.where(np.isin(labels, self.kept_out), np.uint8(IGNORE), labels)

    def panoptic(self) -> PanopticLabels:
        """There are none."""
        raise PromptsegError(
            f"{self.id}: classes are kept out of label maps only: leave keep_out out, or task=semantic"
        )

    def objects(self) -> ObjectLabels:
        """There are none."""
        return ObjectLabels.of(self.panoptic())


def keep_out(shots: Shots, names: Collection[str]) -> Shots:
    """The same draw without the labels of some classes, which its record names.

    Args:
        shots: drawn with all labels, so that the photos are the same whatever is kept out.
        names: of the classes.

    Raises:
        PromptsegError: an unknown name, or no class is left.
    """
    if not names:
        return shots
    ids = kept_out_ids(shots.label_space, names)
    return Shots([UnlabelledClasses(sample, ids) for sample in shots], replace(shots.draw, kept_out=tuple(names)))


def kept_out_ids(space: LabelSpace, names: Collection[str]) -> tuple[int, ...]:
    """Ids of the classes of these names.

    Raises:
        PromptsegError: an unknown name, or all classes.
    """
    for name in names:
        if name not in space.names:
            raise unknown_name("class", name, space.names)
    if len(set(names)) == len(space):
        raise PromptsegError(f"all {len(space)} classes are kept out: leave at least one to learn from")
    return tuple(sorted(space.names.index(name) for name in names))
