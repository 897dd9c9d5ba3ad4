"""Photos by the names that labelling tools write for them: of Windows, of another folder, in other letters."""

import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from promptseg.data.defects import Defect, DefectError
from promptseg.data.formats.files import walk_files
from promptseg.data.images import IMAGE_SUFFIXES

_NO_PHOTOS = ("annotations", "labels", "masks", "splits")
"""Folders whose pictures are labels."""
_ROOTS = ((), ("images",), ("data",), ("images", "default"))
"""Folders that hold all photos and are no part of an id; the last is CVAT's."""


class Photos:
    """The photos below a folder, each of which one entry of an annotation file may claim."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        self._paths: list[Path] = []
        self._claims: dict[Path, str] = {}
        for path in walk_files(root, skipped=_NO_PHOTOS):
            if path.suffix.lower() in IMAGE_SUFFIXES:
                self._by_name[_key(path.name)].append(path)
                self._paths.append(path)

    def __len__(self) -> int:
        return len(self._paths)

    def find(
        self, name: str, folders: Sequence[Path], claimed_by: str, only: Path | None = None, near: Path | None = None
    ) -> Path:
        """The photo that a file calls `name`; where it should be, if it is nowhere.

        Looked for at that path in the `folders`; else as the one photo whose path ends most like it, whatever its
        letters' case, Unicode form and separators.

        Args:
            name: as the file has it.
            folders: where it belongs, best first.
            claimed_by: what errors call the entry.
            only: a folder outside of which it is not looked for.
            near: a folder whose photos of that name go before all others.

        Raises:
            PromptsegError: several photos fit equally well, or another entry has claimed it.
        """
        parts = _parts(name)
        if not parts:
            raise DefectError(claimed_by, f"names the photo {name!r}", "write the name of a file")
        try:
            exact = next((path for f in folders if (path := f.joinpath(*parts)).is_file()), None)
        except OSError as error:  # a name that no file can have
            reason = f"names the photo {name[:40]!r}... ({error.strerror})"
            raise DefectError(claimed_by, reason, "write the name of a file") from None
        found = exact or self._alike(parts, claimed_by, only, near)
        if found is None:
            return folders[0].joinpath(*parts)
        other = self._claims.setdefault(found, claimed_by)
        if other != claimed_by:
            raise DefectError(claimed_by, f"is about {found}, and so is {other}", "keep one of them")
        return found

    def of_subset(self, name: str, subset: str | None, claimed_by: str) -> Path:
        """As `find`, for an entry of a subset: where there is a folder of that name, its photo lies there only."""
        pool = (self._root / "images", self._root)
        if subset is None:
            return self.find(name, (*pool, self._root / "images/default"), claimed_by)
        home = [path for path in (self._root / subset, self._root / "images" / subset) if path.is_dir()]
        return self.find(name, home or pool, claimed_by, home[0] if home else None)

    def _alike(self, parts: Sequence[str], claimed_by: str, only: Path | None, near: Path | None) -> Path | None:
        keys = [_key(part) for part in parts]
        found = [p for p in self._by_name.get(keys[-1], ()) if only is None or p.is_relative_to(only)]
        beside = [path for path in found if path.parent == near]
        if len(beside) == 1:
            return beside[0]
        for count in range(len(keys), 0, -1):
            alike = [path for path in found if [_key(part) for part in path.parts[-count:]] == keys[-count:]]
            if len(alike) > 1:
                names = ", ".join(str(path.relative_to(self._root)) for path in alike[:4])
                raise DefectError(claimed_by, f"names {'/'.join(parts)}, which may be {names}", "write the whole path")
            if alike:
                return alike[0]
        return None

    def near(self, path: Path) -> str:
        """A photo that may be meant where there is none at a path: the same name with another suffix."""
        stem = _key(path.stem)
        others = [other for other in self._paths if _key(other.stem) == stem]
        return f"; {others[0].relative_to(self._root)} is there, of another suffix: mend the name" if others else ""

    def id_of(self, path: Path) -> str:
        """The path below the root without the suffix, and without a folder that holds all photos."""
        parts = path.relative_to(self._root).with_suffix("").parts
        around = next(count for count in (2, 1, 0) if len(parts) > count and parts[:count] in _ROOTS)
        return "/".join(parts[around:])

    def unclaimed(self) -> tuple[Defect, ...]:
        """A warning of the photos that no entry claims."""
        left = [path for path in self._paths if path not in self._claims]
        return unlabelled(self._root, [str(path.relative_to(self._root)) for path in left], len(self._paths))


def unlabelled(root: Path, names: Sequence[str], total: int) -> tuple[Defect, ...]:
    """A warning that some of all photos have no labels and are left out; partly labelled folders are a normal case."""
    if not names:
        return ()
    reason = f"{len(names)} of {total} photos have no labels, first {names[0]}: they are left out"
    return (Defect(str(root), reason, "nothing to do if they are not labelled yet", "warning"),)


def _parts(name: str) -> list[str]:
    """The folders and the file of a name, whatever stands between them, without a drive or an address."""
    path = name.partition("?d=")[2] or name  # Label Studio's address of a local file
    parts = path.replace("\\", "/").split("/")
    return [part for part in parts if part not in ("", ".", "..") and not part.endswith(":")]


def _key(part: str) -> str:
    return unicodedata.normalize("NFC", part).casefold()


def matched(names: Iterable[str], known: Collection[str]) -> dict[str, str]:
    """Which of the known ids each name means: itself, else the one in another Unicode form or with other separators."""
    ids, by_key = set(known), defaultdict(list)
    for id_ in ids:
        by_key[unicodedata.normalize("NFC", id_)].append(id_)
    found = {}
    for name in names:
        alike = by_key.get(unicodedata.normalize("NFC", name.replace("\\", "/")), [])
        if name in ids:
            found[name] = name
        elif len(alike) == 1:
            found[name] = alike[0]
    return found
