"""Scored masks of objects, as found in one image."""

from dataclasses import dataclass

from torch import Tensor


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
