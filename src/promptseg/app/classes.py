"""The classes of a folder: ordinary `classes.json`, with a version against two writers."""

from collections.abc import Sequence
from typing import Any

from promptseg.app.labels import NEW, ConflictError, digest, locked
from promptseg.app.photos import PhotoFolder
from promptseg.data.formats.classes_json import class_rows, read_classes
from promptseg.data.label_space import BACKGROUND, classes_of
from promptseg.errors import PromptsegError
from promptseg.files import read_json, write_json
from promptseg.label_space import MAX_CLASSES, Color, LabelSpace, default_colors

_NAME_LENGTH = 80
_COLORS: tuple[Color, ...] = (
    (238, 102, 119),
    (68, 119, 170),
    (34, 136, 51),
    (204, 187, 68),
    (102, 204, 238),
    (170, 51, 119),
    (238, 136, 102),
    (68, 187, 153),
)
"""Of new classes: Paul Tol's bright and light schemes, which colour-blind people tell apart too."""
_GREY: Color = (187, 187, 187)


class ClassFile:
    """Reads and writes the classes of one folder."""

    def __init__(self, folder: PhotoFolder) -> None:
        self._root = folder.root
        self._path = folder.root / "classes.json"

    def read(self) -> tuple[LabelSpace | None, str]:
        """The classes and their version; None and `NEW` before the first are named.

        Raises:
            PromptsegError: a classes.json that cannot be used.
        """
        if not self._path.is_file():
            return None, NEW
        return read_classes(self._path), digest(self._path.read_bytes())

    def space(self) -> LabelSpace:
        """The classes.

        Raises:
            PromptsegError: there are none yet, or a classes.json that cannot be used.
        """
        space, _ = self.read()
        if space is None:
            raise PromptsegError("there are no classes yet: name at least one")
        return space

    def names(self) -> tuple[str, ...]:
        """Their names; none before the first are named.

        Raises:
            PromptsegError: a classes.json that cannot be used.
        """
        space, _ = self.read()
        return () if space is None else space.names

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
        space = classes_of(self._path, _coloured(rows), self._root.name)
        with locked(self._root):
            before, version = self.read()
            if version != expected:
                raise ConflictError("the classes were changed elsewhere: load them again")
            if before is not None and len(space) < len(before):
                raise PromptsegError(
                    f"{len(space)} classes where there are {len(before)}: labels use ids, so none can be removed; "
                    "rename it"
                )
            write_json(self._path, self._kept() | {"classes": class_rows(space)})
            return read_classes(self._path), digest(self._path.read_bytes())

    def _kept(self) -> dict[str, Any]:
        """What else the file says."""
        content = read_json(self._path) if self._path.is_file() else {}
        return content if isinstance(content, dict) else {}


def _coloured(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, with a colour of its own for each that has none."""
    taken = [row.get("color") for row in rows]
    free = (list(color) for color in (*_COLORS, *default_colors(MAX_CLASSES)) if list(color) not in taken)
    return [
        row if "color" in row else row | {"color": list(_GREY) if row["name"] == BACKGROUND else next(free)}
        for row in rows
    ]
