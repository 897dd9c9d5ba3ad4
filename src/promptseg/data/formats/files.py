"""Finding the files of a data set, and putting samples together."""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

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
    raise PromptsegError(f"{root}: has no {missing}; lay the data out as `promptseg data list` says")


def walk_files(folder: Path, skipped: Collection[str] = ()) -> Iterator[Path]:
    """All files below `folder` in sorted order, without hidden ones and those that file browsers leave.

    Links to folders are followed, but not into a folder that they lie in: such a loop would never end.

    Args:
        folder: where to look.
        skipped: names of folders directly below it that are left out.

    Raises:
        PromptsegError: a folder that cannot be listed.
    """
    yield from _walk(folder, skipped, frozenset())


def _walk(folder: Path, skipped: Collection[str], around: frozenset[str]) -> Iterator[Path]:
    here = os.path.realpath(folder)
    if here in around or not folder.is_dir():
        return
    try:
        with os.scandir(folder) as entries:
            found = sorted((entry.name, entry.is_dir()) for entry in entries if not entry.name.startswith("."))
    except OSError as error:
        raise DefectError(folder, f"cannot be listed ({error.strerror})", "make it readable") from None
    for name, is_folder in found:
        if is_folder and name not in skipped:
            yield from _walk(folder / name, (), around | {here})
        elif not is_folder and name.lower() not in _SYSTEM_FILES:
            yield folder / name


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


class DatasetError(DefectError):
    """Data that cannot be used as they are; `dataset` is what could be, and `defects` are all that stop it."""

    def __init__(self, defects: Sequence[Defect], dataset: Dataset) -> None:
        more = f" (and {len(defects) - 1} more, which `promptseg data check` lists)" if len(defects) > 1 else ""
        super().__init__(defects[0].file, defects[0].reason, defects[0].mend + more)
        self.defects = tuple(defects)
        self.dataset = dataset


def make_dataset(
    name: str,
    spec: Spec,
    label_space: LabelSpace,
    splits: Mapping[str, list[FileSample]],
    warnings: tuple[Defect, ...] = (),
) -> Dataset:
    """Put samples together; a split that is not given is empty. Records name the data without their place."""
    query = spec.query
    train, val, test = (Split(splits.get(s, []), f"{name}{query}", s) for s in ("train", "val", "test"))
    return Dataset(f"{name}:{spec.where}{query}", label_space, train, val, test, warnings)
