"""What some models can do beyond `PromptableSegmenter`: small protocols, and how to ask a model for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor

from promptseg.errors import PromptsegError
from promptseg.models.base import ImageFeatures, Prediction, PromptableSegmenter, Upsampling
from promptseg.models.evidence import DenseMap
from promptseg.models.templates import unknown_among
from promptseg.models.weights import Weight
from promptseg.prompts import Prompts

Place = tuple[float, float]
"""x and y, in pixels."""
Box = tuple[float, float, float, float]
"""x and y of the top left corner, x and y of the bottom right one, in pixels."""


@dataclass(frozen=True, eq=False)
class EmbeddedTexts:
    """T texts as word embeddings, ready for the text encoder.

    Attributes:
        words: (T, L, W), the begin marker first, without positions.
        ends: (T,) int64, the place of each text's end marker; what follows it has no influence.
    """

    words: Tensor
    ends: Tensor


class WordLevelText(Protocol):
    """Optional: a text encoder that can be entered at the word embeddings."""

    @property
    def text_kinds(self) -> frozenset[str]:
        """The learnable kinds that `encode_embedded` gives."""

    def embed_texts(self, texts: Sequence[str]) -> EmbeddedTexts:
        """The frozen word embeddings of texts, as they are, without a template."""

    def encode_embedded(self, texts: EmbeddedTexts) -> dict[str, Tensor]:
        """The kinds that one text gives for each class, (T, D), as `default_text_prompts`; differentiable in the words.

        Raises:
            PromptsegError: a text is longer than the encoder reads.
        """


class PointPrompts(Protocol):
    """Optional: a spatial prompt encoder that turns points into spatial prompts; its choice `grid` is made so."""

    @property
    def point_kind(self) -> str:
        """The kind that points become."""

    def default_points(self) -> Tensor:
        """The points (N, 2) behind the default prompts: x and y in [0, 1] of width and height."""

    def encode_points(self, points: Tensor) -> Tensor:
        """Spatial prompts (N, D) of points (N, 2); differentiable."""


def point_grid(side: int, device: torch.device) -> Tensor:
    """Points (side * side, 2) of a square grid, x and y in [0, 1], row by row, each in the middle of its cell."""
    middles = (torch.arange(side, device=device) + 0.5) / side
    rows, columns = torch.meshgrid(middles, middles, indexing="ij")
    return torch.stack((columns, rows), dim=2).flatten(0, 1)


@dataclass(frozen=True, eq=False)
class ObjectPrompt:
    """One object of one image: pointed at, named, or both.

    Places are (x, y) in pixels of the encoded image, from its top left corner.

    Attributes:
        text: a phrase, as it is, without a template.
        points: places on the object.
        negative: places that are not on it.
        boxes: (x0, y0, x1, y1), corners of boxes around it, or around its parts.
        strokes: lines on it, each a list of places.
        previous: (1, 1, h, w), mask logits of the round before, at the decoder's own stride.
    """

    text: str | None = None
    points: tuple[Place, ...] = ()
    negative: tuple[Place, ...] = ()
    boxes: tuple[Box, ...] = ()
    strokes: tuple[tuple[Place, ...], ...] = ()
    previous: Tensor | None = None


class InteractivePrompts(Protocol):
    """Optional: a model that finds one object that is pointed at or named, instead of a list of classes."""

    @property
    def object_prompts(self) -> tuple[str, ...]:
        """The fields of `ObjectPrompt` that the model takes."""

    def segment(self, features: ImageFeatures, prompt: ObjectPrompt, seed: int = 0) -> Prediction:
        """The mask of the object, computed without gradient: N = 1, and no class but the background column.

        Args:
            features: of one image.
            prompt: fields that are set are among `object_prompts`.
            seed: of whatever the model draws on the way.
        """


def interactive_prompts(model: PromptableSegmenter) -> InteractivePrompts:
    """The model's way to find one object.

    Raises:
        PromptsegError: it has none.
    """
    if not (hasattr(model, "segment") and hasattr(model, "object_prompts")):
        raise PromptsegError(f"{model.id} does not take points, boxes or phrases: choose another model")
    return cast(InteractivePrompts, model)


class DenseMaps(Protocol):
    """Optional: dense maps of an image that no prompt enters, for pixel prompts."""

    @property
    def dense_map_specs(self) -> tuple[DenseMap, ...]:
        """The maps, in their order."""

    def dense_maps(self, features: ImageFeatures) -> tuple[Tensor, ...]:
        """The maps of B encoded images, each (B, D_l, h, w) over the whole canvas."""


class PreparedFeatures(Protocol):
    """Optional: a decoder that can work out in advance what no prompt has a part in: more memory, less work."""

    def prepare(self, features: ImageFeatures) -> ImageFeatures:
        """Features that `decode` takes in place of the given ones; differentiable in them."""


class MaskMaps(Protocol):
    """Optional: a decoder whose mask logits are products with maps; samples of the maps give samples of the masks."""

    def mask_maps(self, features: ImageFeatures) -> tuple[Tensor, Upsampling]:
        """The maps (B, M, h, w), and how masks are enlarged."""

    def with_mask_maps(self, features: ImageFeatures, last: Tensor, earlier: Tensor | None) -> ImageFeatures:
        """Prepared features with other maps.

        Args:
            features: prepared.
            last: those that the last head's masks are products with.
            earlier: those of all heads before it, none where they are not asked.
        """


class DecoderStates(Protocol):
    """Optional: a decoder that hears of classes at its very end only.

    While only these are learned, what comes before is the same at every step and computed once.
    """

    @property
    def late_kinds(self) -> frozenset[str]:
        """The kinds of prompts that it hears of at its very end only."""

    def decoder_states(self, features: ImageFeatures, prompts: Prompts, all_heads: bool) -> ImageFeatures:
        """What the decoder makes of images and spatial prompts, of all heads or of the last one alone."""

    def classify(self, states: ImageFeatures, prompts: Prompts) -> list[Prediction]:
        """The answers to semantic prompts, head by head, that of `decode` last; differentiable in them."""


class ChangeableWeights(Protocol):
    """Optional: a model that gives views of itself with other weights in some places, and stays as it is."""

    def weights(self) -> Sequence[Weight]:
        """Those that can be changed: what images go through, and the decoder; not what makes prompts."""

    def with_changes(self, changes: Mapping[str, Tensor], recompute: bool = False) -> PromptableSegmenter:
        """The model with changed weights (models/weights.py), differentiable in them from `encode_image` on.

        Args:
            changes: by name.
            recompute: keep less of the image encoder for the way back, and compute it again there.

        Raises:
            PromptsegError: a change of a weight that is not there, or of another shape.
        """


def changeable_weights(model: PromptableSegmenter) -> ChangeableWeights:
    """The model's way to change weights in a view of it.

    Raises:
        PromptsegError: it has none.
    """
    if not (hasattr(model, "weights") and hasattr(model, "with_changes")):
        raise PromptsegError(f"{model.id} offers no weights to change: choose a method that leaves them alone")
    return cast(ChangeableWeights, model)


def prepared_features(model: PromptableSegmenter) -> PreparedFeatures | None:
    """The model's way to prepare features; none if it has none."""
    return cast(PreparedFeatures, model) if hasattr(model, "prepare") else None


