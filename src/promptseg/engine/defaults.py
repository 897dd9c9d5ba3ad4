"""The prompts a frozen model gives by itself: what zero-shot uses and what methods start from."""

from promptseg.label_space import LabelSpace
from promptseg.models.base import PromptableSegmenter
from promptseg.prompts import Prompts


def default_prompts(
    model: PromptableSegmenter, label_space: LabelSpace, spatial_kind: str | None = None, templates: str | None = None
) -> Prompts:
    """Default spatial prompts (N, D), and the text embeddings (C, D) of the class names.

    Args:
        model: the frozen segmenter; its prompt encoders run once, here.
        label_space: the classes.
        spatial_kind: which of the model's default spatial prompts; None = the first.
        templates: which text templates; None = those that the model uses by itself.

    Raises:
        PromptsegError: unknown kind or templates.
    """
    kind = spatial_kind or model.spatial_kinds[0]
    return Prompts(
        spatial=model.default_spatial_prompts(kind),
        semantic=model.encode_text(label_space.names, templates),
        background=model.background_prompt(templates),
        class_names=label_space.names,
        model_id=model.id,
        model_fingerprint=model.fingerprint,
        spatial_kind=kind,
        record={"label_space": label_space.to_json()},
    )
