"""`SeemSegmenter`: a frozen SEEM network behind the interface of models/base.py."""

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isqrt
from typing import Self

import torch
from torch import Tensor, nn

from promptseg.checks import check_choice
from promptseg.models.base import UNKNOWN_LICENCE, ImageFeatures, Prediction, Resampling, Size, Upsampling
from promptseg.models.capabilities import ObjectPrompt, point_grid
from promptseg.models.evidence import DenseMap, Evidence, has_pixel_prompts, pixel_kinds
from promptseg.models.images import image_sizes, long_side_size, normalised, short_side_size
from promptseg.models.seem.backbones.common import PIXEL_MEAN, PIXEL_STD, STRIDES
from promptseg.models.seem.backbones.efficientnet import FrozenNorm
from promptseg.models.seem.network.attention import axis_code
from promptseg.models.seem.network.features import (
    DecoderStates,
    PreparedFeatures,
    SeemFeatures,
    SeemFeaturesWithBackbone,
)
from promptseg.models.seem.network.seem_network import HeadOutputs, SeemNetwork
from promptseg.models.seem.pointing.one_object import find_object, object_prompts
from promptseg.models.seem.texts import SeemTexts
from promptseg.models.seem.training import Statistics, Training
from promptseg.models.tokenizer import Tokenizer
from promptseg.models.weights import (
    Part,
    Weight,
    changed_fingerprint,
    changed_network,
    check_changes,
    module_weights,
)
from promptseg.prompts import PromptKind, Prompts, PromptSpec

SPATIAL_CHOICES = ("queries", "grid", "both")
MOST_ENLARGED = 2
"""Larger still costs more than it brings (docs/models.md has the figures)."""
MAPS = ("decoder", "all")
"""Dense maps for pixel prompts: those of the pixel decoder, or these and those of the backbone."""
_NORMS = (nn.LayerNorm, nn.GroupNorm, FrozenNorm)
_RECOMPUTED = re.compile(r"backbone\.(.+\.)?_?blocks\.\d+")
_ENCODER = ("backbone.", "sem_seg_head.pixel_decoder.")
_DECODER = "sem_seg_head.predictor."
_DECODER_PARTS = (
    *("class_embed", "level_embed", "query_embed", "decoder_norm", "mask_embed", "transformer_"),
    "lang_encoder.logit_scale",
)
"""What `decode` goes through; the queries' contents and what the text encoder makes of names are prompts."""


