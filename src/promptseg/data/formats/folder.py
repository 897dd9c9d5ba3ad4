"""One's own photos: `images/`, `labels/` and `classes.json` in a folder, with optional lists in `splits/`."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from promptseg.data.defects import Defect, DefectError
from promptseg.data.file_sample import FileSample
from promptseg.data.formats.classes_json import read_classes
from promptseg.data.formats.files import find_root, walk_files
from promptseg.data.formats.splits import split_ids
from promptseg.data.images import IMAGE_SUFFIXES, read_labels
from promptseg.data.registry import DataFormat
from promptseg.data.sample import Dataset, Split
from promptseg.errors import PromptsegError
from promptseg.spec import Spec

LABEL_SUFFIXES = (".png",)


@dataclass(frozen=True)
class FolderFiles:
    """Photos and label maps by id (path below `images/` or `labels/`, "/" between, no suffix), in id order."""

    images: dict[str, Path]
    labels: dict[str, Path]
    defects: tuple[Defect, ...]
    """Two files of one id."""
    warnings: tuple[Defect, ...]
    """Labels without a photo, and files of other formats."""


def photo_root(root: Path) -> Path:
    """Where the photos of a folder lie: in its `images` and below; without that, in the folder itself."""
    return root / "images" if (root / "images").is_dir() else root


def list_files(root: Path) -> FolderFiles:
    """Find the photos and label maps of a folder; no file is opened."""
    photos = photo_root(root)
    # Beside photos without a folder of their own lies much else, so nothing there is called a stray.
    found = walk_files(photos) if photos != root else (p for p in sorted(root.iterdir()) if _is_photo(p))
    images, image_twins, image_strays = _by_id(photos, found, IMAGE_SUFFIXES)
    labels, label_twins, label_strays = _by_id(root / "labels", walk_files(root / "labels"), LABEL_SUFFIXES)
    orphans = [
        Defect(str(path), f"no photo {photos / i}.* belongs to it", "add the photo, or rename it", "warning")
        for i, path in labels.items()
        if i not in images
    ]
    return FolderFiles(images, labels, (*image_twins, *label_twins), (*orphans, *image_strays, *label_strays))


class FolderError(DefectError):
    """A folder that cannot be used as it is; `dataset` is what could, and `defects` are all that stop it."""

    def __init__(self, defects: tuple[Defect, ...], dataset: Dataset) -> None:
        more = f" (and {len(defects) - 1} more, which `promptseg data check` lists)" if len(defects) > 1 else ""
        super().__init__(defects[0].file, defects[0].reason, defects[0].mend + more)
        self.defects = defects
        self.dataset = dataset


def load_folder(spec: Spec) -> Dataset:
    """Open a folder of photos; see docs/your-own-photos.md for its layout.

    Args:
        spec: its `where` is the folder, with `images/` (or the photos themselves), `labels/` and `classes.json`.
            options `train`, `val`, `test`: names of lists in `splits/`; with any of them, a split without one is empty.
            Without options a split is its list `splits/SPLIT.txt`, else its folder `images/SPLIT/`; a train split
            with neither takes every photo that val and test leave.

    Raises:
        PromptsegError: a part is missing, an unknown option or list, a listed photo that is not there, or two photos
            of one name.
    """
    root = find_root(spec.where, ())
    files = list_files(root)
    there = {
        "images": bool(files.images) or (root / "images").is_dir(),
        "labels": (root / "labels").is_dir(),
        "classes.json": (root / "classes.json").is_file(),
    }
    for part, exists in there.items():
        if not exists:
            raise PromptsegError(f"{root}: has no {part}; lay the folder out as docs/your-own-photos.md says")
    label_space = read_classes(root / "classes.json")
    if not files.images:
        raise DefectError(root / "images", "no photos there", f"put in files ending in {', '.join(IMAGE_SUFFIXES)}")
    ids, defects = split_ids(root, spec.options, files.images)

    def split(name: str) -> Split:
        samples = [
            FileSample(i, label_space, files.images[i], files.labels.get(i, root / "labels" / f"{i}.png"), read_labels)
            for i in ids.get(name, [])
        ]
        return Split(samples, label_space.name, spec.options.get(name, name))

    text = f"folder:{spec.where}" + (f"?{urlencode(spec.options)}" if spec.options else "")
    dataset = Dataset(text, label_space, split("train"), split("val"), split("test"), files.warnings)
    if files.defects or defects:
        raise FolderError((*files.defects, *defects), dataset)
    return dataset


def _is_photo(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()


def _by_id(
    folder: Path, files: Iterable[Path], suffixes: tuple[str, ...]
) -> tuple[dict[str, Path], list[Defect], list[Defect]]:
    """Files below `folder` by id, the second files of an id, and files with other suffixes."""
    found: dict[str, Path] = {}
    twins, strays = [], []
    for path in files:
        if path.suffix.lower() not in suffixes:
            reason = f"ignored, as only {', '.join(suffixes)} are read here"
            strays.append(Defect(str(path), reason, "convert it, or move it away", "warning"))
            continue
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in found:
            twins.append(Defect(str(path), f"has the same name as {found[name].name}", "rename or remove one of them"))
        else:
            found[name] = path
    return dict(sorted(found.items())), twins, strays


FORMAT = DataFormat(
    load_folder,
    "your own photos with label maps; ?train=LIST&val=LIST&test=LIST name lists of splits/",
    "images/, labels/ (PNG of class ids), classes.json, splits/LIST.txt (optional)",
    "yours",
    own=True,
)
