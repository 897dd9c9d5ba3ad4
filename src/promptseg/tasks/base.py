"""What a task is to the engine: targets, a loss, labels for people, and a metric. It never asks which model."""

from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeVar

from torch import Tensor

from promptseg.data.label_space import LabelSpace
from promptseg.data.sample import Sample
from promptseg.models.base import Prediction, Size

TargetT = TypeVar("TargetT")


class Metric(Protocol):
    """Running score over the images of a split."""

    def update(self, prediction: Prediction, index: int, sample: Sample) -> None:
        """Count image `index` of the prediction against the labels of `sample`, at the labels' own size."""

    def compute(self) -> dict[str, Any]:
        """The scores so far, JSON-able: fractions (0..1), `None` for classes that never occurred."""


class Task(Protocol, Generic[TargetT]):
    """One kind of segmentation."""

    @property
    def name(self) -> str:
        """Name in the registry."""

    def target(self, sample: Sample, size: Size, flip: bool) -> TargetT:
        """What the loss compares with: the labels at training size (height, width), mirrored if `flip`."""

    def loss(self, prediction: Prediction, targets: Sequence[TargetT], stride: int = 1) -> Tensor:
        """Mean loss over the images of the prediction, a scalar; of every `stride`-th pixel each way."""

    def metric(self, label_space: LabelSpace) -> Metric:
        """A fresh metric."""
