"""The label maps of a folder: ordinary `labels/*.png`, saved whole, with versions against two writers and an undo.

A version is the digest of the file, so edits by other programs count too. Every save names the version it started from;
if the file has changed since, it is refused. Steps for undo lie in `.promptseg/undo`, as copies of the files.
"""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from promptseg.app.photos import PhotoFolder
from promptseg.data.formats.files import files_ending
from promptseg.data.images import label_picture, png, read_labels
from promptseg.data.photo_pixels import photo_size
from promptseg.data.sample import ObjectLabels, PanopticLabels
from promptseg.errors import PromptsegError
from promptseg.files import atomic_path, read_json, write_json
from promptseg.label_space import IGNORE, Color, LabelSpace
from promptseg.typed_json import from_json, to_json

OWN = ".promptseg"
"""Folder of what the app keeps beside the labels; hidden, so nothing in it is taken for a photo."""
NEW = "new"
"""The version of labels that do not exist yet."""
_VERSION = re.compile(f"{NEW}|[0-9a-f]{{20}}")
STEPS = 200
"""Most steps that can be undone for one photo."""
_LOCK_SECONDS = 20


class ConflictError(PromptsegError):
    """A file has changed since the writer read it; nothing was written."""


def digest(content: bytes) -> str:
    """The version of a file's content."""
    return hashlib.sha256(content).hexdigest()[:20]


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold the folder's lock, against other threads and other processes."""
    (root / OWN).mkdir(exist_ok=True)
    # A lock of its own for every holder: one object would let all threads of this process in.
    with FileLock(root / OWN / "lock", timeout=_LOCK_SECONDS):
        yield


@dataclass(frozen=True)
class Steps:
    """The versions that a photo's labels went through; `at` is the place of the present one."""

    versions: tuple[str, ...]
    at: int

    def __post_init__(self) -> None:
        """Refuse what no steps are: versions are names of files."""
        if not 0 <= self.at < len(self.versions) or not all(map(_VERSION.fullmatch, self.versions)):
            raise PromptsegError(f"no steps that can be undone; delete the folder {OWN}/undo to begin new ones")

    @property
    def can_undo(self) -> bool:
        """Whether there is a version before."""
        return self.at > 0

    @property
    def can_redo(self) -> bool:
        """Whether there is a version after."""
        return self.at < len(self.versions) - 1

    def then(self, version: str) -> "Steps":
        """The steps up to here, then a new version; the oldest are dropped."""
        versions = (*self.versions[: self.at + 1], version)[-STEPS:]
        return Steps(versions, len(versions) - 1)


@dataclass(frozen=True)
class LabelledPhoto:
    """A photo of the folder with the labels it has now: a `Sample`, as `fit` takes it."""

    id: str
    label_space: LabelSpace
    photo: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    version: str

    def image(self) -> NDArray[np.uint8]:
        """The photo, (H, W, 3) uint8 RGB."""
        return self.photo

    def semantic(self) -> NDArray[np.uint8]:
        """Class ids, (H, W) uint8, 255 = not labelled."""
        return self.labels

    def panoptic(self) -> PanopticLabels:
        """None: label maps know no objects."""
        raise PromptsegError(f"{self.id}: label maps have no instance labels; use the task 'semantic'")

    def objects(self) -> ObjectLabels:
        """None, as for `panoptic`."""
        return ObjectLabels.of(self.panoptic())


