"""Label a folder of photos with Ray Data: on all cores of this machine, or of a cluster that shares a disk.

    python examples/ray_label.py PROMPTS PHOTOS OUT --workers 2

OUT gets Parquet files with a row for each photo: its path, its label map as the bytes of a PNG of class ids, the share
of each class, and what was wrong with a photo that has none. With GPUs: `map_batches(..., num_gpus=1)`.
"""

import argparse
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import ray
from PIL import Image

import promptseg
from promptseg.data.images import IMAGE_SUFFIXES

BLOCKS = 10
"""Parts of the list of photos for each worker: who is faster takes more of them."""


class Label:
    """A worker of Ray: it makes its labeller once, which loads the model with the first photo."""

    def __init__(self, prompts: str) -> None:
        self.labeller = promptseg.Labeller(prompts, task="semantic")

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The rows of a batch, whose column `path` names photos."""
        paths = [str(path) for path in batch["path"]]
        try:
            found = [(labels, "") for labels in self.labeller(paths)]
        except promptseg.PromptsegError:  # one of them is broken: which, and the others all the same
            found = [self.alone(path) for path in paths]
        return {
            "path": paths,
            "png": [b"" if labels is None else png(labels) for labels, _ in found],
            "shares": [None if labels is None else self.shares(labels) for labels, _ in found],
            "error": [error for _, error in found],
        }

    def alone(self, path: str) -> tuple[Any, str]:
        """The label map of one photo, or what is wrong with it."""
        try:
            return self.labeller([path])[0], ""
        except promptseg.PromptsegError as error:
            return None, str(error)

    def shares(self, labels: Any) -> list[float]:
        """The share of each class."""
        counts = np.bincount(labels.ravel(), minlength=len(self.labeller.prompts.class_names))
        return [float(share) for share in counts / labels.size]


def png(labels: Any) -> bytes:
    """A label map as the bytes of a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(labels).save(buffer, "PNG")
    return buffer.getvalue()


def main() -> None:
    """Label the photos of a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prompts", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    paths = sorted(str(path.resolve()) for path in given.photos.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        sys.exit(f"{given.photos}: no photos in this folder")
    listed = ray.data.from_items(
        [{"path": path} for path in paths], override_num_blocks=min(len(paths), BLOCKS * given.workers)
    )
    labelled = listed.map_batches(
        Label,
        fn_constructor_args=[str(given.prompts.resolve())],
        batch_size=8,
        compute=ray.data.ActorPoolStrategy(size=given.workers),
        num_cpus=1,
    )
    labelled.write_parquet(str(given.out.resolve()))


if __name__ == "__main__":
    main()
