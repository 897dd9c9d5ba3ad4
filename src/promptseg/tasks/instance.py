"""Instance segmentation: scored masks, which may overlap, for countable objects.

Loss: that of predictions matched with the labelled objects. Metric: average precision, by the rules of COCO or
of Cityscapes.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from promptseg.checks import check_choice, check_whole
from promptseg.data.rasters import Georeference
from promptseg.data.sample import ObjectLabels, Sample
from promptseg.errors import PromptsegError
from promptseg.files import write_json
from promptseg.label_space import LabelSpace, default_colors
from promptseg.models.base import Prediction, Size
from promptseg.tasks.answer_files import categories, image_entry, instance_entries
from promptseg.tasks.average_precision import CityscapesAP, CocoAP
from promptseg.tasks.base import Columns, Drawing, Region, TaskKind, Window, counted
from promptseg.tasks.instances import Instances, RunLengths, Runs
from promptseg.tasks.masks import image_masks, query_logits, strips
from promptseg.tasks.matched_loss import MatchedSettings, SegmentTarget, check_found, segment_target, segments_loss
from promptseg.tasks.object_mosaics import InstanceMosaic

RULES = ("coco", "cityscapes")
SHOWN_SCORE = 0.5
"""Objects less sure than this are written, but not drawn: they would hide the photo."""
COLUMNS = Columns({"ap50": "AP50", "ap": "AP"}, "AP50")


@dataclass(frozen=True)
class InstanceSettings(MatchedSettings):
    """Settings of the task.

    Attributes:
        max_detections: pairs of query and class that are taken for an image, before those of stuff are dropped.
        rules: whose average precision is reported, `coco` or `cityscapes`.
    """

    max_detections: int = 100
    rules: str = "coco"

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        super().__post_init__()
        check_whole("max_detections", self.max_detections, 1)
        check_choice("rules of average precision", self.rules, RULES)


PRESETS = {
    # SEEM's own weight of the background, as the paper states none.
    "paper": InstanceSettings(loss="matched", background_weight=0.1),
    "tuned": InstanceSettings(),
}


@dataclass(frozen=True)
class InstanceTask:
    """The instance task."""

    settings: InstanceSettings = PRESETS["tuned"]
    name: str = "instance"
    samples_masks: bool = False

    def labels(self, sample: Sample) -> ObjectLabels:
        """The labelled objects with their whole masks; objects are segments of thing classes.

        Raises:
            PromptsegError: no instance labels, or no class is a thing.
        """
        _things(sample.label_space)
        return sample.objects()

    def target(self, sample: Sample, size: Size, flip: bool) -> SegmentTarget:
        """The objects at training size."""
        return segment_target(self.labels(sample), sample.label_space.thing_ids, size, flip)

    def windowed(self, target: SegmentTarget, window: Window) -> SegmentTarget:
        """The segments, of which some may have no pixel left."""
        return target.windowed(window)

    def shown(self, target: SegmentTarget) -> Tensor:
        """The classes of the segments, (n,) int64."""
        return target.shown()

    def check_targets(self, targets: Iterable[SegmentTarget]) -> None:
        """Refuse targets without anything to find.

        Raises:
            PromptsegError: there is nothing but void and crowds.
        """
        check_found(targets)

    def loss(self, prediction: Prediction, targets: Sequence[SegmentTarget], stride: int = 1) -> Tensor:
        """Loss of the predictions matched with objects; all others are taught to be background."""
        return segments_loss(prediction, targets, stride, self.settings)

    def answer(self, prediction: Prediction, index: int, size: Size, label_space: LabelSpace) -> Instances:
        """The detections in image `index`, best first.

        Raises:
            PromptsegError: no class is a thing.
        """
        logits, masks, things = query_logits(prediction, index), image_masks(prediction, index), _things(label_space)
        return instance_inference(logits, masks, things, self.settings.max_detections, size)

    def mosaic(self, size: Size, label_space: LabelSpace) -> InstanceMosaic:
        """Objects that come tile by tile."""
        return InstanceMosaic(size, partial(self.answer, label_space=label_space))

    def metric(self, label_space: LabelSpace) -> CocoAP | CityscapesAP:
        """Average precision by the chosen rules."""
        if self.settings.rules == "cityscapes":
            return CityscapesAP(label_space)
        return CocoAP(label_space, self.settings.max_detections)

    def drawing(self, answer: Instances, label_space: LabelSpace) -> Drawing:
        """The sure objects, each in a colour of its own, with its class and score."""
        # The best come first.
        sure = range(int((answer.scores >= SHOWN_SCORE).sum()))
        names = [label_space.names[int(answer.class_ids[i])] for i in sure]
        regions = tuple(
            Region(partial(answer.mask, i), color, f"{names[i]} {float(answer.scores[i]):.2f}")
            for i, color in zip(sure, default_colors(len(names)), strict=True)
        )
        return Drawing(counted(names, "objects"), regions=regions)

    def writer(self, out: Path, label_space: LabelSpace) -> "InstanceWriter":
        """All objects in `instances.json`."""
        return InstanceWriter(out, label_space)


class InstanceWriter:
    """All objects in one JSON that COCO's tools read."""

    def __init__(self, out: Path, label_space: LabelSpace) -> None:
        self._json, self._space = out / "instances.json", label_space
        self.files = (self._json,)

    def files_of(self, name: str) -> tuple[Path, ...]:
        """None."""
        return ()

    def add(self, name: str, file_name: str, answer: Instances, place: Georeference | None) -> dict[str, Any]:
        """The objects of a photo, numbered from 1."""
        return {"image": image_entry(1, file_name, answer.size), "objects": instance_entries(answer, 1, 1)}

    def merge(self, told: Mapping[str, dict[str, Any]]) -> None:
        """Write the JSON."""
        images: list[dict[str, Any]] = []
        objects: list[dict[str, Any]] = []
        for number, photo in enumerate(told.values(), 1):
            images.append(photo["image"] | {"id": number})
            first = len(objects) + 1
            objects += [entry | {"id": first + i, "image_id": number} for i, entry in enumerate(photo["objects"])]
        write_json(self._json, {"images": images, "annotations": objects, "categories": categories(self._space)})


