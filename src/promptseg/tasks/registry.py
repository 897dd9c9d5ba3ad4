"""The tasks by name: each has settings, with values for each preset, and a function that builds it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from promptseg.errors import unknown_name
from promptseg.tasks import instance, panoptic, semantic
from promptseg.tasks.base import Columns, Task


@dataclass(frozen=True)
class TaskKind:
    """One task.

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


TASKS: dict[str, TaskKind] = {
    "semantic": TaskKind(semantic.SemanticTask, semantic.PRESETS, semantic.COLUMNS),
    "instance": TaskKind(instance.InstanceTask, instance.PRESETS, instance.COLUMNS),
    "panoptic": TaskKind(panoptic.PanopticTask, panoptic.PRESETS, panoptic.COLUMNS),
}
"""The tasks by the name that `fit` takes."""


def find_task(name: str) -> TaskKind:
    """The task of that name.

    Raises:
        PromptsegError: unknown name.
    """
    if name not in TASKS:
        raise unknown_name("task", name, TASKS)
    return TASKS[name]


def build_task(name: str, settings: Mapping[str, Any] | None = None) -> Task[Any]:
    """The task of that name with some of its settings overridden.

    Raises:
        PromptsegError: unknown name or setting, or a value outside its range.
    """
    kind = find_task(name)
    for setting in settings or ():
        if setting not in kind.setting_names:
            raise unknown_name(f"setting of the task {name}", setting, kind.setting_names)
    return kind.build(kind.settings(settings or {}))
