"""Objects given as polygons or run lengths, as labelling tools export them, painted into one map."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from promptseg.data.defects import DefectError
from promptseg.data.sample import PanopticLabels, Segment
from promptseg.label_space import IGNORE

_MEND = "draw the object again as a polygon or a mask"


@dataclass(frozen=True)
class Outline:
    """One object: its class (255 hides what lies below), and its mask as COCO's compressed run lengths."""

    class_id: int
    is_crowd: bool
    runs: dict[str, Any]


def outline(
    path: Path, class_id: int, is_crowd: bool, segmentation: object, size: tuple[int, int], name: str
) -> Outline:
    """An object from COCO's `segmentation`: a list of polygons [x, y, x, y, ...], or run lengths.

    Args:
        path: the file, for errors.
        class_id: 0..C-1, or 255.
        is_crowd: whether it is a group of objects.
        segmentation: as JSON has it.
        size: (H, W) of the photo.
        name: what errors call the object.

    Raises:
        PromptsegError: neither polygons nor run lengths, or run lengths of another size.
    """
    height, width = size
    if isinstance(segmentation, list) and segmentation and all(_is_polygon(p, max(size)) for p in segmentation):
        runs = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation, dict) and segmentation.get("size") == [height, width]:
        runs = _compressed(path, segmentation, size, name)
    else:
        reason = f"{name} has neither polygons nor run lengths within {width}x{height} pixels"
        raise DefectError(path, reason, _MEND)
    return Outline(class_id, is_crowd, runs)


def paint(outlines: Sequence[Outline], size: tuple[int, int]) -> PanopticLabels:
    """One map of objects that may overlap: crowds lie lowest, and smaller objects lie over larger ones.

    Segment ids are the places in `outlines`, from 1; an object that others hide is left out.
    """
    areas = [float(coco_mask.area(o.runs)) for o in outlines]
    order = sorted(range(len(outlines)), key=lambda i: (not outlines[i].is_crowd, -areas[i]))
    map_ = np.zeros(size, np.int32)
    for i in order:
        map_[coco_mask.decode(outlines[i].runs) > 0] = i + 1 if outlines[i].class_id != IGNORE else 0
    seen = np.unique(map_).tolist()
    found = (Segment(i, outlines[i - 1].class_id, outlines[i - 1].is_crowd) for i in seen if i)
    return PanopticLabels(map_, tuple(found))


def _is_polygon(points: object, longest: int) -> bool:
    """At least three corners as a flat list of numbers, none farther outside the photo than its longest side.

    The rasteriser walks along every edge, so a corner at 1e20 would take all memory there is.
    """
    if not isinstance(points, list) or len(points) < 6 or len(points) % 2:
        return False
    return all(isinstance(v, int | float) and -longest <= v <= 2 * longest for v in points)


def _compressed(path: Path, runs: dict[str, Any], size: tuple[int, int], name: str) -> dict[str, Any]:
    try:
        if isinstance(runs.get("counts"), list):
            if sum(runs["counts"]) != size[0] * size[1] or min(runs["counts"]) < 0:
                raise ValueError("the runs do not fill the photo")
            compressed: dict[str, Any] = coco_mask.frPyObjects(runs, *size)
            return compressed
        coco_mask.decode(runs)
    except (TypeError, ValueError, OverflowError, AttributeError, KeyError) as error:
        raise DefectError(path, f"{name} has broken run lengths ({error})", _MEND) from None
    return runs
