"""Which files a folder of photos holds, and which of them each split names."""

from dataclasses import dataclass
from pathlib import Path

from promptseg.data.defects import Defect, DefectError
from promptseg.data.formats.files import walk_files
from promptseg.data.images import IMAGE_SUFFIXES
from promptseg.errors import PromptsegError, unknown_name

SPLITS = ("train", "val", "test")
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


def list_files(root: Path) -> FolderFiles:
    """Find the photos and label maps of a folder; no file is opened."""
    images, image_twins, image_strays = _by_id(root / "images", IMAGE_SUFFIXES)
    labels, label_twins, label_strays = _by_id(root / "labels", LABEL_SUFFIXES)
    orphans = [
        Defect(str(path), f"no photo {root / 'images' / i}.* belongs to it", "add the photo, or rename it", "warning")
        for i, path in labels.items()
        if i not in images
    ]
    return FolderFiles(images, labels, (*image_twins, *label_twins), (*orphans, *image_strays, *label_strays))


def split_ids(root: Path, options: dict[str, str], files: FolderFiles) -> tuple[dict[str, list[str]], list[Defect]]:
    """The ids of each split that has any, and what is wrong with the lists; a photo that is not there is left out.

    Raises:
        PromptsegError: an option that is no split, or a list that is not there.
    """
    for option in options:
        if option not in SPLITS:
            raise unknown_name("data option", option, SPLITS)
    defects: list[Defect] = []
    if options:
        return {s: _listed(_list_path(root, name), files, defects) for s, name in options.items()}, defects
    ids = {}
    for split in SPLITS:
        path = root / "splits" / f"{split}.txt"
        if path.is_file():
            ids[split] = _listed(path, files, defects)
        elif (root / "images" / split).is_dir():
            ids[split] = [i for i in files.images if i.startswith(f"{split}/")]
    if "train" not in ids:
        elsewhere = {i for listed in ids.values() for i in listed}
        ids["train"] = [i for i in files.images if i not in elsewhere]
    return ids, defects


def _by_id(folder: Path, suffixes: tuple[str, ...]) -> tuple[dict[str, Path], list[Defect], list[Defect]]:
    """Files by id, the second files of an id, and files with other suffixes."""
    found: dict[str, Path] = {}
    twins, strays = [], []
    for path in walk_files(folder):
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


def _list_path(root: Path, name: str) -> Path:
    there = sorted(p.stem for p in (root / "splits").glob("*.txt"))
    if not there:
        raise PromptsegError(f"{root / 'splits'}: no lists there, but {name!r} was asked; write {name or 'NAME'}.txt")
    if name not in there:
        raise unknown_name("split list", name, there)
    return root / "splits" / f"{name}.txt"


def _listed(path: Path, files: FolderFiles, defects: list[Defect]) -> list[str]:
    """The ids of a list that have a photo; blank lines do not count."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DefectError(path, f"cannot be read ({error})", "write one id per line as UTF-8 text") from None
    ids: dict[str, None] = {}
    for number, line in enumerate(lines, 1):
        name = line.strip()
        if name in files.images and name not in ids:
            ids[name] = None
        elif name in ids:
            defects.append(Defect(str(path), f"line {number} lists {name!r} a second time", "remove one of the lines"))
        elif name:
            mend = 'write the path below images/ with "/" and without suffix, or remove the line'
            defects.append(Defect(str(path), f"line {number} lists {name!r}, which has no photo", mend))
    if not any(line.strip() for line in lines):
        defects.append(Defect(str(path), "lists no photo", "write one id per line, or remove the list"))
    return list(ids)
