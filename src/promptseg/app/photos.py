"""The photos of a folder: which there are, where they lie, and small pictures of them for the list."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from promptseg.data.formats.folder_files import list_photos
from promptseg.data.images import jpeg
from promptseg.data.photo_pixels import photo_pixels
from promptseg.errors import PromptsegError
from promptseg.files import atomic_path, cache_folder

THUMBNAIL = 256
"""Longest side of the small pictures, pixels."""


_NAME = "its name cannot stand in a list of photos; rename it without a blank at an end, a line break or broken letters"


class UnknownPhotoError(PromptsegError):
    """A photo that the folder does not list."""


@dataclass(frozen=True)
class PhotoFile:
    """A photo by its id (path below the photos, "/" between, no suffix); `fault` says why it cannot be used."""

    id: str
    path: Path
    fault: str | None = None


class PhotoFolder:
    """The photos below one folder; whatever is asked for by id is looked up in a list, never made into a path."""

    def __init__(self, root: Path) -> None:
        """List the photos.

        Raises:
            PromptsegError: no such folder, or no photo in it.
        """
        self.root = root.expanduser().resolve()
        if not self.root.is_dir():
            raise PromptsegError(f"{root}: no such folder; give the one that holds your photos")
        self.photos: dict[str, PhotoFile] = {}
        self.rescan()
        if not self.photos:
            raise PromptsegError(f"{root}: no photos in it, nor in its folder images; put in some .jpg or .png files")

    def rescan(self) -> None:
        """List the photos again; no file is opened."""
        files = list_photos(self.root)
        faults = {Path(defect.file): f"{defect.reason}; {defect.mend}" for defect in files.defects}
        found = {}
        for id_, path in files.images.items():
            shown = id_.encode("utf-8", "backslashreplace").decode()  # the bytes of a name that is not UTF-8
            fault = _NAME if shown != id_.strip() or len(id_.splitlines()) != 1 else self._outside(path)
            found[shown] = PhotoFile(shown, path, fault)
        for path, fault in faults.items():
            if path.suffix and path not in {photo.path for photo in found.values()}:
                found[path.name] = PhotoFile(path.name, path, fault)
        self.photos = dict(sorted(found.items()))

    def find(self, id_: str) -> PhotoFile:
        """A photo of the list.

        Raises:
            UnknownPhotoError: the list has no such id.
        """
        if id_ not in self.photos:
            raise UnknownPhotoError(f"no photo {id_!r} in {self.root.name}: reload the page")
        return self.photos[id_]

    def usable(self, id_: str) -> PhotoFile:
        """A photo of the list that has no fault.

        Raises:
            PromptsegError: unknown, or its fault.
        """
        photo = self.find(id_)
        if photo.fault:
            raise PromptsegError(f"{photo.path.name}: {photo.fault}")
        return photo

    def read(self, id_: str) -> NDArray[np.uint8]:
        """The photo, (H, W, 3) uint8 RGB.

        Raises:
            PromptsegError: unknown, gone, broken, or it leads out of the folder.
        """
        return photo_pixels(self.usable(id_).path)

    def thumbnail(self, id_: str) -> bytes:
        """A JPEG of at most `THUMBNAIL` pixels a side, kept in the user's cache until the photo changes.

        Raises:
            PromptsegError: as `read`.
        """
        photo = self.find(id_)
        try:
            state = photo.path.stat()
        except OSError:
            raise PromptsegError(f"{photo.path.name}: the photo is gone; put it back, or reload the page") from None
        key = hashlib.sha256(f"{photo.path} {state.st_mtime_ns} {state.st_size} {THUMBNAIL}".encode()).hexdigest()
        kept = cache_folder() / "thumbnails" / key[:2] / f"{key}.jpg"
        if not kept.is_file():
            small = shrunk(self.read(id_), THUMBNAIL)
            with atomic_path(kept) as temporary:
                temporary.write_bytes(jpeg(small, 85))
        return kept.read_bytes()

    def inside(self, path: Path) -> Path:
        """The path, when it and every link on its way stay below the folder.

        Raises:
            PromptsegError: it leads out of the folder.
        """
        if not path.resolve().is_relative_to(self.root):
            raise PromptsegError(f"{path}: leads out of the folder {self.root}; replace the link by files")
        return path

    def _outside(self, path: Path) -> str | None:
        inside = path.resolve().is_relative_to(self.root)
        return None if inside else "a link that leads out of the folder; copy the photo itself here"


def shrunk(picture: NDArray[np.uint8], longest: int) -> NDArray[np.uint8]:
    """A picture (H, W, 3) whose longer side is at most `longest` pixels."""
    image = Image.fromarray(picture)
    image.thumbnail((longest, longest), Image.Resampling.BILINEAR)
    return np.asarray(image)