class LabelStore:
    """Reads and writes the labels of the photos of one folder."""

    def __init__(self, folder: PhotoFolder) -> None:
        self._folder = folder

    def path(self, id_: str) -> Path:
        """Where the labels of a photo lie, or will.

        Raises:
            PromptsegError: an unknown photo, one that cannot be used, or a link that leads out of the folder.
        """
        self._folder.usable(id_)
        return self._folder.inside(self._folder.root / "labels" / f"{id_}.png")

    def labelled(self) -> set[str]:
        """Ids of all label maps there are."""
        return set(files_ending(self._folder.root / "labels", ".png"))

    def version(self, id_: str) -> str:
        """The version of a photo's labels; `NEW` if there are none."""
        path = self.path(id_)
        return digest(path.read_bytes()) if path.is_file() else NEW

    def read(self, id_: str, classes: int) -> tuple[NDArray[np.uint8], str]:
        """Labels (H, W) uint8, 255 where nothing is labelled, and their version.

        Raises:
            PromptsegError: an unknown or broken photo, or labels that do not belong to it.
        """
        path, size = self.path(id_), photo_size(self._folder.find(id_).path)
        version = self.version(id_)
        if version == NEW:
            return np.full(size, IGNORE, np.uint8), NEW
        labels = read_labels(path)
        check_labels(labels, size, classes, path.name)
        return labels, version

    def at(self, id_: str, version: str, classes: int) -> NDArray[np.uint8]:
        """Labels (H, W) uint8 of the present version, or of one that the steps hold; raises as `read`."""
        labels, present = self.read(id_, classes)
        if version == present:
            return labels
        labels = read_labels(self._copy(id_, version))
        check_labels(labels, photo_size(self._folder.find(id_).path), classes, version)
        return labels

    def before(self, id_: str, version: str) -> str | None:
        """The step before a version that the present one came from; none where it did not come from that."""
        steps = self.steps(id_)
        line = steps.versions[: steps.at + 1]
        if version not in line:
            return None
        place = len(line) - 1 - line[::-1].index(version)
        return line[place - 1] if place else NEW

    def write(self, id_: str, labels: NDArray[np.uint8], expected: str, colors: tuple[Color, ...]) -> str:
        """Save labels (H, W) in place of the version `expected`; returns the new version.

        Raises:
            ConflictError: the labels on disk are of another version.
            PromptsegError: the labels do not fit the photo or the classes.
        """
        path = self.path(id_)
        check_labels(labels, photo_size(self._folder.find(id_).path), len(colors), path.name)
        content = png(label_picture(labels, colors))
        with locked(self._folder.root):
            self.check(id_, expected)
            steps = self._present(id_)
            if digest(content) == steps.versions[steps.at]:
                return expected
            self._put(id_, content)
            self._keep(id_, steps.then(digest(content)), content)
        return digest(content)

    def step(self, id_: str, by: int, expected: str) -> str:
        """Go one version back (`by` = -1) or forth (+1); returns the version that is now there.

        Raises:
            ConflictError: the labels on disk are of another version than `expected`.
            PromptsegError: there is no such step.
        """
        with locked(self._folder.root):
            self.check(id_, expected)
            steps = self._present(id_)
            if not (steps.can_undo if by < 0 else steps.can_redo):
                raise PromptsegError(f"{id_}: nothing to {'undo' if by < 0 else 'redo'}")
            steps = replace(steps, at=steps.at + by)
            version = steps.versions[steps.at]
            self._put(id_, None if version == NEW else self._copy(id_, version).read_bytes())
            write_json(self._journal(id_) / "steps.json", to_json(steps))
        return version

    def steps(self, id_: str) -> Steps:
        """The steps of a photo as they are on disk; without any, the present version alone."""
        path = self._journal(id_) / "steps.json"
        if not path.is_file():
            return Steps((self.version(id_),), 0)
        return from_json(Steps, read_json(path), str(path))

    def check(self, id_: str, expected: str) -> None:
        """Refuse another version than the one on disk.

        Raises:
            ConflictError: the labels on disk are of another version.
        """
        if (found := self.version(id_)) != expected:
            raise ConflictError(f"the labels of {id_} were changed elsewhere (now {found}): load them again")

    def _present(self, id_: str) -> Steps:
        """The steps, with what another program wrote meanwhile as the last one."""
        steps, path = self.steps(id_), self.path(id_)
        content = path.read_bytes() if path.is_file() else None
        version = NEW if content is None else digest(content)
        if steps.versions[steps.at] != version:
            steps = steps.then(version)
        if content is not None and not self._copy(id_, version).is_file():
            self._keep(id_, steps, content)
        return steps

    def _put(self, id_: str, content: bytes | None) -> None:
        path = self.path(id_)
        if content is None:
            path.unlink(missing_ok=True)
            return
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)

    def _keep(self, id_: str, steps: Steps, content: bytes) -> None:
        """Write a copy of a version and the steps, and remove copies that no step names."""
        with atomic_path(self._copy(id_, digest(content))) as temporary:
            temporary.write_bytes(content)
        write_json(self._journal(id_) / "steps.json", to_json(steps))
        for copy in self._journal(id_).glob("*.png"):
            if copy.stem not in steps.versions:
                copy.unlink(missing_ok=True)

    def _journal(self, id_: str) -> Path:
        return self._folder.root / OWN / "undo" / digest(id_.encode())

    def _copy(self, id_: str, version: str) -> Path:
        return self._journal(id_) / f"{version}.png"


def check_labels(labels: NDArray[np.uint8], size: tuple[int, int], classes: int, name: str) -> None:
    """Refuse labels that do not fit.

    Raises:
        PromptsegError: another size than the photo's, or an id that is no class.
    """
    if labels.shape != size:
        raise PromptsegError(
            f"{name}: labels of {labels.shape[1]}x{labels.shape[0]} pixels for a photo of {size[1]}x{size[0]}: "
            "give both the same size"
        )
    strange = labels[(labels >= classes) & (labels != IGNORE)]
    if strange.size:
        raise PromptsegError(f"{name}: id {int(strange[0])} is no class: there are 0..{classes - 1}, and {IGNORE}")