def mask_maps(model: PromptableSegmenter) -> MaskMaps | None:
    """The maps that the model's masks are products with; none if they are something else."""
    return cast(MaskMaps, model) if hasattr(model, "mask_maps") else None


def decoder_states(model: PromptableSegmenter) -> DecoderStates | None:
    """The model's way to classify states of its decoder; none if it has none."""
    has_it = hasattr(model, "decoder_states") and hasattr(model, "classify")
    return cast(DecoderStates, model) if has_it else None


def decodes_classes_apart(model: PromptableSegmenter) -> bool:
    """Whether the decoder runs once for each class, so that no class's answer depends on the others.

    Such a model says so in its attribute `classes_apart`: it decodes some of the classes at a part of the cost of all.
    """
    return bool(getattr(model, "classes_apart", False))


def word_level_text(model: PromptableSegmenter) -> WordLevelText:
    """The model's way in at the word embeddings.

    Raises:
        PromptsegError: it has none.
    """
    if not (hasattr(model, "embed_texts") and hasattr(model, "encode_embedded")):
        raise PromptsegError(f"{model.id} has no way in at its word embeddings: choose a method that needs none")
    return cast(WordLevelText, model)


def point_prompts(model: PromptableSegmenter) -> PointPrompts:
    """The model's encoder of points.

    Raises:
        PromptsegError: it has none.
    """
    if not (hasattr(model, "default_points") and hasattr(model, "encode_points")):
        raise PromptsegError(f"{model.id} does not encode points: choose a method that needs none")
    return cast(PointPrompts, model)


def dense_maps(model: PromptableSegmenter) -> DenseMaps:
    """The model's dense maps.

    Raises:
        PromptsegError: it offers none.
    """
    if not (hasattr(model, "dense_map_specs") and hasattr(model, "dense_maps")):
        raise PromptsegError(f"{model.id} offers no dense maps for pixel prompts: choose another method")
    return cast(DenseMaps, model)


def unknown_names(model: PromptableSegmenter, names: Sequence[str]) -> tuple[str, ...]:
    """The class names that mean nothing to a model of few words, which says in its attribute `words` what they are."""
    return unknown_among(getattr(model, "words", None), names)


class TrainingStatistics(Protocol):
    """Optional, as the attribute `statistics`: what the images that a model was trained on are like."""

    def distance(self, features: Sequence[ImageFeatures]) -> float:
        """How far images are from them, 0 or more."""


def training_statistics(model: PromptableSegmenter) -> TrainingStatistics | None:
    """What the model remembers of the images it was trained on; none if it remembers nothing."""
    found: TrainingStatistics | None = getattr(model, "statistics", None)
    return found
