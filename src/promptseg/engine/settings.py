"""How a fit runs: optimiser, schedule and inputs; presets; and who owns a setting's name."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, NamedTuple

from promptseg.errors import PromptsegError, unknown_name
from promptseg.features.features_cache import DTYPES, PLACES
from promptseg.methods.registry import Method
from promptseg.tasks.registry import TASKS

OPTIMIZERS = ("sgd", "adamw")
PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class FitSettings:
    """Everything of a fit that is neither model, data, method nor task.

    Attributes:
        steps: optimiser steps.
        batch_size: images per step.
        optimizer: `adamw`, or `sgd` without momentum.
        rate: base learning rate.
        weight_decay: decoupled for adamw, added to the gradient for sgd.
        loss_stride: the loss takes every so-manieth pixel each way, from the middle of its cell; 1 takes all.
        power: of the poly schedule, rate * (1 - step / steps) ** power.
        flip: mirror each drawn image with probability one half.
        auxiliary: weight of the loss of each earlier head of the decoder. They place the attention of the
            next layer without a gradient from the last head, so only this teaches them where to look.
        short_side: shorter side images are resized to, pixels; none = the model's own.
        spatial_kind: which of the model's default spatial prompts are used; none = the model's first.
        templates: text templates of the default semantic prompts; none = the model's own choice.
        features: where image features are kept: `auto` (where there is room), `gpu`, `memory`, `disk` or `none`.
        features_dtype: numbers they are kept as: `float32` (exact), `bfloat16` or `float16` (half the room).
        precision: numbers the decoder computes in: `float32`, or `bfloat16` where it may (autocast; meant for GPUs).
        compile: let `torch.compile` make the decoder's kernels, which takes minutes at the start (meant for GPUs).
    """

    steps: int
    batch_size: int
    optimizer: str
    rate: float
    weight_decay: float
    auxiliary: float
    loss_stride: int = 1
    power: float = 0.9
    flip: bool = True
    short_side: int | None = None
    spatial_kind: str | None = None
    templates: str | None = None
    features: str = "auto"
    features_dtype: str = "float32"
    precision: str = "float32"
    compile: bool = False

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        if self.optimizer not in OPTIMIZERS:
            raise unknown_name("optimizer", str(self.optimizer), OPTIMIZERS)
        for name in ("steps", "batch_size", "short_side", "loss_stride"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise PromptsegError(f"{name} is {value!r}: give a whole number of at least 1")
        for name in ("rate", "weight_decay", "auxiliary", "power"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
                raise PromptsegError(f"{name} is {value!r}: give a number of at least 0")
        for name, choices in (("features", PLACES), ("features_dtype", DTYPES), ("precision", PRECISIONS)):
            if getattr(self, name) not in choices:
                raise unknown_name(name, str(getattr(self, name)), choices)
        for name in ("flip", "compile"):
            if not isinstance(getattr(self, name), bool):
                raise PromptsegError(f"{name} is {getattr(self, name)!r}: give true or false")


PRESETS: dict[str, FitSettings] = {
    # As the paper states it (section 4 and its appendix); it names no number of steps.
    "paper": FitSettings(
        steps=1000,
        batch_size=2,
        optimizer="sgd",
        rate=1e-3,
        weight_decay=1e-4,
        auxiliary=0.0,
    ),
    "tuned": FitSettings(
        steps=300,
        batch_size=2,
        optimizer="adamw",
        rate=1e-2,
        weight_decay=1e-4,
        auxiliary=0.3,
    ),
}
"""Named settings, which every task completes by its own; every field can be overridden by keyword."""


class Resolved(NamedTuple):
    """Settings of a fit, by owner.

    Attributes:
        fit: steps, optimiser and the like.
        method: an instance of the method's settings.
        task: an instance of the task's settings.
    """

    fit: FitSettings
    method: Any
    task: Any

    def to_json(self) -> dict[str, Any]:
        """All settings as one JSON object."""
        return asdict(self.fit) | asdict(self.method) | asdict(self.task)


def resolve(preset: str, method: Method, overrides: Mapping[str, Any], task: str = "semantic") -> Resolved:
    """Split keyword overrides between fit, method and task, on top of a preset.

    Raises:
        PromptsegError: unknown preset, task or setting, a value outside its range, or one that the method does not
            leave open.
    """
    if preset not in PRESETS:
        raise unknown_name("preset", preset, PRESETS)
    kind = TASKS.find(task)
    of_fit = {field.name for field in fields(FitSettings)}
    of_method = {field.name for field in fields(method.settings)}
    for name in overrides:
        if name not in (known := {*of_fit, *of_method, *kind.setting_names}):
            raise unknown_name("setting", name, known)
    for name, value in method.defaults.items():
        if overrides.get(name, value) != value:
            raise PromptsegError(f"{name} is {overrides[name]!r}: this method learns from {value!r}; leave {name} out")
    chosen = {name: value for name, value in overrides.items() if name in of_fit} | dict(method.defaults)
    own = method.settings(**{n: v for n, v in overrides.items() if n in of_method})
    return Resolved(replace(PRESETS[preset], **chosen), own, kind.settings(overrides, preset))
