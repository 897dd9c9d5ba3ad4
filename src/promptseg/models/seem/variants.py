"""What the published versions of the network do differently from each other, weights apart."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from promptseg.errors import unknown_name
from promptseg.models.base import Upsampling

SeesWhom = Mapping[str, tuple[str, ...]]
"""For each group of rows of the decoder, the groups that it looks at in self-attention."""

_APART: SeesWhom = {
    "object": ("object",),
    "grounding": ("grounding", "grounding_tokens"),
    "spatial": ("spatial", "spatial_tokens", "memories"),
    "memories": ("memories",),
    "grounding_tokens": ("grounding", "grounding_tokens"),
    "spatial_tokens": ("spatial_tokens",),
}
_SHARED: SeesWhom = {
    "object": ("object", "grounding_tokens", "spatial_tokens"),
    "grounding_tokens": ("object", "grounding_tokens"),
    "spatial_tokens": ("spatial_tokens",),
}


@dataclass(frozen=True)
class Variant:
    """One version.

    Attributes:
        name: what a config calls it.
        sees_whom: which rows see which where prompts are rows of the decoder; None where no row sees a prompt, and
            prompts choose among the masks of the object queries.
        own_rows: prompts are answered by copies of object queries and remember the round before; else the object
            queries themselves answer.
        draws_queries: what is pointed at is answered by a few queries drawn for each object, which see no other
            object's rows; else by all.
        no_points: stands for the mean of the mask features at an object's points where it has none.
        captioner: the last query sums up the image and keeps apart from the others, masks are resized bicubically
            with antialias, and parameters of a captioner stand in for those of prompts that point.
        training_weights: checkpoints carry the class weights of the training loss.
    """

    name: str
    sees_whom: SeesWhom | None = field(hash=False)
    own_rows: bool = False
    draws_queries: bool = False
    no_points: float = 0.0
    captioner: bool = False
    training_weights: bool = True

    @property
    def upsampling(self) -> Upsampling:
        """How masks are resized: `bilinear`, or `bicubic` with antialias."""
        return "bicubic" if self.captioner else "bilinear"

    def listening(self) -> SeesWhom | None:
        """`sees_whom` where what is pointed at is named too, so that its rows see the phrase.

        For rows of their own that is the official switch STROKE_SAMPLER.EVAL.GROUNDING; shared rows see it anyway.
        """
        if self.sees_whom is None or not self.own_rows:
            return self.sees_whom
        return {**self.sees_whom, "spatial": (*self.sees_whom["spatial"], "grounding_tokens")}


V1 = Variant("v1", _APART, own_rows=True, draws_queries=True, no_points=-1.0)
V0 = Variant("v0", _APART, own_rows=True)
DEMO = Variant("demo", _SHARED, training_weights=False)
CLASSES_ONLY = Variant("classes-only", None)
"""SEEM v1 whose weights were trained on classes alone, and never on a prompt in the decoder."""
X_DECODER = Variant("x-decoder", None, captioner=True)

VARIANTS: dict[str, Variant] = {variant.name: variant for variant in (V1, V0, DEMO, CLASSES_ONLY, X_DECODER)}
"""All of them by name."""


def find_variant(name: str) -> Variant:
    """The variant of that name.

    Raises:
        PromptsegError: unknown name.
    """
    if name not in VARIANTS:
        raise unknown_name("variant of SEEM", name, VARIANTS)
    return VARIANTS[name]
