"""Between label maps and Label Studio's results, which are regions: painted by brush, or drawn as polygons."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptseg.data.formats.objects import outline
from promptseg.errors import PromptsegError
from promptseg.export.parts import parts
from promptseg.integrations.label_studio.brush import decode_brush, encode_brush
from promptseg.integrations.label_studio.config import TOOLS, Interface
from promptseg.models.base import Size
from promptseg.tasks.instances import decode

Region = dict[str, Any]
_PERCENT = 100.0


def regions_of(labels: NDArray[np.uint8], names: Sequence[str], interface: Interface) -> list[Region]:
    """A label map (H, W) as results: with the brush one region for each class, else a polygon for each connected part.

    Classes that the interface lacks, such as the background, are left out.
    """
    size = {"original_height": labels.shape[0], "original_width": labels.shape[1], "image_rotation": 0}
    about = {"from_name": interface.tool, "to_name": interface.image, "type": interface.type, **size}
    values = _brushed(labels, names) if interface.type == TOOLS["BrushLabels"] else _polygons(labels, names)
    drawn = [(name, value) for name, value in values if name in interface.names]
    return [
        {"id": f"promptseg-{number}", **about, "value": value | {interface.type: [name]}}
        for number, (name, value) in enumerate(drawn)
    ]


def _brushed(labels: NDArray[np.uint8], names: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    for class_id, name in enumerate(names):
        if (mask := labels == class_id).any():
            yield name, {"format": "rle", "rle": encode_brush(mask)}


def _polygons(labels: NDArray[np.uint8], names: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    for part in parts(labels):
        corners = part.polygon() / labels.shape[::-1] * _PERCENT
        yield names[part.class_id], {"points": corners.tolist(), "closed": True}


def label_map(results: Sequence[Any], size: Size, names: Sequence[str], rest: int) -> NDArray[np.uint8]:
    """The class ids (H, W) of what somebody drew on a photo of that size; later regions lie over earlier ones.

    Args:
        results: of an annotation; what is no area is left alone.
        size: height and width of the photo, pixels.
        names: the classes in id order.
        rest: id of pixels that nobody drew on.

    Raises:
        PromptsegError: a region that cannot be read, of an unknown class, or on a turned photo.
    """
    labels = np.full(size, rest, np.uint8)
    for result in results:
        type_ = result.get("type") if isinstance(result, dict) else None
        if type_ not in TOOLS.values():
            continue
        value = result.get("value")
        name = (value.get(type_) or [None])[0] if isinstance(value, dict) else None
        if name not in names:
            raise PromptsegError(f"a region of the class {name!r}: choose one of {', '.join(names)}")
        if result.get("image_rotation"):
            raise PromptsegError("the photo was turned while it was labelled: turn it back")
        labels[_mask(value, size)] = names.index(name)
    return labels


def _mask(value: dict[str, Any], size: Size) -> NDArray[np.bool_]:
    if "rle" in value:
        return decode_brush(value["rle"], size)
    try:
        corners = (np.array(value["points"], float) / _PERCENT * size[::-1]).ravel().tolist()
    except (KeyError, TypeError, ValueError):
        raise PromptsegError("a polygon has no points: draw it again") from None
    return decode(outline(Path("Label Studio"), 0, False, [corners], size, "a polygon").runs)
