"""What prompts say of one photo, in the forms of other programs: COCO's JSON, and a PNG of ids."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptseg.data.images import label_picture, png
from promptseg.data.sample import PanopticLabels
from promptseg.errors import PromptsegError
from promptseg.export.parts import Part, part_of, parts
from promptseg.label_space import LabelSpace
from promptseg.models.base import Size
from promptseg.tasks.answer_files import categories, image_entry, instance_entries, segment_entries, segment_picture
from promptseg.tasks.instances import Instances, encode

Answer = NDArray[np.uint8] | Instances | PanopticLabels
"""Of the tasks `semantic` (a label map, (H, W) class ids), `instance` and `panoptic`."""


def size_of(answer: Answer) -> Size:
    """Height and width of the photo."""
    if isinstance(answer, Instances):
        return answer.size
    array = answer.map if isinstance(answer, PanopticLabels) else answer
    return array.shape[0], array.shape[1]


def coco_answer(answer: Answer, label_space: LabelSpace, file_name: str) -> dict[str, Any]:
    """An answer as the content of a COCO file with one image, number 1.

    Of a label map the objects are its connected parts, of which each has a polygon, or run lengths where it has holes;
    instances have run lengths and scores; segments are listed as `segments_info`, and their pixels are in the PNG.
    """
    image = image_entry(1, file_name, size_of(answer))
    annotations: list[dict[str, Any]]
    if isinstance(answer, PanopticLabels):
        annotations = [{"image_id": 1, "segments_info": segment_entries(answer)}]
    elif isinstance(answer, Instances):
        annotations = instance_entries(answer, 1, 1)
    else:
        annotations = part_entries(parts(answer), size_of(answer), 1, 1)
    return {"images": [image], "annotations": annotations, "categories": categories(label_space)}


def png_answer(answer: Answer, label_space: LabelSpace) -> bytes:
    """An answer as a PNG: class ids with a palette of the classes' colours, or ids of segments as COCO writes them.

    Raises:
        PromptsegError: instances, which may overlap.
    """
    if isinstance(answer, Instances):
        raise PromptsegError("instances overlap, so there is no PNG of them: ask for application/json")
    if isinstance(answer, PanopticLabels):
        picture = segment_picture(answer)
    else:
        picture = label_picture(answer, label_space.colors)
    return png(picture)


def objects_of(answer: Answer) -> Iterator[tuple[Part, float | None]]:
    """The objects of an answer, with their scores if they have any: connected parts of a map, instances, or segments.

    Instances and segments may be in several pieces.
    """
    if isinstance(answer, Instances):
        for index, (class_id, score) in enumerate(zip(answer.class_ids.tolist(), answer.scores.tolist(), strict=True)):
            if (found := part_of(class_id, answer.mask(index), False)) is not None:
                yield found, score
    elif isinstance(answer, PanopticLabels):
        for segment in answer.segments:
            if (found := part_of(segment.class_id, answer.map == segment.id, segment.is_crowd)) is not None:
                yield found, None
    else:
        yield from ((part, None) for part in parts(answer))


def part_entries(found: Iterable[Part], size: Size, image: int, first_id: int) -> list[dict[str, Any]]:
    """Objects on a photo of `size` (H, W) as annotations of an image, numbered from `first_id`."""
    return [
        {
            "id": number,
            "image_id": image,
            "category_id": part.class_id,
            "iscrowd": int(part.is_crowd),
            "segmentation": _shape(part, size),
            "area": part.area,
            "bbox": list(part.box),
        }
        for number, part in enumerate(found, first_id)
    ]


def _shape(part: Part, size: Size) -> list[list[int]] | dict[str, Any]:
    """Polygons, and run lengths for crowds and for objects with holes."""
    if not part.is_crowd and not part.has_holes:
        return [ring.ravel().tolist() for ring in part.rings()]
    mask = np.zeros(size, bool)
    x, y, width, height = part.box
    mask[y : y + height, x : x + width] = part.mask
    return {"size": list(size), "counts": encode(mask)["counts"].decode("ascii")}
