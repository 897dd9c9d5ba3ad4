"""Which photos each split of people's own data names: lists in `splits/`, options, or folders."""

from collections.abc import Collection, Mapping
from pathlib import Path

from promptseg.data.defects import Defect, DefectError
from promptseg.errors import PromptsegError, unknown_name

SPLITS = ("train", "val", "test")


def split_ids(
    root: Path, options: Mapping[str, str], photos: Collection[str]
) -> tuple[dict[str, list[str]], list[Defect]]:
    """The ids of each split that has any, and what is wrong with the lists; a photo that is not there is left out.

    Raises:
        PromptsegError: an option that is no split, or a list that is not there.
    """
    for option in options:
        if option not in SPLITS:
            raise unknown_name("data option", option, SPLITS)
    defects: list[Defect] = []
    if options:
        return {s: _listed(_list_path(root, name), photos, defects) for s, name in options.items()}, defects
    ids = {}
    for split in SPLITS:
        path = root / "splits" / f"{split}.txt"
        if path.is_file():
            ids[split] = _listed(path, photos, defects)
        elif (root / "images" / split).is_dir():
            ids[split] = [i for i in photos if i.startswith(f"{split}/")]
    if "train" not in ids:
        elsewhere = {i for listed in ids.values() for i in listed}
        ids["train"] = [i for i in photos if i not in elsewhere]
    return ids, defects


def _list_path(root: Path, name: str) -> Path:
    there = sorted(p.stem for p in (root / "splits").glob("*.txt"))
    if not there:
        raise PromptsegError(f"{root / 'splits'}: no lists there, but {name!r} was asked; write {name or 'NAME'}.txt")
    if name not in there:
        raise unknown_name("split list", name, there)
    return root / "splits" / f"{name}.txt"


def _listed(path: Path, photos: Collection[str], defects: list[Defect]) -> list[str]:
    """The ids of a list that have a photo; blank lines do not count."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DefectError(path, f"cannot be read ({error})", "write one id per line as UTF-8 text") from None
    ids: dict[str, None] = {}
    for number, line in enumerate(lines, 1):
        name = line.strip()
        if name in photos and name not in ids:
            ids[name] = None
        elif name in ids:
            defects.append(Defect(str(path), f"line {number} lists {name!r} a second time", "remove one of the lines"))
        elif name:
            mend = 'write the path below images/ with "/" and without suffix, or remove the line'
            defects.append(Defect(str(path), f"line {number} lists {name!r}, which has no photo", mend))
    if not any(line.strip() for line in lines):
        defects.append(Defect(str(path), "lists no photo", "write one id per line, or remove the list"))
    return list(ids)
