"""The classes of a folder: ordinary `classes.json`, with a version against two writers."""

from collections.abc import Sequence
from typing import Any

from promptseg.app.labels import NEW, ConflictError, digest, locked
from promptseg.app.photos import PhotoFolder
from promptseg.data.formats.classes_json import MAX_CLASSES, classes_of, read_classes
from promptseg.label_space import LabelSpace
from promptseg.errors import PromptsegError
from promptseg.files import read_json, write_json

BACKGROUND = "background"
"""The class offered from the start: everything else."""
_NAME_LENGTH = 80


class ClassFile:
    """Reads and writes the classes of one folder."""

    def __init__(self, folder: PhotoFolder) -> None:
        self._root = folder.root
        self._path = folder.root / "classes.json"

    def read(self) -> tuple[LabelSpace, str]:
        """The classes and their version; none and `NEW` before the first are named.

        Raises:
            PromptsegError: a classes.json that cannot be used.
        """
        if not self._path.is_file():
            return LabelSpace(self._root.name, ()), NEW
        return read_classes(self._path), digest(self._path.read_bytes())

    def write(self, rows: Sequence[dict[str, Any]], expected: str) -> tuple[LabelSpace, str]:
        """Save classes in place of the version `expected`; a class keeps its id, new ones come after the old.

        Args:
            rows: one per class in id order, with "name" and optionally "color" [r, g, b] and "kind".
            expected: the version the writer has seen.

        Raises:
            ConflictError: the file is of another version.
            PromptsegError: fewer classes than before, none, too many, or one that is malformed.
        """
        if not 0 < len(rows) <= MAX_CLASSES:
            raise PromptsegError(f"{len(rows)} classes: give 1 to {MAX_CLASSES}")
        for row in rows:
            name = row.get("name") if isinstance(row, dict) else None
            if not isinstance(name, str) or not 0 < len(name.strip()) <= _NAME_LENGTH or not name.isprintable():
                raise PromptsegError(f"{row!r} is no class: give it a name of at most {_NAME_LENGTH} characters")
        space = classes_of(self._path, rows, self._root.name)
        with locked(self._root):
            before, version = self.read()
            if version != expected:
                raise ConflictError("the classes were changed elsewhere: load them again")
            if len(space) < len(before):
                raise PromptsegError(
                    f"{len(space)} classes where there are {len(before)}: a class cannot be removed here, as labels use "
                    "its id; rename it"
                )
            write_json(self._path, self._kept() | {"classes": class_rows(space)})
        return self.read()

    def _kept(self) -> dict[str, Any]:
        """What else the file says."""
        content = read_json(self._path) if self._path.is_file() else {}
        return content if isinstance(content, dict) else {}


def class_rows(space: LabelSpace) -> list[dict[str, Any]]:
    """The classes as `classes.json` lists them."""
    return [
        {"id": i, "name": c.name, "color": list(c.color), "kind": "thing" if c.is_thing else "stuff"}
        for i, c in enumerate(space.classes)
    ]
