"""Semantic segmentation: every pixel gets one of C classes.

Loss (semantic_loss.py): cross-entropy of the per-pixel class distribution, that is the semantic map
normalised over the C classes, at label resolution; optionally a soft dice term per class. Metric: mIoU
from one confusion matrix over the whole split.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from promptseg.checks import check_choice
from promptseg.data.images import resize_labels, write_labels
from promptseg.data.rasters import Georeference, write_raster
from promptseg.data.sample import Sample
from promptseg.errors import PromptsegError
from promptseg.files import write_json
from promptseg.label_space import IGNORE, LabelSpace
from promptseg.models.base import Prediction, Size
from promptseg.tasks.answer_files import map_file, written_map
from promptseg.tasks.base import SUMMARY_ITEMS, Columns, Drawing, Scores, TaskKind, Window, mean, row_blocks
from promptseg.tasks.evidence_loss import evidence_loss
from promptseg.tasks.label_maps import LabelMosaic, label_map
from promptseg.tasks.sampling import every, sampled
from promptseg.tasks.semantic_loss import semantic_loss

LOSSES = ("cross-entropy", "cross-entropy+dice")


@dataclass(frozen=True)
class SemanticSettings:
    """Settings of the task: `loss` is one of `LOSSES`."""

    loss: str = "cross-entropy+dice"

    def __post_init__(self) -> None:
        """Refuse an unknown loss."""
        check_choice("semantic loss", self.loss, LOSSES)


PRESETS = {"paper": SemanticSettings("cross-entropy"), "tuned": SemanticSettings()}
COLUMNS = Columns({"miou": "mIoU", "things": "things", "stuff": "stuff"}, "IoU")


@dataclass(frozen=True)
class SemanticTask:
    """The semantic task."""

    settings: SemanticSettings = PRESETS["tuned"]
    name: str = "semantic"
    samples_masks: bool = True

    def labels(self, sample: Sample) -> NDArray[np.uint8]:
        """Class ids (H, W), 255 = ignored.

        Raises:
            PromptsegError: there is one class only.
        """
        if len(sample.label_space) == 1:
            raise PromptsegError(
                f"{sample.label_space.name}: {sample.label_space.names[0]!r} is the only class, so every pixel would be"
                " of it and the score could not be wrong: name what else there is, as ?background=NAME does for"
                " unlabelled pixels"
            )
        return sample.semantic()

    def target(self, sample: Sample, size: Size, flip: bool) -> Tensor:
        """Class ids (h, w) uint8, 255 = ignored."""
        labels = resize_labels(self.labels(sample), size)
        return torch.from_numpy(np.ascontiguousarray(labels[:, ::-1] if flip else labels))

    def windowed(self, target: Tensor, window: Window) -> Tensor:
        """Class ids (h, w) uint8."""
        return window.nearest(target)

    def shown(self, target: Tensor) -> Tensor:
        """The classes that have a pixel, (n,) int64."""
        classes: Tensor = target[target != IGNORE].unique().long()
        return classes

    def check_targets(self, targets: Iterable[Tensor]) -> None:
        """Refuse targets without a labelled pixel.

        Raises:
            PromptsegError: there is none.
        """
        if all((target == IGNORE).all() for target in targets):
            raise PromptsegError("no pixel of the shots is labelled at training size: there is nothing to learn")

    def loss(self, prediction: Prediction, targets: Sequence[Tensor], stride: int = 1) -> Tensor:
        """Mean over the images of the loss at label resolution, or at every `stride`-th pixel each way."""
        height, width = prediction.canvas
        padded = [
            F.pad(target, (0, width - target.shape[1], 0, height - target.shape[0]), value=IGNORE) for target in targets
        ]
        labels, masks = torch.stack(padded), prediction.mask_logits
        labels = labels[:, every(stride), every(stride)].to(masks.device)
        enlarges = stride == 1 and prediction.evidence is None  # a tile at a time, in the loss itself
        if prediction.mask_stride != stride and not enlarges:
            masks = sampled(masks, prediction.canvas, stride, prediction.upsampling)
        with_dice = self.settings.loss == "cross-entropy+dice"
        if prediction.evidence is not None:
            return evidence_loss(prediction, masks, labels, stride, with_dice)
        return semantic_loss(prediction.class_logits, masks, labels, with_dice, prediction.upsampling)

    def answer(self, prediction: Prediction, index: int, size: Size, label_space: LabelSpace) -> NDArray[np.uint8]:
        """The most likely class of every pixel of image `index`: (H, W)."""
        return label_map(prediction, index, size)

    def mosaic(self, size: Size, label_space: LabelSpace) -> LabelMosaic:
        """A label map that comes tile by tile."""
        return LabelMosaic(size)

    def metric(self, label_space: LabelSpace) -> "MeanIoU":
        """A fresh confusion matrix."""
        return MeanIoU(label_space.names, label_space.thing_ids)

    def drawing(self, answer: NDArray[np.uint8], label_space: LabelSpace) -> Drawing:
        """The label map, and the classes that fill most of it."""
        largest = list(class_shares(answer, label_space.names).items())[:SUMMARY_ITEMS]
        return Drawing(", ".join(f"{name} {100 * share:.0f} %" for name, share in largest), labels=answer)

    def writer(self, out: Path, label_space: LabelSpace) -> "LabelMapWriter":
        """Label maps in `labels/`, and the share of every class in `shares.json`."""
        return LabelMapWriter(out, label_space)


def class_shares(labels: NDArray[np.uint8], names: tuple[str, ...]) -> dict[str, float]:
    """Share of the pixels of a label map (H, W) for each class that occurs, largest first; they add up to 1."""
    counts = np.sum(
        [np.bincount(labels[rows].ravel(), minlength=len(names)) for rows in row_blocks(labels.shape)], axis=0
    )
    order = np.argsort(-counts, kind="stable")
    return {names[i]: float(counts[i] / labels.size) for i in order if counts[i]}


class LabelMapWriter:
    """Label maps as palette PNGs whose values are the class ids, and the share of every class as JSON."""

    def __init__(self, out: Path, label_space: LabelSpace) -> None:
        self._labels, self._json, self._space = out / "labels", out / "shares.json", label_space
        self.files = (self._labels, self._json)

    def files_of(self, name: str) -> tuple[Path, ...]:
        """The label map."""
        return (written_map(self._labels, name),)

    def add(self, name: str, file_name: str, answer: NDArray[np.uint8], place: Georeference | None) -> dict[str, float]:
        """Write the label map; returns the shares."""
        path = map_file(self._labels, name, place)
        if place is None:
            write_labels(path, answer, self._space.colors)
        else:
            write_raster(path, answer, place, self._space.colors)
        return class_shares(answer, self._space.names)

    def merge(self, told: Mapping[str, dict[str, float]]) -> None:
        """Write the shares."""
        write_json(self._json, {"classes": list(self._space.names), "images": told})


class MeanIoU:
    """One confusion matrix over all images; pixels with ignored truth count for no class."""

    def __init__(self, class_names: Sequence[str], thing_ids: Collection[int] = ()) -> None:
        self.class_names = tuple(class_names)
        self.thing_ids = frozenset(thing_ids)
        classes = len(self.class_names)
        self.confusion = np.zeros((classes, classes), dtype=np.int64)
        """(C, C) pixel counts: row = true class, column = predicted class."""

    def count(self, truth: NDArray[np.uint8], answer: NDArray[np.uint8]) -> None:
        """Add the pixels of two label maps (H, W)."""
        classes = len(self.class_names)
        for rows in row_blocks(truth.shape):
            labelled = truth[rows] != IGNORE
            pairs = truth[rows][labelled].astype(np.int64) * classes + answer[rows][labelled]
            self.confusion += np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)

    def state(self) -> list[list[int]]:
        """The confusion matrix."""
        rows: list[list[int]] = self.confusion.tolist()
        return rows

    def merge(self, states: Sequence[list[list[int]]]) -> None:
        """Add confusion matrices."""
        self.confusion += np.sum(states, axis=0, dtype=np.int64)

    def compute(self) -> Scores:
        """`miou`, the mean IoU of `things` and of `stuff`, and the IoU of every class.

        A class without true pixels scores 0 if it was predicted somewhere and is left out (`None`)
        if it was not, as the Cityscapes benchmark counts.
        """
        hit = np.diag(self.confusion)
        union = self.confusion.sum(0) + self.confusion.sum(1) - hit
        scores = [float(h / u) if u else None for h, u in zip(hit, union, strict=True)]
        values = {
            "miou": mean(scores),
            "things": mean(score for i, score in enumerate(scores) if i in self.thing_ids),
            "stuff": mean(score for i, score in enumerate(scores) if i not in self.thing_ids),
        }
        return Scores(values, dict(zip(self.class_names, scores, strict=True)))


TASK = TaskKind(SemanticTask, PRESETS, COLUMNS)
