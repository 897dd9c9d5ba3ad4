"""One's own photos: `images/`, `labels/` and `classes.json` in a folder, with optional lists in `splits/`."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from promptseg.data.defects import Defect, DefectError
from promptseg.data.file_sample import FileSample, listed
from promptseg.data.formats.classes_json import read_classes
from promptseg.data.formats.files import DatasetError, find_root, walk_files
from promptseg.data.formats.photos import matched, unlabelled
from promptseg.data.formats.splits import SPLIT_OPTIONS, open_own
from promptseg.data.images import IMAGE_SUFFIXES, LABEL_SUFFIXES, palette_greys, read_values
from promptseg.data.label_space import background_of
from promptseg.data.registry import DataFormat
from promptseg.data.sample import Dataset
from promptseg.errors import PromptsegError
from promptseg.label_space import IGNORE, LabelSpace
from promptseg.spec import Spec

_ENDINGS = ("_mask", "-mask", "_masks", "_label", "_labels", "_seg", "_gt", "_labelIds", "_labelTrainIds")
"""What tools put behind a photo's name when they name its label map."""
_BACKGROUND_SHARE = 0.05
"""Of the pixels that must be 255 beside a single other id, for masks of black and white to be suspected."""


@dataclass(frozen=True)
class FolderFiles:
    """Photos and label maps by id (path below `images/` or `labels/`, "/" between, no suffix), in id order."""

    images: dict[str, Path]
    labels: dict[str, Path]
    defects: tuple[Defect, ...]
    """Two files of one id, and label maps that could belong to one photo."""
    warnings: tuple[Defect, ...]
    """Labels without a photo, and files of other formats."""


def photo_root(root: Path) -> Path:
    """Where the photos of a folder lie: in its `images` and below; without that, in the folder itself."""
    return root / "images" if (root / "images").is_dir() else root


def load_folder(spec: Spec) -> Dataset:
    """Open a folder of photos; see docs/your-own-photos.md for its layout.

    Args:
        spec: names the folder, with `images/` (or the photos themselves), `labels/` and `classes.json`. Options:
            `values`, the value in the label maps of each class, with commas between (`0,255`), and `ignore`, a value
            that no class has, like 255; `background`, the class of pixels without a class; and those of the splits,
            see `split_ids`.

    Raises:
        PromptsegError: a part is missing, an unknown option or list, a listed photo that is not there, two photos of
            one name, or no labels.
    """
    spec.check_options(("values", "ignore", "background", *SPLIT_OPTIONS))
    root = find_root(spec.where, ())
    files = list_files(root)
    there = {
        "images": bool(files.images) or (root / "images").is_dir(),
        "labels": (root / "labels").is_dir(),
        "classes.json": (root / "classes.json").is_file(),
    }
    for part, exists in there.items():
        if not exists:
            raise PromptsegError(f"{root}: has no {part}; lay the folder out as `promptseg data list` says")
    label_space = read_classes(root / "classes.json")
    table, background = _table(spec, label_space), None
    if "background" in spec.options:
        label_space, background, _ = background_of(root, spec, label_space)
    if not files.images:
        raise DefectError(root / "images", "no photos there", f"put in files ending in {', '.join(IMAGE_SUFFIXES)}")
    read = partial(_read_ids, table, background)
    samples = {}
    for i in (i for i in files.images if i in files.labels):
        path = files.labels[i]
        odd = partial(_oddities, label_space, path)
        samples[i] = FileSample(i, label_space, files.images[i], path, read, oddities=odd)
    if not samples:
        reason = f"none of {len(files.images)} photos has labels"
        raise DefectError(root / "labels", reason, f"name them as the photos: {next(iter(files.images))}.png")
    left = [i for i in files.images if i not in files.labels]
    warnings = [*files.warnings, *unlabelled(root, left, len(files.images))]
    dataset = open_own("folder", root, spec, samples, label_space, warnings, aside=left)
    if files.defects:
        raise DatasetError(files.defects, dataset)
    return dataset


def list_files(root: Path) -> FolderFiles:
    """Find the photos and label maps of a folder; no file is opened."""
    photos = photo_root(root)
    # Beside photos without a folder of their own lies much else, so nothing there is called a stray.
    files = walk_files(photos) if photos != root else (p for p in sorted(root.iterdir()) if _is_photo(p))
    images, image_twins, image_strays = _by_id(photos, files, IMAGE_SUFFIXES)
    labels, label_twins, label_strays = _by_id(root / "labels", walk_files(root / "labels"), LABEL_SUFFIXES)
    own, defects, taken = dict[str, Path](), [*image_twins, *label_twins], set[str]()
    meant = matched([f"{id_}{ending}" for id_ in images for ending in ("", *_ENDINGS)], labels)
    for id_ in images:
        alike = [f"{id_}{ending}" for ending in ("", *_ENDINGS) if not ending or f"{id_}{ending}" not in images]
        found = list(dict.fromkeys(meant[name] for name in alike if name in meant))
        if len(found) > 1:
            names = ", ".join(labels[i].name for i in found)
            defects.append(Defect(str(images[id_]), f"may have the labels {names}", "keep one of them"))
        if found:
            own[id_] = labels[found[0]]
        taken.update(found)
    orphans = [
        Defect(str(path), f"no photo {photos / i}.* belongs to it", "add the photo, or rename it", "warning")
        for i, path in labels.items()
        if i not in taken
    ]
    return FolderFiles(images, own, tuple(defects), (*orphans, *image_strays, *label_strays))


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
            blurred = path.suffix.lower() in IMAGE_SUFFIXES  # a photo's format for labels
            mend = "save it as PNG where it was drawn: this format blurs ids" if blurred else "convert or move it"
            strays.append(Defect(str(path), f"ignored, as only {', '.join(suffixes)} are read here", mend, "warning"))
            continue
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in found:
            twins.append(Defect(str(path), f"has the same name as {found[name].name}", "rename or remove one of them"))
        else:
            found[name] = path
    return dict(sorted(found.items())), twins, strays


