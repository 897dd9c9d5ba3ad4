"""What made prompts, typed: the settings of a fit, the draw of its images, and the record that is saved with them."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from promptseg.checks import check_choice, check_flag, check_number, check_whole
from promptseg.errors import PromptsegError
from promptseg.typed_json import from_json, to_json

OPTIMIZERS = ("sgd", "adamw")
SCHEDULES = ("poly", "cosine")
WARM_UP_RATE = 1e-5
"""The base rate of the steps of `warm_up`, as CoOp has it."""
PRECISIONS = ("float32", "bfloat16")
PLACES = ("auto", "gpu", "memory", "disk", "none")
"""Where image features may be kept."""
DTYPES = ("float32", "bfloat16", "float16")
"""What they may be kept as."""

Setting = str | int | float | bool | None
"""A setting of a method or a task, as JSON holds it."""


@dataclass(frozen=True)
class FitSettings:
    """Everything of a fit that is neither model, data, method nor task.

    Attributes:
        steps: optimiser steps.
        batch_size: images per step.
        optimizer: `adamw` or `sgd`.
        momentum: of sgd.
        rate: base learning rate.
        weight_decay: decoupled for adamw, added to the gradient for sgd.
        loss_stride: the loss takes every so-manieth pixel each way, from the middle of its cell; 1 takes all.
        schedule: `poly`, rate * (1 - step / steps) ** power, or `cosine`, rate * (1 + cos(pi * step / steps)) / 2.
        power: of the poly schedule.
        warm_up: first steps, which have a base rate of `WARM_UP_RATE` whatever the schedule says.
        flip: mirror each drawn image with probability one half.
        zoom: where weights of the image encoder are trained, random windows whose sides are up to so many times
            smaller than the image's are enlarged to its size; 1 = none. Elsewhere images are encoded once, as they are.
        jitter: likewise, how much brightness, contrast, saturation and gamma are changed at random; 0 = not.
        auxiliary: weight of the loss of each earlier head of the decoder. They place the attention of the
            next layer without a gradient from the last head, so only this teaches them where to look.
        absent_classes: of a model that decodes one class after the other (SAM), how many of the classes that no image
            of a step shows are decoded with those that are shown, drawn anew each time; none = all.
        short_side: shorter side images are resized to, pixels; none = the model's own.
        tile: height and width of the tiles that photos are cut into, pixels; none = they are seen whole.
        overlap: pixels that tiles share at least; none = an eighth of the tile.
        spatial: which of the model's own spatial prompts are used; none = its first choice.
        templates: text templates of the default semantic prompts; none = the model's own choice.
        features: where image features are kept: `auto` (where there is room), `gpu`, `memory`, `disk` or `none`.
        features_dtype: numbers they are kept as, and what the decoder makes of them: `float32` (exact), `bfloat16` or
            `float16` (half the room).
        precision: numbers that the model computes in: `float32`, or `bfloat16` where it may (autocast), twice as fast
            and more on GPUs and on CPUs with the instructions; prompts are used in the precision they were learned in.
        recompute: where weights of the image encoder are trained, compute its insides again on the way back instead
            of keeping them: less memory, more time.
        compile: let `torch.compile` make the decoder's kernels, which takes minutes at the start (meant for GPUs).
    """

    steps: int
    batch_size: int
    optimizer: str
    rate: float
    weight_decay: float
    auxiliary: float
    loss_stride: int = 1
    momentum: float = 0.0
    schedule: str = "poly"
    power: float = 0.9
    warm_up: int = 0
    flip: bool = True
    zoom: float = 1.0
    jitter: float = 0.0
    absent_classes: int | None = None
    short_side: int | None = None
    tile: int | None = None
    overlap: int | None = None
    spatial: str | None = None
    templates: str | None = None
    features: str = "auto"
    features_dtype: str = "float32"
    precision: str = "float32"
    recompute: bool = False
    compile: bool = False

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        check_choice("optimizer", self.optimizer, OPTIMIZERS)
        check_choice("schedule", self.schedule, SCHEDULES)
        check_whole("warm_up", self.warm_up, 0)
        check_number("momentum", self.momentum, 0, 1)
        if self.momentum and self.optimizer != "sgd":
            raise PromptsegError(f"momentum is {self.momentum!r}: {self.optimizer} has its own; leave momentum out")
        for name in ("steps", "batch_size", "loss_stride"):
            check_whole(name, getattr(self, name))
        for name, least in (("short_side", 1), ("tile", 1), ("overlap", 0), ("absent_classes", 0)):
            if getattr(self, name) is not None:
                check_whole(name, getattr(self, name), least)
        for name in ("rate", "weight_decay", "auxiliary", "power"):
            check_number(name, getattr(self, name))
        check_number("zoom", self.zoom, 1)
        check_number("jitter", self.jitter, 0, 1)
        for name, choices in (("features", PLACES), ("features_dtype", DTYPES), ("precision", PRECISIONS)):
            check_choice(name, getattr(self, name), choices)
        for name in ("flip", "recompute", "compile"):
            check_flag(name, getattr(self, name))

    def rate_at(self, step: int) -> float:
        """The base rate of a step, from 0."""
        if step < self.warm_up:
            return WARM_UP_RATE
        done = step / self.steps
        return self.rate * ((1 - done) ** self.power if self.schedule == "poly" else (1 + math.cos(math.pi * done)) / 2)


@dataclass(frozen=True)
class Draw:
    """Which images were trained on, and how they were drawn.

    Attributes:
        ids: of the images, in the order of the draw.
        sha256: of the ids with one newline between them; computed where it is not given.
        dataset: where they were drawn from; none, as all below, where the images were given as a plain list.
        split: of that data set.
        task: what they were drawn for, as crowds count as shown for some tasks only.
        rule: of the draw, `cover` or `union`.
        k: images wanted for each class.
        seed: of the draw.
        min_frac: share of the pixels from which a class counts as shown.
        kept_out: classes whose labels were taken out of them.
        drawn: drawn images that show a class, by class.
        available: images that show it, by class.
    """

    ids: tuple[str, ...]
    sha256: str = ""
    dataset: str | None = None
    split: str | None = None
    task: str | None = None
    rule: str | None = None
    k: int | None = None
    seed: int | None = None
    min_frac: float | None = None
    kept_out: tuple[str, ...] = ()
    drawn: Mapping[str, int] = field(default_factory=dict)
    available: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse an empty draw, and ids that do not fit their checksum."""
        if not self.ids:
            raise PromptsegError("a draw without images: draw again")
        digest = hashlib.sha256("\n".join(self.ids).encode("utf-8", "surrogateescape")).hexdigest()
        if self.sha256 not in ("", digest):
            raise PromptsegError("its ids do not fit its sha256, so it was edited or damaged; draw again")
        object.__setattr__(self, "sha256", digest)

    @property
    def short(self) -> dict[str, int]:
        """The classes that fewer than `k` images show, with how many there are."""
        return {} if self.k is None else {name: count for name, count in self.available.items() if count < self.k}


