"""The prompts a frozen model gives by itself: what zero-shot uses and what methods start from."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from promptseg.errors import PromptsegError
from promptseg.label_space import LabelSpace
from promptseg.models.base import PromptableSegmenter
from promptseg.models.capabilities import unknown_names
from promptseg.prompts import Prompts


def default_prompts(
    model: PromptableSegmenter, label_space: LabelSpace, spatial: str | None = None, templates: str | None = None
) -> Prompts:
    """Everything that the model's own prompt encoders give for a list of classes, by kind.

    Args:
        model: the frozen segmenter; its prompt encoders run once, here.
        label_space: the classes.
        spatial: which of the model's own spatial prompts; None = its first choice.
        templates: which text templates; None = those that the model uses by itself.

    Raises:
        PromptsegError: unknown spatial prompts or templates, or two classes that the text encoder reads alike.
    """
    empty = Prompts(model.prompt_spec, {}, {}, label_space, model.id, model.fingerprint)
    spatial_prompts = model.default_spatial_prompts(spatial)
    text_prompts = model.default_text_prompts(label_space.names, templates)
    _check_told_apart(model.id, label_space.names, text_prompts)
    return empty.updated(spatial_prompts | text_prompts)


def _check_told_apart(model: str, names: Sequence[str], prompts: Mapping[str, Tensor]) -> None:
    """Refuse names that give equal prompts: nothing could tell the classes apart, whatever happens to the names."""
    several = [prompt for prompt in prompts.values() if prompt.ndim > 1 and len(prompt) == len(names)]
    by_class = [prompt.flatten(1).float().cpu() for prompt in several]
    rows = torch.cat(by_class, 1).numpy() if by_class else ()
    seen: dict[bytes, str] = {}
    for name, row in zip(names, (row.tobytes() for row in rows), strict=False):
        if row in seen:
            raise PromptsegError(
                f"the text encoder of {model} reads {seen[row]!r} and {name!r} alike: give the classes names of other"
                " words, or shorter ones if both begin alike"
            )
        seen[row] = name


def guessed_names(model: PromptableSegmenter, prompts: Prompts) -> tuple[str, ...]:
    """The classes whose names mean nothing to the model, and that no prompt was learned for."""
    unknown = unknown_names(model, prompts.class_names)
    if not unknown or prompts.of_role("pixel"):
        return ()
    templates = None if prompts.record is None else prompts.record.settings.templates
    own = default_prompts(model, prompts.label_space, templates=templates).rows("class")
    return unknown if torch.allclose(prompts.rows("class").to(own.device), own) else ()
