"""What a base lets one expect of a fit: words that it never learned, images unlike those it was trained on."""

from collections.abc import Sequence

import torch

from promptseg.data.sample import Sample
from promptseg.features.encode import image_tensor
from promptseg.models.base import PromptableSegmenter
from promptseg.models.capabilities import training_statistics, unknown_names

LOOKS = 4
"""Images that are looked at: their mean differs less than the levels do."""
NEAR, RELATED = 0.2, 0.5
"""Between the distances that were measured (docs/models.md): streets of its own kind, photos of streets, all others."""


def expectation(model: PromptableSegmenter, shots: Sequence[Sample], short_side: int | None = None) -> tuple[str, ...]:
    """What to expect of the base, in lines: none where it knows such images and names well, or cannot tell.

    Args:
        model: the base.
        shots: labelled images of one label space, at least one; the first few are encoded.
        short_side: shorter side that images are resized to, pixels; none = the model's own.
    """
    unknown = unknown_names(model, shots[0].label_space.names)
    names = f"{model.id} never learned the words {', '.join(unknown)}: what they mean has to come from the shots"
    return (*((names,) if unknown else ()), *_looks(model, shots[:LOOKS], short_side))


@torch.no_grad()
def _looks(model: PromptableSegmenter, shots: Sequence[Sample], short_side: int | None) -> tuple[str, ...]:
    statistics = training_statistics(model)
    if statistics is None:
        return ()
    images = [image_tensor(model, sample.image(), short_side) for sample in shots]
    found = statistics.distance([model.encode_image([image]) for image in images])
    if found < NEAR:
        return ()
    level = (
        "related to what it was trained on: its own answer is a start"
        if found < RELATED
        else "far from what it was trained on: its own answer is of little use, what is learned has to carry it"
    )
    return (
        f"the shots are {level} (distance {found:.2f}; below {NEAR} is its own kind, above {RELATED} nothing like it)",
        "next step, where that is not enough: a base that was trained on photos, such as --model sam2.1-hiera-tiny",
    )
