"""One's own photos: a folder of photos, label maps or masks, the names of the classes, and lists in `splits/`."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from promptseg.data.defects import Defect, DefectError
from promptseg.data.file_sample import FileSample, listed
from promptseg.data.formats.class_tables import CLASSES, TABLES, ClassTable, read_table
from promptseg.data.formats.files import DatasetError, find_root
from promptseg.data.formats.folder_files import FolderFiles, list_files, list_photos
from promptseg.data.formats.own_maps import OVERLAPS, MapReader, MaskReader
from promptseg.data.formats.photos import unlabelled
from promptseg.data.formats.splits import SPLIT_OPTIONS, open_own
from promptseg.data.images import IMAGE_SUFFIXES, has_colors, read_indices
from promptseg.data.label_space import background_of
from promptseg.data.registry import DataFormat
from promptseg.data.sample import Dataset
from promptseg.errors import PromptsegError
from promptseg.label_space import IGNORE, LabelSpace
from promptseg.spec import Spec

_TOOLS = {"JPEGImages": "voc", "annotations.xml": "cvat", "data.yaml": "yolo", "annotations.json": "coco"}
"""What tells the forms of tools."""
_BACKGROUND_SHARE = 0.05
"""Of the pixels that must be 255 beside a single other id, for masks of black and white to be suspected."""


def load_folder(spec: Spec) -> Dataset:
    """Open a folder of photos; see docs/your-own-photos.md for its layouts.

    Args:
        spec: names the folder, with photos, their label maps or masks, and `classes.json` or another table of classes.
            Options: `values`, the value in the label maps of each class, with commas between (`0,255`), and `ignore`,
            a value that no class has, like 255; `overlap`, one of `OVERLAPS`, of masks; `background`, the class of
            pixels without a class; and those of the splits, see `split_ids`.

    Raises:
        PromptsegError: a part is missing, an unknown option or list, a listed photo that is not there, two photos of
            one name, labels that may mean several things, or no labels.
    """
    spec.check_options(("values", "ignore", "overlap", "background", *SPLIT_OPTIONS))
    overlap = spec.choice("overlap", OVERLAPS, OVERLAPS[0])
    root = find_root(spec.where, ())
    table = read_table(root)
    if table is None:
        _check_parts(root)
        raise PromptsegError(f"{root}: has no {CLASSES}; {_mend(root)}, or add one of {', '.join(TABLES)}")
    table = _with_values(spec, table)
    files = list_files(root, table.label_space.names)
    if not files.labels:
        _check_parts(root)
    if not files.images:
        raise DefectError(root / "images", "no photos there", f"put in files ending in {', '.join(IMAGE_SUFFIXES)}")
    table, background, said = _with_background(root, spec, table, files)
    samples = {id_: _sample(files, id_, table, background, overlap) for id_ in files.images if id_ in files.labels}
    if not samples:
        if told := [*files.defects, *files.strays]:
            raise DefectError(told[0].file, told[0].reason, told[0].mend)
        reason = f"none of {len(files.images)} photos has labels"
        raise DefectError(root / "labels", reason, f"name them as the photos: {next(iter(files.images))}.png")
    left = [i for i in files.images if i not in files.labels]
    warnings = [*table.said, *said, *files.orphans, *files.strays, *unlabelled(root, left, len(files.images))]
    dataset = open_own("folder", root, spec, samples, table.label_space, warnings, aside=left)
    if files.defects:
        raise DatasetError(files.defects, dataset)
    return dataset


def _check_parts(root: Path) -> None:
    """Name what a folder lacks of the plainest layout."""
    there = {
        "images": bool(list_photos(root).images) or (root / "images").is_dir(),
        "labels": (root / "labels").is_dir(),
    }
    for part, exists in there.items():
        if not exists:
            raise PromptsegError(f"{root}: has no {part}; {_mend(root)}")


def _mend(root: Path) -> str:
    """What to do about a folder that is laid out otherwise: perhaps it is in the form of a tool."""
    form = next((form for mark, form in _TOOLS.items() if (root / mark).exists()), None)
    return "lay the folder out as `promptseg data list` says" if form is None else f"did you mean {form}:{root}?"


def _with_background(
    root: Path, spec: Spec, table: ClassTable, files: FolderFiles
) -> tuple[ClassTable, int | None, list[Defect]]:
    """The table with the class of pixels without one, that class, and a word about it where nobody asked for it.

    A single class of masks gets one: what its mask leaves out is known not to be of it.
    """
    only_masks = not any(labels.maps for labels in files.labels.values())
    space, background, said = background_of(root, spec, table.label_space, alone=only_masks and bool(files.labels))
    return replace(table, label_space=space), background, said


def _sample(files: FolderFiles, id_: str, table: ClassTable, background: int | None, overlap: str) -> FileSample:
    labels, space = files.labels[id_], table.label_space
    path = labels.files()[0]
    if not labels.maps:
        masks = {number: paths[0] for number, paths in labels.masks.items()}
        read = MaskReader(masks, space.names, overlap, background)
        return FileSample(id_, space, files.images[id_], path, read)
    odd = partial(_oddities, space, path)
    return FileSample(id_, space, files.images[id_], path, MapReader(table, background), oddities=odd)


def _with_values(spec: Spec, table: ClassTable) -> ClassTable:
    """The table with the values of the options, if they give any: for each class one, and those of no class.

    Raises:
        PromptsegError: not one value for each class, or a value that stands twice.
    """
    if "values" not in spec.options and "ignore" not in spec.options:
        return table
    count = len(table.label_space)
    texts = [part.strip() for part in spec.options.get("values", "").split(",") if part.strip()]
    others = [part.strip() for part in spec.options.get("ignore", "").split(",") if part.strip()]
    texts = texts or [str(i) for i in range(count)]
    if not all(text.isascii() and text.isdigit() and len(text) < 6 for text in (*texts, *others)):
        raise PromptsegError(f"{spec.text}: values and ignore are numbers with commas between, as values=0,255")
    if len(texts) != count or len({*texts, *others}) != len(texts) + len(others):
        reason = f"{len(texts)} values for {count} classes"
        raise PromptsegError(f"{spec.text}: {reason}; give each class one of its own, in the order of classes.json")
    values = {int(text): IGNORE for text in others} | {int(text): i for i, text in enumerate(texts)}
    return replace(table, values=values)


def _oddities(label_space: LabelSpace, path: Path) -> Iterator[Defect]:
    """A palette whose colours are greys that could be ids as well: some programs keep the ids there."""
    greys = _palette_greys(path)
    could_be_ids = all(grey < len(label_space) or grey == IGNORE for grey in greys.values())
    if could_be_ids and any(index != grey for index, grey in greys.items()):
        reason = f"its palette shows the indices {listed(list(greys))} as the greys {listed(list(greys.values()))}"
        mend = "ids are read from the indices; if the greys are the ids, save it as an 8-bit grey PNG"
        yield Defect(str(path), reason, mend, "warning")


def _palette_greys(path: Path) -> Mapping[int, int]:
    """Of a palette picture whose colours in use are all grey, the grey of each index in use; nothing of any other."""
    if has_colors(path):
        return {}
    values, colors = read_indices(path)
    used = np.unique(values)
    if colors is None or len(used) < 2 or used[-1] >= len(colors) or (colors[used] != colors[used, :1]).any():
        return {}
    return dict(zip(used.tolist(), colors[used, 0].tolist(), strict=True))


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
    "your own photos with label maps or masks; ?train=LIST&val=LIST&test=LIST name lists of splits/, ?val=20% holds "
    "out; ?values=0,255 of the classes, ?ignore=VALUE, ?overlap=later, ?background=NAME; semantic labels",
    "images/, labels/ (PNG of class ids or colours, or PHOTO_CLASS.png), classes.json, splits/LIST.txt (optional)",
    "yours",
    own=True,
    suspect=_suspect,
)
