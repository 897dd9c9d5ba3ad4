"""Draws of k-shot training lists: the same ids on every machine for the same images, k and seed.

Two rules, as the paper does not say how an image that shows many classes counts:

- `cover`: every class is in at least k images, and an image counts for all its classes. The list for k
  is the start of the list for k + 1. At most k * C images, usually far fewer.
- `union`: k images drawn for every class on its own, joined. At most k * C images, usually near it.

The order of images comes from SHA-256 digests of "SEED:ID", so no generator and no file order plays a part.
"""

import hashlib
import math
import os
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from promptseg.data.sample import ObjectLabels, Sample, Split
from promptseg.errors import PromptsegError, unknown_name
from promptseg.files import read_json, write_json
from promptseg.label_space import LabelSpace
from promptseg.record import Draw
from promptseg.typed_json import from_json, to_json

Rule = Callable[[Sequence[str], NDArray[np.bool_], int, int], list[int]]
"""Takes ids, presence (images, classes), k and seed; gives indices of images in the order of the draw."""


class Shots(Sequence[Sample]):
    """The drawn samples in the order of the draw, and `draw`: what a result must tell of it."""

    def __init__(self, samples: Sequence[Sample], draw: Draw) -> None:
        self._samples = tuple(samples)
        self.draw = draw

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids in the order of the draw."""
        return tuple(s.id for s in self._samples)

    @property
    def label_space(self) -> LabelSpace:
        """The classes of the samples."""
        return self._samples[0].label_space

    def save(self, path: str | Path) -> None:
        """Write the draw as JSON; `restore_shots` reads it."""
        write_json(Path(path), to_json(self.draw))

    def __len__(self) -> int:
        return len(self._samples)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | Sequence[Sample]:
        return self._samples[index]


def draw_shots(
    samples: Sequence[Sample],
    k: int = 16,
    seed: int = 0,
    rule: str = "cover",
    min_frac: float = 1e-4,
    task: str = "semantic",
) -> Shots:
    """Draw the k-shot training list of `samples`; reads every label map once.

    Args:
        samples: a split, or any samples of one label space.
        k: images per class; a class that fewer images show gives all of them, and the record says so.
        seed: another seed, another draw.
        rule: `cover` or `union`, see the module.
        min_frac: a class counts as shown from this share of the pixels on. A class that no image shows so
            largely counts from 1 pixel on.
        task: what the shots are for: for `instance`, objects count as shown, for `panoptic` all segments, but crowds
            for neither; for any other task, whatever the label maps show.

    Raises:
        PromptsegError: k < 1, an unknown rule, min_frac outside 0..1, no samples, two samples of one id or of
            different classes, no labelled pixel or object, or a label map that cannot be read.
    """
    if k < 1:
        raise PromptsegError(f"k is {k}, but a draw needs at least 1 image per class; use 16, as the paper does")
    if rule not in RULES:
        raise unknown_name("rule of a draw", rule, RULES)
    if not 0 <= min_frac <= 1:
        raise PromptsegError(f"min_frac is {min_frac}, but it is a share of the pixels: use a value in 0..1, as 1e-4")
    _check_samples(samples)
    ids = [s.id for s in samples]
    shown = _presence(samples, min_frac, _PIXELS.get(task, _labelled_pixels))
    selected = RULES[rule](ids, shown, k, seed)
    if not selected:
        what = "an object that is no crowd" if task == "instance" else "a labelled pixel"
        raise PromptsegError(f"none of {len(samples)} samples has {what}: check the labels")
    names = samples[0].label_space.names
    return Shots(
        [samples[i] for i in selected],
        Draw(
            tuple(ids[i] for i in selected),
            dataset=samples.dataset if isinstance(samples, Split) else None,
            split=samples.name if isinstance(samples, Split) else None,
            task=task,
            rule=rule,
            k=k,
            seed=seed,
            min_frac=min_frac,
            drawn=_counts(names, shown[selected]),
            available=_counts(names, shown),
        ),
    )


def restore_shots(samples: Sequence[Sample], draw: Draw | str | Path) -> Shots:
    """The shots of an earlier draw, without reading any label.

    Args:
        samples: samples among which the drawn ones are, in any order.
        draw: `Shots.draw`, or the file that `Shots.save` wrote.

    Raises:
        PromptsegError: no file of a draw, ids that do not fit its checksum, of another data set, or an id
            that no sample has.
    """
    where = "draw" if isinstance(draw, Draw) else str(draw)
    found = draw if isinstance(draw, Draw) else from_json(Draw, read_json(Path(draw)), where)
    if isinstance(samples, Split):
        _check_dataset(where, found.dataset, samples.dataset)
    there = {s.id: s for s in samples}
    missing = [i for i in found.ids if i not in there]
    if missing:
        count = f"{len(missing)} of its {len(found.ids)} ids are"
        raise PromptsegError(f"{where}: {count} not in the data, first {missing[0]!r}; open the data set of the draw")
    return Shots([there[i] for i in found.ids], found)


def _check_dataset(where: str, drawn_of: object, given: str) -> None:
    """Refuse a record of another data set; options, such as those that name lists, may differ."""
    if isinstance(drawn_of, str) and drawn_of.partition("?")[0] != given.partition("?")[0]:
        raise PromptsegError(f"{where}: drawn of {drawn_of!r}, not of {given!r}; open the data set of the draw")


def _cover(ids: Sequence[str], shown: NDArray[np.bool_], k: int, seed: int) -> list[int]:
    """In rounds 1..k, rarest class first: one more image for every class that still lacks one."""
    order, classes = _image_order(ids, f"{seed}:"), _class_order(shown)
    available = shown.sum(axis=0)
    got = np.zeros_like(available)
    selected: dict[int, None] = {}
    for wanted in range(1, k + 1):
        for c in classes:
            if got[c] < min(wanted, available[c]):
                image = next(i for i in order if shown[i, c] and i not in selected)
                selected[image] = None
                got += shown[image]
    return list(selected)


def _union(ids: Sequence[str], shown: NDArray[np.bool_], k: int, seed: int) -> list[int]:
    """The first k images of every class in an order of its own, joined, rarest class first."""
    selected: dict[int, None] = {}
    for c in _class_order(shown):
        of_class = [i for i in _image_order(ids, f"{seed}:{c}:") if shown[i, c]]
        selected.update(dict.fromkeys(of_class[:k]))
    return list(selected)


RULES: dict[str, Rule] = {"cover": _cover, "union": _union}


def _image_order(ids: Sequence[str], prefix: str) -> list[int]:
    return sorted(range(len(ids)), key=lambda i: hashlib.sha256(_bytes(f"{prefix}{ids[i]}")).hexdigest())


def _class_order(shown: NDArray[np.bool_]) -> list[int]:
    """Classes by the number of images that show them; those of no image left out."""
    available = shown.sum(axis=0)
    return [int(c) for c in np.argsort(available, kind="stable") if available[c]]


Count = Callable[[Sample], tuple[NDArray[np.int64], int]]
"""Gives the pixels (256,) of each class, and of the whole image."""


def _labelled_pixels(sample: Sample) -> tuple[NDArray[np.int64], int]:
    labels = sample.semantic()
    return np.bincount(labels.ravel(), minlength=256), labels.size


def _segment_pixels(sample: Sample) -> tuple[NDArray[np.int64], int]:
    return _single(ObjectLabels.of(sample.panoptic()), range(256))


def _object_pixels(sample: Sample) -> tuple[NDArray[np.int64], int]:
    return _single(sample.objects(), sample.label_space.thing_ids)


def _single(labels: ObjectLabels, classes: Collection[int]) -> tuple[NDArray[np.int64], int]:
    """The pixels of what is no crowd, where objects of one class overlap counted once."""
    regions: dict[int, set[int]] = {}
    for segment, own in zip(labels.segments, labels.regions, strict=True):
        if not segment.is_crowd and segment.class_id in classes:
            regions.setdefault(segment.class_id, set()).update(own)
    pixels = np.zeros(256, np.int64)
    for class_id, numbers in regions.items():
        pixels[class_id] = np.isin(labels.map, list(numbers)).sum()
    return pixels, labels.map.size


_PIXELS: dict[str, Count] = {"instance": _object_pixels, "panoptic": _segment_pixels}
"""What of a class an image shows, by task where that is not what its label map shows."""


def _presence(samples: Sequence[Sample], min_frac: float, pixels_of: Count) -> NDArray[np.bool_]:
    """(images, classes): whether the image shows enough of the class."""
    classes = len(samples[0].label_space)

    def count(sample: Sample) -> tuple[NDArray[np.int64], int]:
        pixels, size = pixels_of(sample)
        return pixels[:classes], max(1, math.ceil(min_frac * size))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        counted = list(pool.map(count, samples))
    pixels = np.stack([p for p, _ in counted])
    shown: NDArray[np.bool_] = pixels >= np.array([threshold for _, threshold in counted])[:, None]
    never = ~shown.any(axis=0)
    shown[:, never] = pixels[:, never] > 0
    return shown


def _counts(names: Sequence[str], shown: NDArray[np.bool_]) -> dict[str, int]:
    """How many of the images show each class."""
    return dict(zip(names, shown.sum(axis=0).tolist(), strict=True))


def _check_samples(samples: Sequence[Sample]) -> None:
    if not samples:
        name = f"split {samples.name!r} of {samples.dataset}" if isinstance(samples, Split) else "list of samples"
        raise PromptsegError(f"the {name} is empty, but a draw needs labelled images: name a training list")
    seen: set[str] = set()
    for sample in samples:
        if sample.id in seen:
            raise PromptsegError(f"two samples have the id {sample.id!r}: give each image once")
        if sample.label_space.names != samples[0].label_space.names:
            raise PromptsegError(f"sample {sample.id!r} has other classes than {samples[0].id!r}: use one data set")
        seen.add(sample.id)


def _bytes(text: str) -> bytes:
    """UTF-8, and the bytes of file names that are none as they are."""
    return text.encode("utf-8", "surrogateescape")
