"""A photo that leaves with its labels: its class ids, its objects, and the file that goes along."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from promptseg.data.defects import DefectError
from promptseg.data.sample import ObjectLabels, PanopticLabels, Sample
from promptseg.errors import PromptsegError
from promptseg.export.parts import Part, part_of, parts
from promptseg.files import atomic_path
from promptseg.label_space import IGNORE
from promptseg.reports.pictures import write_picture


@dataclass(frozen=True, eq=False)
class Labelled:
    """A photo to write.

    Attributes:
        sample: its sample.
        labels: its class ids (H, W) uint8, 255 = not labelled.
        segments: the same with instances; None where it has no instance labels.
        whole: its objects with their whole masks; None as well.
    """

    sample: Sample
    labels: NDArray[np.uint8]
    segments: PanopticLabels | None = None
    whole: ObjectLabels | None = None

    @classmethod
    def of(cls, sample: Sample) -> "Labelled":
        """Read the labels of a sample.

        Raises:
            PromptsegError: they cannot be read.
        """
        labels = sample.semantic()
        try:
            return cls(sample, labels, sample.panoptic(), sample.objects())
        except DefectError:  # instance labels that cannot be read are more than none
            raise
        except PromptsegError:
            return cls(sample, labels)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, pixels."""
        return self.labels.shape[0], self.labels.shape[1]

    def objects(self) -> Iterator[Part]:
        """Its objects: where it has instance labels, whole things, and the connected parts of all else."""
        if self.whole is None:
            yield from parts(self.labels)
            return
        things = set(self.sample.label_space.thing_ids)
        for index, segment in enumerate(self.whole.segments):
            if segment.class_id in things:
                found = part_of(segment.class_id, self.whole.mask(index), segment.is_crowd)
                yield from () if found is None else (found,)
        yield from parts(np.where(np.isin(self.labels, list(things)), np.uint8(IGNORE), self.labels))


def copy_photo(sample: Sample, folder: Path) -> Path:
    """Bring a photo along, the way up that its labels are; gives its path below the folder.

    Its own file is copied, unless it is stored turned, or is no file: then it becomes a PNG.
    """
    source = getattr(sample, "image_path", None)
    if source is not None and _is_upright(source):
        target = Path(f"{sample.id}{source.suffix}")
        with atomic_path(folder / target) as temporary:
            shutil.copyfile(source, temporary)
        return target
    target = Path(f"{sample.id}.png")
    write_picture(folder / target, sample.image())
    return target


def _is_upright(path: Path) -> bool:
    with Image.open(path) as picture:
        return int(picture.getexif().get(0x0112, 1)) == 1
