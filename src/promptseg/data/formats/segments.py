"""Panoptic labels from maps whose values name segments, whatever the data set packs into a value."""

from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from promptseg.data.defects import DefectError
from promptseg.data.sample import PanopticLabels, Segment
from promptseg.label_space import IGNORE

Describe = Callable[[int], Segment | None]
"""The segment that a value stands for; None for void."""


def decode_segments(
    values: NDArray[np.integer], describe: Describe, things: Collection[int], path: Path
) -> PanopticLabels:
    """Panoptic labels of a map of values.

    Values of one stuff class become one segment, with the id of the smallest: a table of classes may have
    joined several stuff classes of the data set in one.

    Args:
        values: (H, W).
        describe: called once for each value that occurs, in ascending order.
        things: class ids with countable instances.
        path: the file, for errors.

    Raises:
        PromptsegError: two different segments of one id, or the id 0, which is void's.
    """
    present = np.unique(values)
    ids = np.zeros(len(present), np.int32)
    segments: dict[int, Segment] = {}
    stuff: dict[int, Segment] = {}
    for position, value in enumerate(present.tolist()):
        segment = describe(value)
        if segment is None:
            continue
        if segment.class_id not in things:
            segment = stuff.setdefault(segment.class_id, segment)
        if not segment.id or segments.setdefault(segment.id, segment) != segment:
            reason = f"two objects share the number {segment.id}" if segment.id else "an object has the number 0"
            raise DefectError(path, reason, "take the file as it was published")
        ids[position] = segment.id
    return PanopticLabels(ids[np.searchsorted(present, values)], tuple(segments.values()))


def semantic_of(panoptic: PanopticLabels) -> NDArray[np.uint8]:
    """Class ids (H, W) of panoptic labels, crowds included; 255 where nothing is labelled."""
    known = sorted(panoptic.segments, key=lambda s: s.id)
    ids = np.array([0, *(s.id for s in known)], np.int32)
    classes = np.array([IGNORE, *(s.class_id for s in known)], np.uint8)
    labels: NDArray[np.uint8] = classes[np.searchsorted(ids, panoptic.map)]
    return labels
