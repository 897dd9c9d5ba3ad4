"""The methods by name: each has a settings dataclass and a function that builds its learner."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from promptseg.errors import unknown_name
from promptseg.learners.base import PromptLearner
from promptseg.learners.ssprompt import SSPrompt, SSPromptSettings
from promptseg.models.base import PromptableSegmenter
from promptseg.prompts import Prompts

Build = Callable[[PromptableSegmenter, Prompts, Any, int], PromptLearner]
"""From the model, its default prompts, the method's settings and the seed, to a learner."""


@dataclass(frozen=True)
class Method:
    """One way to learn prompts."""

    settings: type
    build: Build


def _fused(spatial: bool, semantic: bool) -> Method:
    def build(model: PromptableSegmenter, defaults: Prompts, settings: SSPromptSettings, seed: int) -> PromptLearner:
        return SSPrompt(defaults, settings, seed, spatial=spatial, semantic=semantic)

    return Method(SSPromptSettings, build)


METHODS: dict[str, Method] = {
    "zero-shot": _fused(spatial=False, semantic=False),
    "ssprompt": _fused(spatial=True, semantic=True),
    "spaprompt": _fused(spatial=True, semantic=False),
    "semprompt": _fused(spatial=False, semantic=True),
}
"""The methods by the name that `fit` takes."""


def find_method(name: str) -> Method:
    """The method of that name.

    Raises:
        PromptsegError: unknown name.
    """
    if name not in METHODS:
        raise unknown_name("method", name, METHODS)
    return METHODS[name]
