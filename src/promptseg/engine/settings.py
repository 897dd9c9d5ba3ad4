"""How a fit runs: optimiser, schedule, loss and inputs; presets; and who owns a setting's name."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from promptseg.errors import PromptsegError, unknown_name
from promptseg.learners.registry import Method

OPTIMIZERS = ("sgd", "adamw")


@dataclass(frozen=True)
class FitSettings:
    """Everything of a fit that is neither model, data nor method.

    Attributes:
        steps: optimiser steps.
        batch_size: images per step.
        optimizer: `adamw`, or `sgd` without momentum.
        rate: base learning rate.
        weight_decay: decoupled for adamw, added to the gradient for sgd.
        loss_stride: the loss takes every so-manieth pixel each way, from the middle of its cell; 1 takes all.
        power: of the poly schedule, rate * (1 - step / steps) ** power.
        flip: mirror each drawn image with probability one half.
        loss: name of one of the task's losses.
        auxiliary: weight of the loss of each earlier head of the decoder. They place the attention of the
            next layer without a gradient from the last head, so only this teaches them where to look.
        short_side: shorter side images are resized to, pixels; none = the model's own.
        spatial_kind: which of the model's default spatial prompts are used; none = the model's first.
        templates: text templates of the default semantic prompts; none = the model's own choice.
    """

    steps: int
    batch_size: int
    optimizer: str
    rate: float
    weight_decay: float
    loss: str
    auxiliary: float
    loss_stride: int = 1
    power: float = 0.9
    flip: bool = True
    short_side: int | None = None
    spatial_kind: str | None = None
    templates: str | None = None

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
        if not isinstance(self.flip, bool):
            raise PromptsegError(f"flip is {self.flip!r}: give true or false")


PRESETS: dict[str, FitSettings] = {
    # As the paper states it (section 4 and its appendix); it names no number of steps.
    "paper": FitSettings(
        steps=1000,
        batch_size=2,
        optimizer="sgd",
        rate=1e-3,
        weight_decay=1e-4,
        loss="cross-entropy",
        auxiliary=0.0,
    ),
    "tuned": FitSettings(
        steps=300,
        batch_size=2,
        optimizer="adamw",
        rate=1e-2,
        weight_decay=1e-4,
        loss="cross-entropy+dice",
        auxiliary=0.3,
    ),
}
"""Named settings; every field can be overridden by keyword."""


def resolve(preset: str, method: Method, overrides: Mapping[str, Any]) -> tuple[FitSettings, Any]:
    """Split keyword overrides between the fit and the method, on top of a preset.

    Returns:
        The settings of the fit and those of the method (an instance of `method.settings`).

    Raises:
        PromptsegError: unknown preset or setting, a value outside its range, or one that the method does not leave
            open.
    """
    if preset not in PRESETS:
        raise unknown_name("preset", preset, PRESETS)
    of_fit = {field.name for field in fields(FitSettings)}
    of_method = {field.name for field in fields(method.settings)}
    for name in overrides:
        if name not in of_fit | of_method:
            raise unknown_name("setting", name, of_fit | of_method)
    for name, value in method.defaults.items():
        if overrides.get(name, value) != value:
            raise PromptsegError(f"{name} is {overrides[name]!r}: this method learns from {value!r}; leave {name} out")
    chosen = {name: value for name, value in overrides.items() if name in of_fit} | dict(method.defaults)
    settings = replace(PRESETS[preset], **chosen)
    return settings, method.settings(**{n: v for n, v in overrides.items() if n in of_method})


def settings_json(settings: FitSettings, method_settings: Any) -> dict[str, Any]:
    """Both settings as one JSON object."""
    return asdict(settings) | asdict(method_settings)
