"""Finding the files of a data set, and putting samples together."""

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlencode

from promptseg.data.defects import Defect, DefectError
from promptseg.data.file_sample import FileSample
from promptseg.data.sample import Dataset, Split
from promptseg.errors import PromptsegError
from promptseg.label_space import LabelSpace
from promptseg.spec import Spec

_SYSTEM_FILES = ("thumbs.db", "desktop.ini")


def find_root(where: str, parts: Collection[str], inside: Collection[str] = ()) -> Path:
    """The folder with all `parts` (paths): `where` itself, or one of the folders `inside` it.

    Raises:
        PromptsegError: no such folder, or a part is missing.
    """
    root = Path(where).expanduser()
    if not root.is_dir():
        raise PromptsegError(f"{where}: no such folder; give the one that holds {' and '.join(parts) or 'the data'}")
    for place in (root, *(root / name for name in inside)):
        if all((place / part).exists() for part in parts):
            return place
    missing = next(part for part in parts if not (root / part).exists())
    raise PromptsegError(f"{root}: has no {missing}; lay the data out as docs/data-sets.md says")


def walk_files(folder: Path) -> Iterator[Path]:
    """All files below `folder` in sorted order, without hidden ones and those that file browsers leave.

    Links to folders are followed, but not into a folder that they lie in: such a loop would never end.
    """
    yield from _walk(folder, frozenset())


def _walk(folder: Path, around: frozenset[str]) -> Iterator[Path]:
    here = os.path.realpath(folder)
    if here in around or not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        found = sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: e.name)
    for entry in found:
        if entry.is_dir():
            yield from _walk(folder / entry.name, around | {here})
        elif entry.name.lower() not in _SYSTEM_FILES:
            yield folder / entry.name


def files_ending(folder: Path, ending: str) -> dict[str, Path]:
    """Files below `folder` whose name ends so, by their path below it ("/" between) without the ending."""
    found = (path for path in walk_files(folder) if path.name.endswith(ending))
    return {path.relative_to(folder).as_posix().removesuffix(ending): path for path in found}


def photos_ending(folder: Path, ending: str) -> dict[str, Path]:
    """As `files_ending`, for a folder that must hold some.

    Raises:
        PromptsegError: there is none.
    """
    found = files_ending(folder, ending)
    if not found:
        raise DefectError(folder, f"no photos *{ending} below it", "unpack the images there")
    return found


def without_photo(labels: Mapping[str, Path], photos: Collection[str]) -> tuple[Defect, ...]:
    """A warning for each label file that no photo has the name of."""
    mend = "add the photo, or remove the labels"
    return tuple(
        Defect(str(path), "no photo belongs to it", mend, "warning") for i, path in labels.items() if i not in photos
    )


def make_dataset(
    name: str,
    spec: Spec,
    label_space: LabelSpace,
    splits: Mapping[str, list[FileSample]],
    warnings: tuple[Defect, ...] = (),
) -> Dataset:
    """Put samples together; a split that is not given is empty. Records name the data without their place."""
    query = f"?{urlencode(spec.options)}" if spec.options else ""
    train, val, test = (Split(splits.get(s, []), f"{name}{query}", s) for s in ("train", "val", "test"))
    return Dataset(f"{name}:{spec.where}{query}", label_space, train, val, test, warnings)