@dataclass(frozen=True)
class FitRecord:
    """How prompts came about.

    Attributes:
        method: a name of `methods.registry.METHODS`.
        task: a name of `tasks.registry.TASKS`.
        preset: a name of `engine.settings.PRESETS`.
        seed: of the random start and of the order of the images.
        settings: of the fit, each at the value that was used.
        method_settings: of the method.
        task_settings: of the task.
        draw: the images.
        licence: what is known of the licence that the prompts come under.
        metrics: what was measured while fitting, by name; empty where nothing was.
        tried: what a solver chose from, each with its score; empty where nothing was solved.
    """

    method: str
    task: str
    preset: str
    seed: int
    settings: FitSettings
    method_settings: Mapping[str, Setting]
    task_settings: Mapping[str, Setting]
    draw: Draw
    licence: str
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    tried: tuple[Mapping[str, Setting], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return to_json(self)

    @staticmethod
    def from_json(content: Any, where: str) -> "FitRecord":
        """From the JSON object that `to_json` gave.

        Args:
            content: the object.
            where: what messages start with.

        Raises:
            PromptsegError: a field is missing, unknown, of another type or out of its range.
        """
        return from_json(FitRecord, content, where)

    def request(self) -> dict[str, Any]:
        """As `to_json`, what was asked for alone: a run that goes on must be of the same."""
        return {name: value for name, value in self.to_json().items() if name not in ("metrics", "tried")}
