"""Adapt a frozen promptable segmenter to your own classes by learning its prompts, not its weights.

The public names load what they need on first use, so `import promptseg` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from promptseg.version import __version__

if TYPE_CHECKING:
    from promptseg.data.few_shot import draw_shots
    from promptseg.data.registry import load_dataset
    from promptseg.engine.evaluate import evaluate
    from promptseg.engine.fit import fit
    from promptseg.engine.predict import Labeller, predict
    from promptseg.engine.segment import segment
    from promptseg.errors import PromptsegError
    from promptseg.models.registry import load_model
    from promptseg.prompts import Prompts

__all__ = [
    "Labeller",
    "Prompts",
    "PromptsegError",
    "__version__",
    "draw_shots",
    "evaluate",
    "fit",
    "load_dataset",
    "load_model",
    "predict",
    "segment",
]

_HOMES = {
    "Labeller": "promptseg.engine.predict",
    "Prompts": "promptseg.prompts",
    "PromptsegError": "promptseg.errors",
    "draw_shots": "promptseg.data.few_shot",
    "evaluate": "promptseg.engine.evaluate",
    "fit": "promptseg.engine.fit",
    "load_dataset": "promptseg.data.registry",
    "load_model": "promptseg.models.registry",
    "predict": "promptseg.engine.predict",
    "segment": "promptseg.engine.segment",
}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import a public name from its module when it is first asked for (PEP 562)."""
        if name not in _HOMES:
            raise AttributeError(f"module 'promptseg' has no attribute {name!r}")
        value = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