def _table(spec: Spec, label_space: LabelSpace) -> dict[int, int] | None:
    """Class id by value of the label maps, 255 for those of no class; None where the values are the ids.

    Raises:
        PromptsegError: not one value for each class, or a value that stands twice.
    """
    if "values" not in spec.options and "ignore" not in spec.options:
        return None
    texts = [part.strip() for part in spec.options.get("values", "").split(",") if part.strip()]
    others = [part.strip() for part in spec.options.get("ignore", "").split(",") if part.strip()]
    texts = texts or [str(i) for i in range(len(label_space))]
    if not all(text.isascii() and text.isdigit() and len(text) < 6 for text in (*texts, *others)):
        raise PromptsegError(f"{spec.text}: values and ignore are numbers with commas between, as values=0,255")
    if len(texts) != len(label_space) or len({*texts, *others}) != len(texts) + len(others):
        reason = f"{len(texts)} values for {len(label_space)} classes"
        raise PromptsegError(f"{spec.text}: {reason}; give each class one of its own, in the order of classes.json")
    return {int(text): IGNORE for text in others} | {int(text): i for i, text in enumerate(texts)}


def _read_ids(table: Mapping[int, int] | None, background: int | None, path: Path) -> NDArray[np.uint8]:
    """Class ids (H, W) of a label map; what `values` does not list stays as it is, for the check to name."""
    values = read_values(path).astype(np.int32)
    ids = values.copy()
    for value, class_id in (table or {}).items():
        ids[values == value] = class_id
    if table is not None:
        unknown = np.unique(values[~np.isin(values, [*table, IGNORE])]).tolist()
        if unknown:
            reason = f"holds the values {listed(unknown)}, where {listed(sorted(table))} was expected"
            raise DefectError(path, reason, "add the value to ?values=..., or to ?ignore=...")
    elif ids.min() < 0 or ids.max() > IGNORE:
        strange = ids.min() if ids.min() < 0 else ids.max()
        mend = "save it as an 8-bit grey or palette PNG whose values are the class ids, or write ?values=..."
        raise DefectError(path, f"holds the id {strange}, where 0..{IGNORE} was expected", mend)
    if background is not None:
        ids[ids == IGNORE] = background
    return ids.astype(np.uint8)


def _oddities(label_space: LabelSpace, path: Path) -> Iterator[Defect]:
    """A palette whose colours are greys that could be ids as well: some programs keep the ids there."""
    greys = palette_greys(path)
    could_be_ids = all(grey < len(label_space) or grey == IGNORE for grey in greys.values())
    if could_be_ids and any(index != grey for index, grey in greys.items()):
        reason = f"its palette shows the indices {listed(list(greys))} as the greys {listed(list(greys.values()))}"
        mend = "ids are read from the indices; if the greys are the ids, save it as an 8-bit grey PNG"
        yield Defect(str(path), reason, mend, "warning")


def _suspect(spec: Spec, label_space: LabelSpace, pixels: NDArray[np.int64]) -> Defect | None:
    """Signs in the pixels (256,) of all label maps that their values mean other classes than they are read as."""
    if "values" in spec.options:
        return None
    count, seen = len(label_space), np.flatnonzero(pixels[:IGNORE]).tolist()
    void = pixels[IGNORE] / max(pixels.sum(), 1)
    if seen == [0] and void >= _BACKGROUND_SHARE:
        reason = f"label maps hold only 0 and 255, and 255 is ignored ({100 * void:.0f} % of the pixels)"
        names = "" if count == 2 else ', with two names in classes.json, as ["background", "crack"]'
        return Defect(spec.where, reason, f"if they are black and white masks, write ?values=0,255{names}")
    if seen and max(seen) == count:
        values = ",".join(str(i + 1) for i in range(count))
        reason = f"label maps hold the ids {min(seen)}..{count} where there are the classes 0..{count - 1}"
        mend = f"if ids begin at 1, write ?values={values}" + ("&ignore=0" if seen[0] == 0 else "")
        return Defect(spec.where, reason, mend)
    return None


FORMAT = DataFormat(
    load_folder,
    "your own photos with label maps; ?train=LIST&val=LIST&test=LIST name lists of splits/, ?val=20% holds out; "
    "?values=0,255 of the classes, ?ignore=VALUE, ?background=NAME; semantic labels",
    "images/, labels/ (PNG of class ids), classes.json, splits/LIST.txt (optional)",
    "yours",
    own=True,
    suspect=_suspect,
)
