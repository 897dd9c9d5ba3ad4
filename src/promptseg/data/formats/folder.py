"""One's own photos: `images/`, `labels/` and `classes.json` in a folder, with optional lists in `splits/`."""

from pathlib import Path
from urllib.parse import urlencode

from promptseg.data.defects import Defect, DefectError
from promptseg.data.file_sample import FileSample
from promptseg.data.formats.classes_json import read_classes
from promptseg.data.formats.data_format import DataFormat
from promptseg.data.formats.folder_files import list_files, split_ids
from promptseg.data.images import IMAGE_SUFFIXES, read_labels
from promptseg.data.sample import Dataset, Split
from promptseg.errors import PromptsegError


class FolderError(DefectError):
    """A folder that cannot be used as it is; `dataset` is what could, and `defects` are all that stop it."""

    def __init__(self, defects: tuple[Defect, ...], dataset: Dataset) -> None:
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
            FileSample(i, label_space, files.images[i], files.labels.get(i, root / "labels" / f"{i}.png"), read_labels)
            for i in ids.get(name, [])
        ]
        return Split(samples, label_space.name, options.get(name, name))

    spec = f"folder:{where}" + (f"?{urlencode(options)}" if options else "")
    dataset = Dataset(spec, label_space, split("train"), split("val"), split("test"), files.warnings)
    if files.defects or defects:
        raise FolderError((*files.defects, *defects), dataset)
    return dataset


FORMAT = DataFormat(
    load_folder,
    "your own photos with label maps; ?train=LIST&val=LIST&test=LIST name lists of splits/",
    "images/, labels/ (PNG of class ids), classes.json, splits/LIST.txt (optional)",
    "yours",
)
