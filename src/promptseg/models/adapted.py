"""The model that prompts are for: the frozen one, or views of it with the weights that stand beside the prompts."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from promptseg.models.base import PromptableSegmenter
from promptseg.models.capabilities import changeable_weights
from promptseg.models.weights import weight_of
from promptseg.prompts import Prompts


@dataclass(frozen=True, eq=False)
class Adapted:
    """What encodes images for prompts, what decodes them, and the prompts as the decoder takes them.

    Attributes:
        encoder: the frozen model itself where no weight of its image encoder is changed, so that features are shared.
        decoder: likewise, where none is changed at all.
        prompts: without the changed weights.
    """

    encoder: PromptableSegmenter
    decoder: PromptableSegmenter
    prompts: Prompts


def adapted(model: PromptableSegmenter, prompts: Prompts, recompute: bool = False) -> Adapted:
    """The model as `prompts` want it; differentiable in their kinds and changed weights.

    Args:
        model: frozen; it stays as it is.
        prompts: on its device.
        recompute: see `ChangeableWeights.with_changes`.

    Raises:
        PromptsegError: changed weights that the model does not offer.
    """
    if not prompts.weights:
        return Adapted(model, model, prompts)
    view = changeable_weights(model).with_changes(prompts.weights, recompute)
    encoder = view if changes_encoder(model, prompts.weights) else model
    return Adapted(encoder, view, replace(prompts, weights={}))


def changes_encoder(model: PromptableSegmenter, changes: Iterable[str]) -> bool:
    """Whether changes of weights, by name, reach the image encoder, so that images are encoded anew at every step.

    Raises:
        PromptsegError: there are some, and the model offers none.
    """
    names = {weight_of(name) for name in changes}
    return bool(names) and any(w.part == "encoder" and w.name in names for w in changeable_weights(model).weights())
