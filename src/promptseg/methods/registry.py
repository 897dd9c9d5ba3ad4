"""The methods by name: each has a settings dataclass and a function that builds its module."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from promptseg.errors import unknown_name
from promptseg.methods.coop import CoOp, CoOpSettings
from promptseg.methods.locn import LOCN, LOCNSettings
from promptseg.methods.module import PromptModule
from promptseg.methods.ssprompt import SSPrompt, SSPromptSettings
from promptseg.methods.vspl import VSPL, VSPLSettings
from promptseg.models.base import PromptableSegmenter
from promptseg.prompts import Prompts

Build = Callable[[PromptableSegmenter, Prompts, Any, int], PromptModule]
"""From the model, its default prompts, the method's settings and the seed, to a module."""


@dataclass(frozen=True)
class Method:
    """One way to learn prompts.

    Attributes:
        settings: its settings dataclass.
        build: makes its module.
        defaults: which default prompts it learns from, as settings of the fit that it does not leave open.
    """

    settings: type
    build: Build
    defaults: Mapping[str, str] = field(default_factory=dict)


def _fused(spatial: bool, semantic: bool) -> Method:
    def build(model: PromptableSegmenter, defaults: Prompts, settings: SSPromptSettings, seed: int) -> PromptModule:
        return SSPrompt(defaults, settings, seed, spatial=spatial, semantic=semantic)

    return Method(SSPromptSettings, build)


METHODS: dict[str, Method] = {
    "zero-shot": _fused(spatial=False, semantic=False),
    "ssprompt": _fused(spatial=True, semantic=True),
    "spaprompt": _fused(spatial=True, semantic=False),
    "semprompt": _fused(spatial=False, semantic=True),
    "coop": Method(CoOpSettings, CoOp, {"templates": "photo"}),
    "locn": Method(LOCNSettings, LOCN, {"templates": "photo"}),
    "vspl": Method(VSPLSettings, VSPL, {"spatial_kind": "grid"}),
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
