"""Labels in the form of Pascal VOC: palette PNGs of classes and of objects, lists, and the colours of the classes."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from promptseg.data.formats.voc import CLASS_MAPS, LISTS, OBJECT_MAPS, PHOTOS, VOID
from promptseg.data.images import write_labels
from promptseg.data.label_space import BACKGROUND, name_key
from promptseg.errors import PromptsegError
from promptseg.export.labelled import Labelled, copy_photo
from promptseg.export.parts import parts
from promptseg.files import write_text
from promptseg.label_space import IGNORE, MAX_CLASSES, Color, LabelSpace
from promptseg.reports.pictures import write_picture

_BLACK: Color = (0, 0, 0)
_UNLABELLED = -1


def write_voc(photos: Iterable[Labelled], space: LabelSpace, out: Path) -> int:
    """`JPEGImages`, `SegmentationClass`, `SegmentationObject`, `ImageSets/Segmentation/train.txt` and `labelmap.txt`.

    The index 0 is the background, as everywhere in this form: the class of that name, or none. What is not labelled is
    void, 255, and so are crowds among the objects.

    Raises:
        PromptsegError: too many classes, with the background.
    """
    index, colors = _indices(space)
    colours = (*colors.values(), *[_BLACK] * (IGNORE - len(colors)), VOID)
    names, objects = [], 0
    for photo in photos:
        copy_photo(photo.sample, out / PHOTOS)
        classes = _classes(photo)
        write_labels(out / CLASS_MAPS / f"{photo.sample.id}.png", index[classes], colours)
        numbers, found = _numbers(photo, classes, np.flatnonzero(index[:IGNORE] == 0))
        _write_numbers(out / OBJECT_MAPS / f"{photo.sample.id}.png", numbers)
        names.append(photo.sample.id)
        objects += found
    write_text(out / LISTS / "train.txt", "".join(f"{name}\n" for name in names))
    lines = (f"{name}:{red},{green},{blue}::\n" for name, (red, green, blue) in colors.items())
    write_text(out / "labelmap.txt", f"# label:color_rgb:parts:actions\n{''.join(lines)}")
    return objects


def _indices(space: LabelSpace) -> tuple[NDArray[np.uint8], dict[str, Color]]:
    """Index by class id (256,), and colours by the names of the classes, in the order of the indices."""
    ground = next((name for name in space.names if name_key(name) == BACKGROUND), None)
    names = [BACKGROUND if ground is None else ground, *(name for name in space.names if name != ground)]
    if len(names) > MAX_CLASSES:
        raise PromptsegError(f"{len(space)} classes and the background are more than voc holds: export another form")
    own = dict(zip(space.names, space.colors, strict=True))
    wanted = [_BLACK, *(own[name] for name in names[1:])]
    if len({*wanted, VOID}) <= len(wanted):  # two classes of one colour could not be told apart
        wanted = [color_of(number) for number in range(len(names))]
    index = np.full(IGNORE + 1, IGNORE, np.uint8)
    for number, name in enumerate(space.names):
        index[number] = names.index(name)
    return index, dict(zip(names, wanted, strict=True))


def _classes(photo: Labelled) -> NDArray[np.uint8]:
    """Class ids (H, W) that the objects agree with: those of the instance labels where there are any, crowds void."""
    if photo.segments is None:
        return photo.labels
    classes = photo.segments.semantic()
    crowds = [segment.id for segment in photo.segments.segments if segment.is_crowd]
    classes[np.isin(photo.segments.map, crowds)] = IGNORE
    return classes


def _numbers(photo: Labelled, classes: NDArray[np.uint8], ground: NDArray[np.integer]) -> tuple[NDArray[np.int32], int]:
    """Numbers of the objects (H, W) from 1, 0 for none and -1 for void, and how many there are."""
    numbers = np.where(classes == IGNORE, _UNLABELLED, np.int32(0))
    count, things = 0, set[int]()
    if photo.segments is not None:
        things = set(photo.sample.label_space.thing_ids)
        for segment in photo.segments.segments:
            if segment.class_id in things and not segment.is_crowd:
                count += 1
                numbers[photo.segments.map == segment.id] = count
    left = np.where(np.isin(classes, [*things, *ground.tolist()]), np.uint8(IGNORE), classes)
    for part in parts(left):
        count += 1
        x, y, width, height = part.box
        numbers[y : y + height, x : x + width][part.mask] = count
    return numbers, count


def _write_numbers(path: Path, numbers: NDArray[np.int32]) -> None:
    if numbers.max() < IGNORE:
        write_labels(path, numbers.astype(np.uint8), [color_of(number) for number in range(IGNORE + 1)])
        return
    numbers = np.where(numbers == _UNLABELLED, VOID[0] << 16 | VOID[1] << 8 | VOID[2], numbers)
    pixels = np.stack([numbers >> 16, numbers >> 8 & 255, numbers & 255], -1)
    write_picture(path, pixels.astype(np.uint8))


def color_of(index: int) -> Color:
    """The colour of an index in the palette of VOC: its bits, from the lowest on, in turn to red, green and blue."""
    levels = [0, 0, 0]
    for bit in range(8):
        levels[bit % 3] |= (index >> bit & 1) << (7 - bit // 3)
    return levels[0], levels[1], levels[2]
