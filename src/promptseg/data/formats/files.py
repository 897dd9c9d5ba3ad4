"""Finding the files of a data set, and the mistakes that are told when it is opened."""

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlencode

from promptseg.data.defects import Defect, DefectError
from promptseg.data.file_sample import FileSample
from promptseg.data.sample import Dataset, Split
from promptseg.errors import PromptsegError, unknown_name
from promptseg.label_space import LabelSpace

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


def check_options(name: str, options: Mapping[str, str], known: Collection[str]) -> None:
    """Refuse options that the format does not know.

    Raises:
        PromptsegError: with the known ones.
    """
    for option in options:
        if not known:
            raise PromptsegError(f"unknown option {option!r}: {name} has no options; write {name}:FOLDER")
        if option not in known:
            raise unknown_name(f"option of {name}", option, known)


def choice(name: str, options: Mapping[str, str], option: str, choices: Collection[str], default: str) -> str:
    """The value of an option that must be one of `choices`.

    Raises:
        PromptsegError: another value.
    """
    value = options.get(option, default)
    if value not in choices:
        raise unknown_name(f"{option} of {name}", value, choices)
    return value


def walk_files(folder: Path) -> Iterator[Path]:
    """All files below `folder` in sorted order, without hidden ones and those that file browsers leave."""
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and name.lower() not in _SYSTEM_FILES:
                yield Path(place) / name


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
    where: str,
    options: Mapping[str, str],
    label_space: LabelSpace,
    splits: Mapping[str, list[FileSample]],
    warnings: tuple[Defect, ...] = (),
) -> Dataset:
    """Put samples together; a split that is not given is empty. Records name the data without their place."""
    query = f"?{urlencode(options)}" if options else ""
    train, val, test = (Split(splits.get(s, []), f"{name}{query}", s) for s in ("train", "val", "test"))
    return Dataset(f"{name}:{where}{query}", label_space, train, val, test, warnings)
