"""Answers as files for other programs: objects and segments in the forms of COCO, and the run lengths of masks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask
from scipy import ndimage

from promptseg.data.rasters import Georeference, write_raster
from promptseg.data.sample import PanopticLabels
from promptseg.files import atomic_path
from promptseg.label_space import LabelSpace
from promptseg.tasks.base import row_blocks
from promptseg.tasks.instances import Instances


def categories(label_space: LabelSpace) -> list[dict[str, Any]]:
    """The classes; an id is the place of the class, as in label maps."""
    return [
        {"id": number, "name": info.name, "isthing": int(info.is_thing), "color": list(info.color)}
        for number, info in enumerate(label_space.classes)
    ]


def instance_entries(found: Instances, image: int, first_id: int) -> list[dict[str, Any]]:
    """Objects as annotations of an image, numbered from `first_id`; empty masks are left out."""
    entries: list[dict[str, Any]] = []
    for class_id, score, runs in zip(found.class_ids.tolist(), found.scores.tolist(), found.runs, strict=True):
        area = int(coco_mask.area(runs))
        if not area:
            continue
        entry = {"id": first_id + len(entries), "image_id": image, "category_id": class_id, "score": round(score, 6)}
        entry["segmentation"] = {"size": list(runs["size"]), "counts": runs["counts"].decode("ascii")}
        box = [int(side) for side in coco_mask.toBbox(runs)]
        entries.append(entry | {"area": area, "bbox": box, "iscrowd": 0})
    return entries


def segment_entries(labels: PanopticLabels) -> list[dict[str, Any]]:
    """Segments as `segments_info` of an image."""
    largest = max((segment.id for segment in labels.segments), default=0)
    # One pass over the map for the areas of all segments, and one for their boxes: large photos have hundreds.
    counts = (np.bincount(labels.map[rows].ravel(), minlength=largest + 1) for rows in row_blocks(labels.map.shape))
    areas, windows = np.sum(list(counts), axis=0), ndimage.find_objects(labels.map, largest)
    entries = []
    for segment in labels.segments:
        rows, columns = windows[segment.id - 1] or (slice(0, 0), slice(0, 0))
        box = [columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start]
        place = {"area": int(areas[segment.id]), "bbox": box, "iscrowd": 0}
        entries.append({"id": segment.id, "category_id": segment.class_id, **place})
    return entries


def write_segment_ids(path: Path, labels: PanopticLabels, place: Georeference | None = None) -> None:
    """Write the ids of the segments atomically: as an RGB PNG, or as a TIFF of whole numbers where there is a place."""
    if place is not None:
        write_raster(path, labels.map, place)
        return
    with atomic_path(path) as temporary:
        segment_picture(labels).save(temporary, format="PNG")


def segment_picture(labels: PanopticLabels) -> Image.Image:
    """The ids of the segments as an RGB picture: id = R + 256 G + 65536 B, 0 = none."""
    # The bytes of the ids as they lie in memory, R first; anything else takes many times the map.
    channels = labels.map.astype("<i4").view(np.uint8).reshape(*labels.map.shape, 4)[..., :3]
    return Image.fromarray(np.ascontiguousarray(channels))


def map_file(folder: Path, name: str, place: Georeference | None) -> Path:
    """The file of a photo's map: PNG, but TIFF where the photo is a raster."""
    return folder / f"{name}.{'png' if place is None else 'tif'}"


def written_map(folder: Path, name: str) -> Path:
    """The file of a photo's map that is there; where it should be, if none is."""
    raster = map_file(folder, name, Georeference(None, None))
    return raster if raster.exists() else map_file(folder, name, None)


def image_entry(number: int, file_name: str, size: Sequence[int]) -> dict[str, Any]:
    """A photo of size (height, width) as COCO lists it."""
    return {"id": number, "file_name": file_name, "height": size[0], "width": size[1]}
