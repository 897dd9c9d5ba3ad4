"""What a task is to the rest: targets, a loss, answers, and a metric. It never asks which model."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from torch import Tensor

from promptseg.data.sample import Sample
from promptseg.label_space import LabelSpace
from promptseg.models.base import Prediction, Size

TargetT = TypeVar("TargetT")


@dataclass(frozen=True)
class Columns:
    """How the scores of a task are headed in tables.

    Attributes:
        scores: header by name of score; the first is the headline, the mean over the classes.
        classes: header of the score of one class.
    """

    scores: Mapping[str, str]
    classes: str

    @property
    def headline(self) -> str:
        """Name of the score that stands for the whole."""
        return next(iter(self.scores))

    @property
    def title(self) -> str:
        """Header of the headline."""
        return self.scores[self.headline]

    def text(self, scores: Mapping[str, float | None]) -> str:
        """The headline for people, in percent: `47.7 mIoU`."""
        value = scores[self.headline]
        return f"no {self.title}" if value is None else f"{100 * value:.1f} {self.title}"


@dataclass(frozen=True)
class Scores:
    """Scores by name, and the headline's share of each class: fractions (0..1), none where nothing was to be found."""

    values: dict[str, float | None]
    per_class: dict[str, float | None]


class Metric(Protocol):
    """Running score over the images of a split."""

    def count(self, truth: Any, answer: Any) -> None:
        """Count one image: what its task's `labels` and `answer` gave, of one size."""

    def compute(self) -> Scores:
        """The scores so far."""


class Task(Protocol, Generic[TargetT]):
    """One kind of segmentation."""

    @property
    def name(self) -> str:
        """Name in the registry."""

    def labels(self, sample: Sample) -> Any:
        """The labels that this task is about.

        Raises:
            PromptsegError: the data set has none.
        """

    def target(self, sample: Sample, size: Size, flip: bool) -> TargetT:
        """What the loss compares with: the labels at training size (height, width), mirrored if `flip`."""

    def loss(self, prediction: Prediction, targets: Sequence[TargetT], stride: int = 1) -> Tensor:
        """Mean loss over the images of the prediction, a scalar; of every `stride`-th pixel each way."""

    def answer(self, prediction: Prediction, index: int, size: Size, label_space: LabelSpace) -> Any:
        """What the prediction says of image `index`, at an output size (height, width)."""

    def metric(self, label_space: LabelSpace) -> Metric:
        """A fresh metric."""


def mean(values: Iterable[float | None]) -> float | None:
    """Mean of the values that are there; none without any."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


@dataclass(frozen=True)
class Instances:
    """D detections of one image, best score first.

    Attributes:
        class_ids: (D,) int64.
        scores: (D,) float, 0..1.
        masks: (D, H, W) bool.
    """

    class_ids: Tensor
    scores: Tensor
    masks: Tensor

    def __len__(self) -> int:
        return len(self.class_ids)
