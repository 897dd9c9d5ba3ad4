"""How a fit runs: presets, and who owns a setting's name."""

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any, NamedTuple

from promptseg.data.tiles import Tiling
from promptseg.errors import PromptsegError, unknown_name
from promptseg.methods.module import Method
from promptseg.record import FitSettings
from promptseg.tasks.registry import TASKS

PRESETS: dict[str, FitSettings] = {
    # As the paper states it (section 4 and its appendix); it names no number of steps.
    "paper": FitSettings(
        steps=1000,
        batch_size=2,
        optimizer="sgd",
        rate=1e-3,
        weight_decay=1e-4,
        auxiliary=0.0,
        templates="raw",
    ),
    "tuned": FitSettings(
        steps=300,
        batch_size=2,
        optimizer="adamw",
        rate=1e-2,
        weight_decay=1e-4,
        auxiliary=0.3,
        zoom=2.0,
        jitter=0.2,
        absent_classes=16,
        loss_stride=4,  # the resolution of SEEM's masks: equal on held-out scenes, at half the time of a step
    ),
}
"""Named settings, which every task completes by its own; every field can be overridden by keyword."""


_OF_ENCODING: Mapping[str, Any] = {"zoom": 1.0, "jitter": 0.0, "recompute": False}
"""Settings that have a meaning where each step encodes its images, and what stands for them where none does."""


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

    @property
    def tiling(self) -> Tiling | None:
        """The tiles that photos are cut into; none = they are seen whole.

        Raises:
            PromptsegError: there is no such tiling.
        """
        return Tiling.of(self.fit.tile, self.fit.overlap)

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
    idle = {} if method.encodes else _OF_ENCODING
    for name, value in idle.items():
        if overrides.get(name, value) != value:
            raise PromptsegError(
                f"{name} is {overrides[name]!r}: this method encodes each image once, as it is; leave {name} out"
            )
    chosen = {name: value for name, value in overrides.items() if name in of_fit} | dict(method.defaults)
    own = method.settings(**{n: v for n, v in overrides.items() if n in of_method})
    resolved = Resolved(replace(PRESETS[preset], **{**idle, **chosen}), own, kind.settings(overrides, preset))
    Tiling.of(resolved.fit.tile, resolved.fit.overlap)
    return resolved
