"""One's own photos: `images/`, `labels/` and `classes.json` in a folder, with optional lists in `splits/`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
from numpy.typing import NDArray

from promptseg.data.defects import Defect, DefectError
from promptseg.data.formats.classes_json import read_classes
from promptseg.data.formats.folder_files import list_files, split_ids
from promptseg.data.images import IMAGE_SUFFIXES, image_size, read_image, read_labels
from promptseg.data.label_space import IGNORE, LabelSpace
from promptseg.data.sample import Dataset, PanopticLabels, Split
from promptseg.errors import PromptsegError


@dataclass(frozen=True)
class FolderSample:
    """One photo with its label map; both files are read when asked for."""

    id: str
    label_space: LabelSpace
    image_path: Path
    label_path: Path

    def image(self) -> NDArray[np.uint8]:
        """The photo, (H, W, 3) uint8 RGB."""
        return read_image(self.image_path)

    def semantic(self) -> NDArray[np.uint8]:
        """Class ids, (H, W) uint8, 255 = ignored.

        Raises:
            PromptsegError: unreadable, not the photo's size, or an id that is no class.
        """
        labels = read_labels(self.label_path)
        for defect in self.label_defects(labels, image_size(self.image_path)):
            raise DefectError(defect.file, defect.reason, defect.mend)
        return labels

    def label_defects(self, labels: NDArray[np.uint8], size: tuple[int, int]) -> Iterator[Defect]:
        """What is wrong with the `labels` of a photo of `size` (H, W): ids that are no class, another size."""
        count = len(self.label_space)
        pixels = np.bincount(labels.ravel(), minlength=256)
        strange = [i for i in range(count, IGNORE) if pixels[i]]
        if strange:
            listed = ", ".join(str(i) for i in strange[:8]) + (", ..." if len(strange) > 8 else "")
            known = f"0..{count - 1} or {IGNORE}"
            reason = f"{pixels[strange].sum()} pixels of the ids {listed}, where {known} was expected"
            yield Defect(str(self.label_path), reason, f"add the classes to classes.json, or paint {IGNORE} there")
        if labels.shape != size:
            reason = f"{_by(labels.shape)}, but the photo {self.image_path.name} is {_by(size)}"
            turned = labels.shape == size[::-1]
            mend = "the photo may be stored turned (EXIF): label it upright" if turned else "give both the same size"
            yield Defect(str(self.label_path), reason, mend)

    def panoptic(self) -> PanopticLabels:
        """Folder data have no instance labels.

        Raises:
            PromptsegError: always.
        """
        raise PromptsegError(f"{self.id}: a folder has no instance labels; use the task 'semantic', or streets: data")


@dataclass(frozen=True)
class FolderDataset(Dataset):
    """A folder; `warnings` are files that no sample uses though they look as if they should be."""

    warnings: tuple[Defect, ...]


class FolderError(DefectError):
    """A folder that cannot be used as it is; `dataset` is what could, and `defects` are all that stop it."""

    def __init__(self, defects: tuple[Defect, ...], dataset: FolderDataset) -> None:
        more = f" (and {len(defects) - 1} more, which `promptseg data check` lists)" if len(defects) > 1 else ""
        super().__init__(defects[0].file, defects[0].reason, defects[0].mend + more)
        self.defects = defects
        self.dataset = dataset


def load_folder(where: str, options: dict[str, str]) -> Dataset:
    """Open a folder of photos; see docs/your-own-photos.md for its layout.

    Args:
        where: the folder, with `images/`, `labels/` and `classes.json`.
        options: `train`, `val`, `test`: names of lists in `splits/`; with any of them, a split without one is empty.
            Without options a split is its list `splits/SPLIT.txt`, else its folder `images/SPLIT/`; a train split
            with neither takes every photo that val and test leave.

    Raises:
        PromptsegError: a part is missing, an unknown option or list, a listed photo that is not there, or two photos
            of one name.
    """
    root = Path(where).expanduser()
    if not root.is_dir():
        raise PromptsegError(f"{where}: no such folder; give the one that holds images, labels and classes.json")
    for part, exists in (("images", Path.is_dir), ("labels", Path.is_dir), ("classes.json", Path.is_file)):
        if not exists(root / part):
            raise PromptsegError(f"{root}: has no {part}; lay the folder out as docs/your-own-photos.md says")
    label_space = read_classes(root / "classes.json")
    files = list_files(root)
    if not files.images:
        raise DefectError(root / "images", "no photos there", f"put in files ending in {', '.join(IMAGE_SUFFIXES)}")
    ids, defects = split_ids(root, options, files)

    def split(name: str) -> Split:
        samples = [
            FolderSample(i, label_space, files.images[i], files.labels.get(i, root / "labels" / f"{i}.png"))
            for i in ids.get(name, [])
        ]
        return Split(samples, label_space.name, options.get(name, name))

    spec = f"folder:{where}" + (f"?{urlencode(options)}" if options else "")
    dataset = FolderDataset(spec, label_space, split("train"), split("val"), split("test"), files.warnings)
    if files.defects or defects:
        raise FolderError((*files.defects, *defects), dataset)
    return dataset


def _by(size: tuple[int, ...]) -> str:
    return f"{size[1]}x{size[0]} pixels"
