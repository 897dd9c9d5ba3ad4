"""Image features on disk: a file for each image, memory-mapped when read."""

import json
import shutil
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError, safe_open

from promptseg.files import cache_folder
from promptseg.models.base import FeaturesT, ImageFeatures
from promptseg.tensor_files import write_safetensors

_HEADER = "promptseg"


class FeatureFiles:
    """A folder of features by key, shared by any number of processes.

    A file appears whole or not at all, and what it holds follows from its name: two processes that write the same file
    write the same, and one that is removed stays readable for whoever has it open.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        """Use a folder.

        Args:
            folder: need not exist.
            limit: bytes that all files may take together.
        """
        self.folder, self.limit = folder, limit

    def read(self, key: str, kind: type[FeaturesT]) -> FeaturesT | None:
        """Features of a kind, their tensors read from the file as they are used; none without a good file."""
        path = self._path(key)
        try:
            with safe_open(path, framework="pt") as file:
                header = json.loads(file.metadata()[_HEADER])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            sizes = tuple((int(height), int(width)) for height, width in header["image_sizes"])
            return kind.from_tensors(tensors, (int(header["canvas"][0]), int(header["canvas"][1])), sizes)
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError, KeyError, TypeError, ValueError):
            path.unlink(missing_ok=True)
            return None

    def write(self, key: str, features: ImageFeatures) -> bool:
        """Write features; false where they find no room, or the folder cannot be written."""
        if self.nbytes() + features.nbytes > self.limit:
            return False
        header = {_HEADER: json.dumps({"canvas": features.canvas, "image_sizes": features.image_sizes})}
        try:
            write_safetensors(self._path(key), features.to("cpu").tensors(), header)
        except OSError:  # a full disk, most often
            return False
        return True

    def files(self) -> list[Path]:
        """All files."""
        return sorted(self.folder.glob("*/*.safetensors"))

    def nbytes(self) -> int:
        """Size of all files."""
        total = 0
        for path in self.files():
            with suppress(FileNotFoundError):  # another process may be clearing
                total += path.stat().st_size
        return total

    def clear(self) -> int:
        """Remove all files; returns how many bytes they took."""
        freed = self.nbytes()
        shutil.rmtree(self.folder, ignore_errors=True)
        return freed

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.safetensors"


def features_folder() -> Path:
    """Where features are kept unless told otherwise."""
    return cache_folder() / "features"
