"""Average precision by the rules of COCO, computed by its own code (pycocotools) from run-length encoded masks."""

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from promptseg.data.sample import PanopticLabels
from promptseg.label_space import LabelSpace
from promptseg.tasks.base import Scores, mean
from promptseg.tasks.instances import Instances
from promptseg.tasks.run_lengths import encode


class CocoAP:
    """AP (mean over IoU 0.50 to 0.95) and AP50 over the thing classes.

    A labelled crowd is no object: detections inside it count neither as hits nor as errors. Unlabelled
    pixels have no such effect. A class without objects is left out of the means.
    """

    def __init__(self, label_space: LabelSpace, max_detections: int = 100) -> None:
        """Count the best `max_detections` detections of every image."""
        self._names, self._things = label_space.names, label_space.thing_ids
        self._max_detections = max_detections
        self._images: list[dict[str, Any]] = []
        self._truth: list[dict[str, Any]] = []
        self._found: list[dict[str, Any]] = []

    def count(self, truth: PanopticLabels, answer: Instances) -> None:
        """Add an image: its labels, and detections of the same size."""
        height, width = truth.map.shape
        image = len(self._images) + 1
        self._images.append({"id": image, "height": height, "width": width})
        for segment in truth.segments:
            if segment.class_id in self._things:
                mask = encode(truth.map == segment.id)
                self._truth.append(self._entry(self._truth, image, segment.class_id, mask, int(segment.is_crowd)))
        masks = answer.masks.cpu().numpy()
        for class_id, score, mask in zip(answer.class_ids.tolist(), answer.scores.tolist(), masks, strict=True):
            entry = self._entry(self._found, image, class_id, encode(mask), 0)
            self._found.append({**entry, "score": score})

    @staticmethod
    def _entry(before: Sequence[object], image: int, class_id: int, mask: dict[str, Any], crowd: int) -> dict[str, Any]:
        area = int(coco_mask.area(mask))
        place = {"id": len(before) + 1, "image_id": image, "category_id": class_id}
        return {**place, "segmentation": mask, "area": area, "iscrowd": crowd}

    def compute(self) -> Scores:
        """`ap50`, `ap`, and the AP50 of every thing class."""
        with contextlib.redirect_stdout(io.StringIO()):
            run = COCOeval(self._index(self._truth), self._index(self._found), "segm")
            run.params.maxDets = [self._max_detections]
            run.params.areaRng, run.params.areaRngLbl = [[0, 1e10]], ["all"]
            run.params.imgIds = [image["id"] for image in self._images]
            run.params.catIds = list(self._things)
            run.evaluate()
            run.accumulate()
        # IoU thresholds x recalls x classes; -1 where the class has no objects
        precision = run.eval["precision"][:, :, :, 0, 0]
        return ap_scores([self._names[i] for i in self._things], precision.mean(1))

    def _index(self, entries: list[dict[str, Any]]) -> COCO:
        index = COCO()
        categories = [{"id": class_id, "name": self._names[class_id]} for class_id in self._things]
        index.dataset = {"images": self._images, "annotations": entries, "categories": categories}
        index.createIndex()
        return index


def ap_scores(names: Sequence[str], average_precision: NDArray[np.float64]) -> Scores:
    """Scores of APs (thresholds, classes), the first threshold 0.5; below 0 where a class has no objects."""
    known = [i for i in range(len(names)) if average_precision[0, i] >= 0]
    values = {
        "ap50": mean(average_precision[0, known].tolist()),
        "ap": mean(average_precision[:, known].flatten().tolist()),
    }
    ap50 = {name: float(average_precision[0, i]) if i in known else None for i, name in enumerate(names)}
    return Scores(values, ap50)
