"""The prompts a frozen model gives by itself: what zero-shot uses and what methods start from."""

from promptseg.label_space import LabelSpace
from promptseg.models.base import PromptableSegmenter
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
        PromptsegError: unknown spatial prompts or templates.
    """
    empty = Prompts(model.prompt_spec, {}, {}, label_space, model.id, model.fingerprint)
    spatial_prompts = model.default_spatial_prompts(spatial)
    return empty.updated(spatial_prompts | model.default_text_prompts(label_space.names, templates))
