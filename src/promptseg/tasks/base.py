"""What a task is to the rest: targets, a loss, answers, and a metric. It never asks which model."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from promptseg.data.rasters import Georeference
from promptseg.data.sample import Sample
from promptseg.data.tiles import Tile
from promptseg.errors import PromptsegError
from promptseg.label_space import Color, LabelSpace
from promptseg.models.base import Prediction, Size

TargetT = TypeVar("TargetT")
ItemT = TypeVar("ItemT")

BLOCK_PIXELS = 2**22
"""Pixels that are counted together: what is made of them on the way has eight bytes for each."""
SHOWN_PIXELS = 4_000_000
"""Larger photos are shown to people with about so many pixels: memory and time must not grow with photos."""
SUMMARY_ITEMS = 3
"""How many classes the line about an answer names."""


@dataclass(frozen=True)
class Window:
    """A part of a picture: where it starts, down and across, and its size, in pixels."""

    top: int
    left: int
    height: int
    width: int

    @property
    def rows(self) -> slice:
        """Its rows."""
        return slice(self.top, self.top + self.height)

    @property
    def columns(self) -> slice:
        """Its columns."""
        return slice(self.left, self.left + self.width)

    def nearest(self, labels: Tensor) -> Tensor:
        """What is in it of labels (h, w), enlarged to (h, w) by the nearest pixel, as `interpolate` takes it."""
        part = labels[None, None, self.rows, self.columns]
        enlarged: Tensor = F.interpolate(part.double(), labels.shape, mode="nearest-exact")[0, 0]
        return enlarged.to(labels.dtype)


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
    """Scores of a split, as fractions (0..1); none where nothing was to be found.

    Attributes:
        values: by name.
        per_class: what the headline is the mean of, by class.
    """

    values: dict[str, float | None]
    per_class: dict[str, float | None]


@dataclass(frozen=True, eq=False)
class Region:
    """A mask with the colour and the text it is shown by.

    Attributes:
        mask: gives it, (H, W) bool, or thinned out; all of a large photo at once would not fit into memory.
        color: what it is tinted and outlined with.
        text: what is written on it.
    """

    mask: Callable[[], NDArray[np.bool_]]
    color: Color
    text: str


@dataclass(frozen=True, eq=False)
class Drawing:
    """How an answer is shown to people.

    Attributes:
        summary: a line about it.
        labels: (H, W) uint8, what its photo is tinted with: class ids, 255 = nothing; none where regions are drawn.
        regions: what is outlined on the photo, the first on top.
    """

    summary: str
    labels: NDArray[np.uint8] | None = None
    regions: tuple[Region, ...] = ()


class AnswerWriter(Protocol):
    """Writes answers for programs: those of each photo by itself, and what is told about all of them together.

    It keeps nothing: photos may come from several processes and runs.
    """

    @property
    def files(self) -> tuple[Path, ...]:
        """The files and folders it writes."""

    def files_of(self, name: str) -> tuple[Path, ...]:
        """The files of a photo alone."""

    def add(self, name: str, file_name: str, answer: Any, place: Georeference | None) -> dict[str, Any]:
        """Write the files of a photo.

        Args:
            name: what the files of the photo are called, without suffix.
            file_name: what the photo is called.
            answer: of the writer's task.
            place: where the photo lies on the earth; none where it is not a raster whose maps are rasters too.

        Returns:
            What `merge` needs of it, a JSON object.
        """

    def merge(self, told: Mapping[str, Any]) -> None:
        """Write what is told about all photos together, from what `add` returned, by name."""


class Metric(Protocol):
    """Running score over the images of a split."""

    def count(self, truth: Any, answer: Any) -> None:
        """Count one image: what its task's `labels` and `answer` gave, of one size."""

    def compute(self) -> Scores:
        """The scores so far."""

    def state(self) -> Any:
        """What was counted, as JSON."""

    def merge(self, states: Sequence[Any]) -> None:
        """Count what others counted of every n-th image, n of them in turn, given what `state` returned."""


