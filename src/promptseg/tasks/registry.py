"""The tasks by name."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from promptseg.errors import unknown_name
from promptseg.registry import Registry

if TYPE_CHECKING:
    from promptseg.tasks.base import Task, TaskKind

TASKS: "Registry[TaskKind]" = Registry(
    "task",
    "promptseg.tasks",
    "promptseg.tasks.base:TaskKind",
    {
        "semantic": "promptseg.tasks.semantic:TASK",
        "instance": "promptseg.tasks.instance:TASK",
        "panoptic": "promptseg.tasks.panoptic:TASK",
    },
)


def build_task(name: str, settings: Mapping[str, Any] | None = None) -> "Task[Any]":
    """The task of that name with some of its settings overridden.

    Raises:
        PromptsegError: unknown name or setting, or a value outside its range.
    """
    kind = TASKS.find(name)
    for setting in settings or ():
        if setting not in kind.setting_names:
            raise unknown_name(f"setting of the task {name}", setting, kind.setting_names)
    return kind.build(kind.settings(settings or {}))
