"""Scenes kept on disk, so that a second look at one costs a file read."""

from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from promptseg.data.label_space import IGNORE
from promptseg.data.sample import PanopticLabels, Segment
from promptseg.data.streets.scene import Scene, generate_scene
from promptseg.files import atomic_path, cache_folder

VERSION = 2
"""Raised whenever the generator's pixels change: files of other versions are left alone."""
Key = tuple[str, str, tuple[int, int]]
Arrays = dict[str, NDArray[np.generic]]


def cache_path(key: Key) -> Path:
    """File of the scene of (condition, seed, size)."""
    condition, seed, (height, width) = key
    return cache_folder() / f"streets-v{VERSION}" / f"{width}x{height}" / condition / f"{seed.replace('/', '-')}.npz"


def read_or_generate(key: Key, *names: str) -> list[NDArray[np.generic]]:
    """The named arrays of a scene: `image`, `map` (segment ids), `classes` (class of each segment id).

    A missing or damaged file is made again; a folder that cannot be written costs only time.
    """
    path = cache_path(key)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return [stored[name] for name in names]
    except Exception:  # a damaged archive raises nearly anything, and every cause has the same mend
        pass
    arrays = _pack(generate_scene(*key))
    with suppress(OSError), atomic_path(path) as temporary, temporary.open("wb") as target:
        np.savez(target, **arrays)  # type: ignore[arg-type]
    return [arrays[name] for name in names]


def _pack(scene: Scene) -> Arrays:
    """What is stored of a scene; one byte a pixel for the segments where that is enough."""
    segments = scene.panoptic.segments
    kind = np.uint8 if len(segments) < 256 else np.uint16
    classes = np.array([IGNORE] + [s.class_id for s in segments], dtype=np.uint8)
    return {"image": scene.image, "map": scene.panoptic.map.astype(kind), "classes": classes}


def unpack_panoptic(map_: NDArray[np.generic], classes: NDArray[np.generic]) -> PanopticLabels:
    """Panoptic labels from the stored arrays."""
    segments = tuple(Segment(i, int(c)) for i, c in enumerate(classes.tolist()) if i > 0)
    return PanopticLabels(map_.astype(np.int32), segments)