class SeemSegmenter(SeemTexts):
    """SEEM as a `PromptableSegmenter`.

    Spatial prompts replace the first N <= `num_prompts` object queries; the rows after them, the last
    one always, stay the network's own and answer too. Kind `spatial` are the queries' contents, that is
    their start states, kind `position` their position terms; what is absent stays the network's own.

    Attributes:
        licence: of the weights, as far as it is known.
        maps: which dense maps it offers to pixel prompts, one of `MAPS`; by default what the backbone says.
        resampling: how photos are resized for it; by default what its config says.
        training: what is known of it.
    """

    def __init__(
        self,
        network: SeemNetwork,
        tokenizer: Tokenizer | None,
        model_id: str,
        licence: str = UNKNOWN_LICENCE,
        maps: str | None = None,
        resampling: Resampling | None = None,
        training: Training | None = None,
    ) -> None:
        super().__init__(network, tokenizer, model_id)
        self.licence, self.training = licence, training or Training()
        self.maps = maps or MAPS[self.config.backbone.OFFERED]
        self.resampling: Resampling = resampling or self.config.resampling

    @property
    def words(self) -> tuple[str, ...] | None:
        """The names its text encoder was taught; None where it reads any text."""
        return self.training.words

    @property
    def statistics(self) -> Statistics | None:
        """What the images it was trained on are like, where that was kept."""
        return self.training.statistics

    def input_size(self, size: Size, short_side: int | None = None) -> Size:
        """`size` scaled so that its shorter side is `short_side`, or as large as fits.

        By default it is the model's own, but small images are enlarged at most `MOST_ENLARGED` times.
        """
        own = min(self.config.short_side, MOST_ENLARGED * min(size))
        scaled, largest = short_side_size(size, short_side or own), self.config.backbone.fixed_canvas
        return long_side_size(size, largest) if largest is not None and max(scaled) > largest else scaled

    @property
    def prompt_spec(self) -> PromptSpec:
        """`spatial` and `position` of the queries, `semantic` and `background` texts, and pixel prompts."""
        return (
            PromptKind("spatial", "mask", self.dim, self.num_prompts, optional=True),
            PromptKind("position", "mask", self.dim, self.num_prompts, optional=True),
            PromptKind("semantic", "class", self.config.text_dim),
            PromptKind("background", "void", self.config.text_dim),
            *pixel_kinds(self.dense_map_specs),
        )

    @property
    def spatial_choices(self) -> tuple[str, ...]:
        """`queries`: their contents; `grid`: their positions, on a grid of points; `both`: both as they are."""
        return SPATIAL_CHOICES

    @property
    def num_prompts(self) -> int:
        """Most spatial prompts that can be given: every object query but the last."""
        return self.config.num_queries - 1

    @property
    def dim(self) -> int:
        """Length D of a spatial prompt."""
        return self.config.hidden_dim

    def parameter_tensors(self) -> dict[str, Tensor]:
        """All weights by official name (the live tensors, not copies)."""
        return dict(self.network.named_parameters())

    @property
    def features_type(self) -> type[SeemFeatures]:
        """What `encode_image` gives."""
        return SeemFeatures if self.maps == MAPS[0] else SeemFeaturesWithBackbone

    @property
    def dense_map_specs(self) -> tuple[DenseMap, ...]:
        """Mask features and the pixel decoder's levels; with `maps` `all` those of the backbone too."""
        config = self.config
        specs = [DenseMap("mask features", STRIDES[0], config.mask_dim)]
        specs += [DenseMap(f"level {stride}", stride, config.hidden_dim) for stride in STRIDES[:0:-1]]
        if self.maps == "all":
            specs += [DenseMap(f"backbone {stride}", stride, dim) for stride, dim in config.backbone.maps]
        return tuple(specs)

    def dense_maps(self, features: ImageFeatures) -> tuple[Tensor, ...]:
        """The maps of `dense_map_specs`, each (B, D_l, h, w)."""
        assert isinstance(features, self.features_type), "features of this model, not prepared"
        backbone = features.backbone if isinstance(features, SeemFeaturesWithBackbone) else ()
        return (features.mask_features, *features.levels, *backbone)

    def weights(self) -> list[Weight]:
        """All of backbone, pixel decoder and decoder but the queries' contents, which are prompts."""
        return module_weights(self.network, _part_of, _NORMS)

    def with_changes(self, changes: Mapping[str, Tensor], recompute: bool = False) -> Self:
        """A view with changed weights; `recompute` keeps the inputs of the backbone's blocks alone.

        Raises:
            PromptsegError: a change of a weight that is not there, or of another shape.
        """
        check_changes({weight.name: weight for weight in self.weights()}, changes, self.id)
        view = copy.copy(self)
        view.network = changed_network(self.network, changes, _RECOMPUTED if recompute else None)
        view.fingerprint = changed_fingerprint(self.fingerprint, changes)
        return view

    def encode_image(self, images: Sequence[Tensor] | Tensor) -> SeemFeatures:
        """Features of B images (3, H, W), RGB, 0..255, any dtype; smaller ones are padded right and below.

        No weight of the frozen model asks for a gradient, so there is none; a view follows that of its changes.

        Raises:
            PromptsegError: no image, or one that is not (3, H, W).
        """
        sizes = image_sizes(images)
        canvas = self.config.canvas(*(max(sides) for sides in zip(*sizes, strict=True)))
        batch = torch.stack([self._padded(image, canvas) for image in images])
        return self.network.encode(batch, sizes, keep_backbone=self.maps == "all")

    def _padded(self, image: Tensor, canvas: Size) -> Tensor:
        return normalised(image.to(self.device, torch.float32), PIXEL_MEAN, PIXEL_STD, canvas)

    def default_spatial_prompts(self, choice: str | None = None) -> dict[str, Tensor]:
        """Default spatial prompts by kind, each (N, D).

        `queries`: `spatial`, N = `num_prompts` start states. `grid`: `position`, the terms of the largest square
        grid of points that fits (10 x 10 for 100). `both`: `spatial` and `position`, N = `num_prompts` of each.

        Raises:
            PromptsegError: unknown choice.
        """
        choice = choice or SPATIAL_CHOICES[0]
        check_choice("spatial", choice, SPATIAL_CHOICES)
        if choice == "grid":
            return {"position": self.encode_points(self.default_points())}
        decoder = self.network.decoder
        weights = {"spatial": decoder.query_feat.weight, "position": decoder.query_embed.weight}
        chosen = ("spatial", "position") if choice == "both" else ("spatial",)
        return {kind: weights[kind][: self.num_prompts].detach().clone() for kind in chosen}

    @property
    def point_kind(self) -> str:
        """`position`."""
        return "position"

    def default_points(self) -> Tensor:
        """The points (N, 2) of `grid`, x and y in [0, 1], row by row, each in the middle of its cell."""
        return point_grid(isqrt(self.num_prompts), self.device)

    def encode_points(self, points: Tensor) -> Tensor:
        """Sine codes (N, D) of points (N, 2), x and y in [0, 1]; differentiable. The half of y comes first."""
        half = self.dim // 2
        return torch.cat((axis_code(points[:, 1], half), axis_code(points[:, 0], half)), dim=1)

    def decode(self, features: ImageFeatures, prompts: Prompts) -> Prediction:
        """Masks and classes of all object queries, the prompted ones first.

        Raises:
            PromptsegError: prompts of a kind or shape that this model does not take.
        """
        return self._answers(features, prompts, all_heads=False)[-1]

    def decode_all(self, features: ImageFeatures, prompts: Prompts) -> list[Prediction]:
        """As `decode`, from every head: before the first layer, and after each.

        Raises:
            PromptsegError: as `decode`.
        """
        return self._answers(features, prompts, all_heads=True)

    def _answers(self, features: ImageFeatures, prompts: Prompts, all_heads: bool) -> list[Prediction]:
        heads = self.classify(self.decoder_states(features, prompts, all_heads), prompts)
        if not has_pixel_prompts(prompts):
            return heads
        evidence = Evidence.of(self.dense_map_specs, self.dense_maps(features), prompts)
        return [replace(head, evidence=evidence) for head in heads]

    def _prediction(self, outputs: HeadOutputs, features: ImageFeatures) -> Prediction:
        return Prediction(
            outputs.class_logits,
            outputs.mask_logits,
            features.canvas,
            features.image_sizes,
            self.config.variant.upsampling,
        )

    @property
    def object_prompts(self) -> tuple[str, ...]:
        """The fields of `ObjectPrompt` that the model takes."""
        return object_prompts(self.config.variant)

    @torch.no_grad()
    def segment(self, features: ImageFeatures, prompt: ObjectPrompt, seed: int = 0) -> Prediction:
        """The mask of one object that is pointed at or named (see pointing/one_object.py).

        Raises:
            PromptsegError: a phrase, but no tokenizer.
        """
        assert isinstance(features, SeemFeatures), "features of this model, not prepared"
        ids = None if prompt.text is None else self._token_ids([prompt.text])
        masks = find_object(self.network, features, prompt, ids, seed)
        return self._prediction(HeadOutputs(masks.new_zeros(1, 1, 1), masks), features)

    def prepare(self, features: ImageFeatures) -> PreparedFeatures:
        """The maps of the three levels replaced by the keys and values that each decoder layer makes of them."""
        assert isinstance(features, SeemFeatures), "features of this model"
        return self.network.decoder.prepare(features)

    def mask_maps(self, features: ImageFeatures) -> tuple[Tensor, Upsampling]:
        """The mask features, (B, M, H / 4, W / 4), and how masks are enlarged."""
        assert isinstance(features, SeemFeatures | PreparedFeatures), "features of this model"
        return features.mask_features, self.config.variant.upsampling

    def with_mask_maps(self, features: ImageFeatures, last: Tensor, earlier: Tensor | None) -> PreparedFeatures:
        """The same with other mask features; where the decoder looks does not depend on them."""
        assert isinstance(features, PreparedFeatures), "prepared features"
        return replace(features, mask_features=last, earlier=() if earlier is None else (earlier,))

    @property
    def late_kinds(self) -> frozenset[str]:
        """`semantic` and `background`."""
        return frozenset({"semantic", "background"})

    def decoder_states(self, features: ImageFeatures, prompts: Prompts, all_heads: bool) -> DecoderStates:
        """Captions and masks of the object queries, head by head.

        The class embeddings have no part in them: they are compared with the captions at the very end.

        Raises:
            PromptsegError: as `decode`.
        """
        prompts.check(self.prompt_spec, self.id)
        assert isinstance(features, SeemFeatures | PreparedFeatures), "features of this model"
        return self.network.states(features, *self._queries(prompts), all_heads)

    def classify(self, states: ImageFeatures, prompts: Prompts) -> list[Prediction]:
        """The answers of the heads in `states` to the semantic prompts."""
        assert isinstance(states, DecoderStates), "states of this model's decoder"
        text = torch.cat((prompts.kinds["semantic"], prompts.kinds["background"]))
        return [self._prediction(outputs, states) for outputs in self.network.classify(states, text)]

    def _queries(self, prompts: Prompts) -> tuple[Tensor, Tensor]:
        """Start states and positions of the queries, with the spatial prompts in their places."""
        decoder = self.network.decoder
        own = {"spatial": decoder.query_feat.weight, "position": decoder.query_embed.weight}
        states, positions = (_replaced(rows, prompts.kinds.get(kind)) for kind, rows in own.items())
        return states, positions


def _replaced(rows: Tensor, prompts: Tensor | None) -> Tensor:
    """Rows (Q, D) with the first N <= Q replaced by prompts (N, D)."""
    return rows if prompts is None else torch.cat((prompts, rows[len(prompts) :]))


def _part_of(name: str) -> Part | None:
    if name.startswith(_ENCODER):
        return "encoder"
    if name.startswith(_DECODER) and name.removeprefix(_DECODER).startswith(_DECODER_PARTS):
        return "decoder"
    return None
