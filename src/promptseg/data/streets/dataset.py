"""The data set `streets:CONDITION?size=256x128&train=200&val=60&test=60&seed=0`, its scenes kept on disk."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from promptseg.data.formats.cityscapes import CITYSCAPES_19
from promptseg.data.registry import DataFormat
from promptseg.data.sample import Dataset, ObjectLabels, PanopticLabels, Segment, Split
from promptseg.data.streets.scene import DEFAULT_SIZE, Scene, generate_scene
from promptseg.data.streets.weather import CONDITIONS
from promptseg.errors import PromptsegError, unknown_name
from promptseg.files import atomic_path, cache_folder
from promptseg.label_space import IGNORE, LabelSpace
from promptseg.spec import Spec

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


COUNTS = {"train": 200, "val": 60, "test": 60}
"""Scenes of each split unless the spec says otherwise."""
GROUPS = {
    **{name: (name,) for name in CONDITIONS},
    "adverse": ("fog", "night", "rain", "snow"),
    "all": tuple(CONDITIONS),
}
"""What may stand behind `streets:`, and the conditions that it interleaves."""
SMALLEST_SIDE, LARGEST_SIDE = 32, 4096


@dataclass(frozen=True)
class StreetSample:
    """One scene; generated, or read from the cache, when asked for."""

    id: str
    key: Key

    @property
    def label_space(self) -> LabelSpace:
        """The 19 classes of Cityscapes."""
        return CITYSCAPES_19

    def image(self) -> NDArray[np.uint8]:
        """The photo, (H, W, 3) uint8 RGB."""
        (image,) = read_or_generate(self.key, "image")
        return np.asarray(image, dtype=np.uint8)

    def semantic(self) -> NDArray[np.uint8]:
        """Class ids, (H, W) uint8, 255 = ignored."""
        map_, classes = read_or_generate(self.key, "map", "classes")
        return np.asarray(classes[map_.astype(np.intp)], dtype=np.uint8)

    def panoptic(self) -> PanopticLabels:
        """Panoptic labels: one segment per stuff class and per thing."""
        return unpack_panoptic(*read_or_generate(self.key, "map", "classes"))

    def objects(self) -> ObjectLabels:
        """The same as labels of instances: what is hidden was never painted."""
        return ObjectLabels.of(self.panoptic())


def load_streets(spec: Spec) -> Dataset:
    """Generated street scenes.

    Args:
        spec: names a condition, or `adverse` or `all` for several in turn; options `size` (WIDTHxHEIGHT), `train`,
            `val`, `test` (number of scenes), `seed`.

    Raises:
        PromptsegError: unknown condition or option, or a value that makes no sense.
    """
    where, options = spec.where, spec.options
    if where not in GROUPS:
        raise unknown_name("condition of streets", where, GROUPS)
    spec.check_options(("size", *COUNTS, "seed"))
    size = _size(options["size"]) if "size" in options else DEFAULT_SIZE
    seed = _whole("seed", options.get("seed", "0"))
    text = f"streets:{where}" + ("?" + "&".join(f"{k}={v}" for k, v in options.items()) if options else "")
    splits = {
        name: Split(_samples(GROUPS[where], name, _whole(name, options.get(name, str(count))), seed, size), text, name)
        for name, count in COUNTS.items()
    }
    return Dataset(text, CITYSCAPES_19, splits["train"], splits["val"], splits["test"])


def _samples(
    conditions: tuple[str, ...], split: str, count: int, seed: int, size: tuple[int, int]
) -> list[StreetSample]:
    """The scenes of a split, conditions in turn; each has a street of its own."""
    samples = []
    for i in range(count):
        condition, number = conditions[i % len(conditions)], i // len(conditions)
        name = f"{condition}/{split}/{number:05d}"
        samples.append(StreetSample(name, (condition, f"{condition}/{split}/{seed}/{number}", size)))
    return samples


def _whole(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise PromptsegError(
            f"{name}={text}: not a whole number from 0; write for example {name}={COUNTS.get(name, 0)}"
        )
    return int(text)


def _size(text: str) -> tuple[int, int]:
    """(height, width) of `WIDTHxHEIGHT`, the order in which people name the size of a photo."""
    parts = text.split("x")
    if len(parts) == 2 and all(p.isascii() and p.isdigit() and SMALLEST_SIDE <= int(p) <= LARGEST_SIDE for p in parts):
        return int(parts[1]), int(parts[0])
    raise PromptsegError(
        f"size={text}: not WIDTHxHEIGHT with sides of {SMALLEST_SIDE} to {LARGEST_SIDE}; write for example size=256x128"
    )


FORMAT = DataFormat(
    load_streets,
    "generated street scenes, 19 Cityscapes classes: streets:clear, fog, night, rain, snow, adverse or all; "
    "?size=256x128&train=200&val=60&test=60&seed=0; semantic, instance and panoptic labels",
    "none: made when asked for",
    "yours",
    in_folder=False,
)
