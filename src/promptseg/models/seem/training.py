"""What a model folder says of the training of its network: the words it was taught, and what its images were like."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from promptseg.errors import PromptsegError
from promptseg.files import read_json
from promptseg.models.base import ImageFeatures
from promptseg.models.seem.network.features import SeemFeatures
from promptseg.typed_json import from_json

STATISTICS_FILE = "statistics.json"
"""In the model folder; models without it cannot say."""


@dataclass(frozen=True)
class Statistics:
    """Mean and deviation of each channel of the stride-32 level, over images and places.

    Attributes:
        means: D numbers.
        deviations: D numbers above 0.
    """

    means: tuple[float, ...]
    deviations: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse numbers that cannot be divided by, or do not belong together."""
        if len(self.means) != len(self.deviations) or not min(self.deviations, default=0) > 0:
            raise PromptsegError("means and deviations must be as many, and deviations above 0")

    def distance(self, features: Sequence[ImageFeatures]) -> float:
        """How far the mean of images is from `means`, in deviations: root mean square over the channels."""
        found = torch.cat([_channel_means(one) for one in features]).mean(dim=0).cpu()
        gaps = (found - torch.tensor(self.means)) / torch.tensor(self.deviations)
        return float(gaps.square().mean().sqrt())


def measured_statistics(features: Sequence[SeemFeatures]) -> Statistics:
    """The statistics of images, each of which counts the same."""
    means = torch.cat([_channel_means(one) for one in features]).mean(dim=0)
    squares = torch.cat([one.levels[0].square().mean(dim=(2, 3)) for one in features]).mean(dim=0)
    return Statistics(tuple(means.tolist()), tuple((squares - means.square()).sqrt().tolist()))


@dataclass(frozen=True)
class Training:
    """What is known of a network's training.

    Attributes:
        words: the names its text encoder was taught; None where it reads any text.
        statistics: what the images were like; None where that was not kept.
    """

    words: tuple[str, ...] | None = None
    statistics: Statistics | None = None


def read_training(folder: Path, words: tuple[str, ...] | None) -> Training:
    """What a model folder says, whose `words` are read already.

    Raises:
        PromptsegError: a file is damaged.
    """
    file = folder / STATISTICS_FILE
    return Training(words, from_json(Statistics, read_json(file), str(file)) if file.is_file() else None)


def _channel_means(features: ImageFeatures) -> Tensor:
    """(B, D) means over the places of the stride-32 level."""
    assert isinstance(features, SeemFeatures), "features of this family, not prepared"
    return features.levels[0].mean(dim=(2, 3))
