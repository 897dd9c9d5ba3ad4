"""The tasks by name."""

from collections.abc import Callable
from typing import Any

from promptseg.errors import unknown_name
from promptseg.tasks.base import Task
from promptseg.tasks.semantic import SemanticTask

TASKS: dict[str, Callable[..., Task[Any]]] = {"semantic": SemanticTask}
"""From a task's name to what builds it, given the name of its loss if another than its default is wanted."""


def build_task(name: str, loss: str | None = None) -> Task[Any]:
    """The task of that name; `loss` matters only to those who train.

    Raises:
        PromptsegError: unknown name.
    """
    if name not in TASKS:
        raise unknown_name("task", name, TASKS)
    return TASKS[name]() if loss is None else TASKS[name](loss)