def _things(label_space: LabelSpace) -> tuple[int, ...]:
    if not label_space.thing_ids:
        raise PromptsegError(
            f"{label_space.name}: none of its classes is a thing, with countable objects; "
            "use the task 'semantic', or mark the kind of each class in its data"
        )
    return label_space.thing_ids


@torch.no_grad()
def instance_inference(
    class_logits: Tensor,
    mask_logits: Tensor,
    thing_ids: Collection[int] | None,
    max_detections: int = 100,
    size: Size | None = None,
) -> Instances:
    """The detections of one image, by SEEM's official rule.

    The `max_detections` likeliest pairs of query and class are taken first and those of stuff
    classes dropped afterwards, so fewer may come back. The score is the class probability times the
    mean sigmoid inside the mask (logit > 0); an empty mask scores 0. Equally likely pairs are taken
    in query order.

    Args:
        class_logits: (N, C + 1), the background column last.
        mask_logits: (N, h, w) of the image.
        thing_ids: the classes to keep; None keeps all.
        max_detections: pairs of query and class to take.
        size: output height and width, pixels; None = that of `mask_logits`.
    """
    probabilities = class_logits.softmax(-1)[:, :-1]
    likeliest = probabilities.flatten().argsort(descending=True, stable=True)[:max_detections]
    queries, class_ids = likeliest // probabilities.shape[1], likeliest % probabilities.shape[1]
    if thing_ids is not None:
        things = torch.isin(class_ids, torch.tensor(sorted(thing_ids), dtype=torch.int64, device=class_ids.device))
        queries, class_ids = queries[things], class_ids[things]
    used, places = queries.unique(return_inverse=True)
    quality, runs = _enlarged_masks(mask_logits[used], size or (mask_logits.shape[1], mask_logits.shape[2]))
    scores = probabilities[queries, class_ids] * quality[places]
    order = scores.argsort(descending=True, stable=True)
    masks = tuple(runs[place] for place in places[order].tolist())
    size = size or (mask_logits.shape[1], mask_logits.shape[2])
    return Instances.of_runs(class_ids[order], scores[order], masks, size)


def _enlarged_masks(mask_logits: Tensor, size: Size) -> tuple[Tensor, list[Runs]]:
    """For each query the mean sigmoid inside its mask at an output size, (N,), and the mask.

    Once per query, not per detection, as many share a mask.
    """
    inside, areas = mask_logits.new_zeros(2, len(mask_logits), dtype=torch.float64)
    lengths = RunLengths(len(mask_logits), size, mask_logits.device)
    for _, logits in strips(mask_logits, size) if len(mask_logits) else ():
        masks = logits > 0
        inside += logits.sigmoid().mul_(masks).sum((1, 2), dtype=torch.float64)
        areas += masks.sum((1, 2))
        lengths.add(masks)
    return (inside / (areas + 1e-6)).to(mask_logits), lengths.finish()


TASK = TaskKind(InstanceTask, PRESETS, COLUMNS)