class Task(Protocol, Generic[TargetT]):
    """One kind of segmentation."""

    @property
    def name(self) -> str:
        """Name in the registry."""

    @property
    def samples_masks(self) -> bool:
        """Whether `loss` looks at masks where its stride takes pixels of the canvas (sampling.py), and nowhere else."""

    def labels(self, sample: Sample) -> Any:
        """The labels that this task is about.

        Raises:
            PromptsegError: the data set has none.
        """

    def target(self, sample: Sample, size: Size, flip: bool) -> TargetT:
        """What the loss compares with: the labels at training size (height, width), mirrored if `flip`."""

    def windowed(self, target: TargetT, window: Window) -> TargetT:
        """The target of what is in a window of its image, enlarged to the size of the image."""

    def shown(self, target: TargetT) -> Tensor:
        """The classes that a target shows, (n,) int64, each once."""

    def check_targets(self, targets: Iterable[TargetT]) -> None:
        """Refuse targets of which none has anything to learn.

        Raises:
            PromptsegError: they are of that kind.
        """

    def loss(self, prediction: Prediction, targets: Sequence[TargetT], stride: int = 1) -> Tensor:
        """Mean loss over the images of the prediction, a scalar; of every `stride`-th pixel each way."""

    def answer(self, prediction: Prediction, index: int, size: Size, label_space: LabelSpace) -> Any:
        """What the prediction says of image `index`, at an output size (height, width)."""

    def metric(self, label_space: LabelSpace) -> Metric:
        """A fresh metric."""

    def drawing(self, answer: Any, label_space: LabelSpace) -> Drawing:
        """How an answer is shown on its photo."""

    def writer(self, out: Path, label_space: LabelSpace) -> AnswerWriter:
        """A writer of answers below a folder."""


class Mosaic(Protocol):
    """The answer to a photo that comes tile by tile, row by row."""

    def add(self, prediction: Prediction, index: int, tile: Tile) -> None:
        """Take what image `index` of a prediction says of a tile."""

    def finish(self) -> Any:
        """What the task's `answer` gives, at the photo's size, when all tiles were added."""


class TiledTask(Task[TargetT], Protocol):
    """Optional: a task whose answers to the tiles of a photo can be joined."""

    def mosaic(self, size: Size, label_space: LabelSpace) -> Mosaic:
        """An answer at `size` (height, width) without a tile so far."""


def tiled_task(task: Task[Any]) -> TiledTask[Any]:
    """The task as one that can go by tiles.

    Raises:
        PromptsegError: it cannot.
    """
    if not hasattr(task, "mosaic"):
        raise PromptsegError(f"the task {task.name!r} cannot join the answers of tiles: leave the tile size out")
    return cast(TiledTask[Any], task)


@dataclass(frozen=True)
class TaskKind:
    """What is registered of a task.

    Attributes:
        build: makes it from its settings.
        presets: its settings (a dataclass) by name of the preset; `tuned` are its defaults.
        columns: how its scores are headed.
    """

    build: Callable[[Any], Task[Any]]
    presets: Mapping[str, Any]
    columns: Columns

    @property
    def setting_names(self) -> tuple[str, ...]:
        """The names of its settings."""
        return tuple(field.name for field in fields(self.presets["tuned"]))

    def settings(self, overrides: Mapping[str, Any], preset: str = "tuned") -> Any:
        """Its settings with some overridden; what is no setting of it is left alone."""
        own = {name: value for name, value in overrides.items() if name in self.setting_names}
        return replace(self.presets[preset], **own)


def row_blocks(shape: Sequence[int]) -> Iterator[slice]:
    """Slices of the rows of a map (H, W), each of about `BLOCK_PIXELS` pixels."""
    step = max(1, BLOCK_PIXELS // max(1, shape[1]))
    return (slice(start, start + step) for start in range(0, shape[0], step))


def in_turn(parts: Sequence[Sequence[ItemT]]) -> list[ItemT]:
    """The items of n parts, of which each had every n-th, in the order that they had together."""
    return [part[place] for place in range(max(map(len, parts))) for part in parts if place < len(part)]


def counted(names: Iterable[str], what: str) -> str:
    """How many there are, and of what: `5 objects: 3 car, 2 person`."""
    counts = Counter(names)
    listed = ", ".join(f"{count} {name}" for name, count in counts.most_common(SUMMARY_ITEMS))
    return f"{counts.total()} {what}" + (f": {listed}" if listed else "")


def mean(values: Iterable[float | None]) -> float | None:
    """Mean of the values that are there; none without any."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
