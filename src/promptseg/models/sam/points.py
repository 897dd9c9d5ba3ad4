"""SAM and SAM 2: spatial prompts are encoded points, and the decoder runs once for each class.

A run sees the N spatial tokens and the token of its class, and answers one mask. So the prediction has one row for each
class, whose class is certain: the semantic map is the sigmoid of the class's mask.
"""

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from promptseg.checks import check_choice
from promptseg.errors import PromptsegError
from promptseg.models.base import ABSENT, ImageFeatures, Prediction, Size
from promptseg.models.capabilities import EmbeddedTexts, point_grid
from promptseg.models.evidence import DenseMap, pixel_kinds
from promptseg.models.images import long_side_size
from promptseg.models.sam.frozen import FrozenSam, SamFeatures, recomputed
from promptseg.models.sam.text_sources import TextSource
from promptseg.prompts import PromptKind, Prompts, PromptSpec

GRID = "grid"
GRID_SIDE = 10
"""Points along each side of the default grid: N = 100, as in the paper."""
_PROJECTION_SEED = 0


class PointSam(FrozenSam):
    """SAM or SAM 2 as a `PromptableSegmenter`; the subclasses say how each encodes an image and decodes a mask.

    Neither has text weights. The embedding v of a class name comes from a CLIP-like model, and its token is
    s * (v @ P): P (D_text, D) is drawn once from a normal distribution of variance 1 / D (seed 0), which keeps lengths
    and angles nearly, and s is the length of the default spatial tokens, so that the decoder meets nothing of unusual
    size. The projection knows nothing of SAM: before learning, the class tokens mean nothing to the decoder.

    There is no void class, so there is no background prompt.
    """

    def __init__(
        self, network: Any, model_id: str, size: int, chunk: int, licence: str, text: TextSource | None = None
    ) -> None:
        """Wrap a network.

        Args:
            network: the model of the library.
            model_id: the spec it was loaded by.
            size: side of the input, pixels.
            chunk: classes decoded at once.
            licence: of the weights.
            text: where class names become vectors; None where none was given.
        """
        super().__init__(network, model_id, size, chunk, licence)
        self.text = text

    @property
    def dim(self) -> int:
        """Length D of a token."""
        dim: int = self.network.prompt_encoder.hidden_size
        return dim

    @property
    def prompt_spec(self) -> PromptSpec:
        """`spatial` and `semantic` tokens, and pixel prompts."""
        tokens = PromptKind("spatial", "mask", self.dim), PromptKind("semantic", "class", self.dim)
        return tokens + pixel_kinds(self.dense_map_specs)

    @property
    def spatial_choices(self) -> tuple[str, ...]:
        """`grid` alone."""
        return (GRID,)

    def parameter_tensors(self) -> dict[str, Tensor]:
        """All weights by official name, and those of the text source behind `text.`."""
        text = {} if self.text is None else self.text.parameter_tensors()
        return super().parameter_tensors() | {f"text.{name}": tensor for name, tensor in text.items()}

    def encode_text(self, names: Sequence[str], templates: str | None = None) -> Tensor:
        """Default tokens (C, D) of class names.

        Args:
            names: C class names.
            templates: `photo` (also for None), `raw` or `official`.

        Raises:
            PromptsegError: there is no text source, or it cannot encode the names.
        """
        return self._tokens(self._source().encode(names, templates or "photo"))

    def default_text_prompts(self, names: Sequence[str], templates: str | None = None) -> dict[str, Tensor]:
        """`semantic`, (C, D).

        Raises:
            PromptsegError: as `encode_text`.
        """
        return {"semantic": self.encode_text(names, templates)}

    @property
    def text_kinds(self) -> frozenset[str]:
        """`semantic`."""
        return frozenset({"semantic"})

    def embed_texts(self, texts: Sequence[str]) -> EmbeddedTexts:
        """The frozen word embeddings of texts.

        Raises:
            PromptsegError: there is no text source, or it holds no words.
        """
        return self._source().embed_texts(texts)

    def encode_embedded(self, texts: EmbeddedTexts) -> dict[str, Tensor]:
        """`semantic`: tokens (T, D) of texts, differentiable in the words.

        Raises:
            PromptsegError: as `embed_texts`, or a text is longer than the encoder reads.
        """
        return {"semantic": self._tokens(self._source().encode_embedded(texts))}

    def _source(self) -> TextSource:
        if self.text is None:
            raise PromptsegError(
                f"{self.id}: SAM reads no text: load it with ?text= and a CLIP folder, hub:ORGANISATION/NAME of one, or"
                " a .safetensors file of class embeddings"
            )
        return self.text

    def _tokens(self, vectors: Tensor) -> Tensor:
        tokens: Tensor = vectors @ projection(vectors.shape[1], self.dim).to(vectors)
        return self._token_length * tokens

    @cached_property
    def _token_length(self) -> Tensor:
        lengths: Tensor = torch.linalg.vector_norm(self.default_spatial_prompts()["spatial"], dim=1)
        return lengths.mean()

    def default_points(self) -> Tensor:
        """The points (N, 2) of a 10 x 10 grid, x and y in [0, 1] of the input, each in the middle of its cell."""
        return point_grid(GRID_SIDE, self.device)

    def encode_points(self, points: Tensor) -> Tensor:
        """Tokens (N, D) of points (N, 2) through the network's own prompt encoder, as points inside; differentiable."""
        pixels = points * self.size - 0.5  # the encoder adds half a pixel
        labels = torch.ones(1, 1, len(points), dtype=torch.int, device=points.device)
        tokens: Tensor = self.network.prompt_encoder(pixels[None, None], labels, None, None)[0]
        return tokens[0, 0, :-1]  # without the token for "no more points"

    @property
    def point_kind(self) -> str:
        """`spatial`."""
        return "spatial"

    @torch.no_grad()
    def default_spatial_prompts(self, choice: str | None = None) -> dict[str, Tensor]:
        """`spatial`, (N, D): the encoded grid.

        Raises:
            PromptsegError: unknown choice.
        """
        check_choice("spatial", choice or GRID, (GRID,))
        return {"spatial": self.encode_points(self.default_points())}

    def decode(self, features: ImageFeatures, prompts: Prompts) -> Prediction:
        """One mask for each class.

        Raises:
            PromptsegError: prompts of a kind or shape that this model does not take.
        """
        prompts.check(self.prompt_spec, self.id)
        semantic = prompts.kinds["semantic"]
        spatial = prompts.kinds["spatial"].expand(len(semantic), -1, -1)
        tokens = torch.cat((spatial, semantic[:, None]), dim=1)
        chunks = torch.split(tokens, self.chunk)
        masks = recomputed(self._masks, [(image, chunk) for image in self._single(features) for chunk in chunks])
        per_class = torch.cat(masks).view(len(features), len(tokens), *masks[0].shape[1:])
        prediction = Prediction(self._certain(per_class), per_class, features.canvas, features.image_sizes)
        return self._with_evidence(prediction, features, prompts)

    def decode_all(self, features: ImageFeatures, prompts: Prompts) -> list[Prediction]:
        """The one answer there is."""
        return [self.decode(features, prompts)]

    def _masks(self, image: SamFeatures, tokens: Tensor) -> Tensor:
        """Mask logits (C, h, w) of one image for tokens (C, N + 1, D)."""
        masks: Tensor = self.network.mask_decoder(
            image_embeddings=image.levels[-1],
            image_positional_embeddings=self.network.get_image_wide_positional_embeddings(),
            sparse_prompt_embeddings=tokens[None],
            dense_prompt_embeddings=self._dense(),
            multimask_output=False,
            **self._finer(image),
        )[0]
        return masks[0, :, 0]

    def _finer(self, image: SamFeatures) -> dict[str, Any]:
        """What else the decoder takes of an image."""
        return {}

    def _dense(self) -> Tensor:
        """What stands for "no mask is given", (1, D, h, w)."""
        dense: Tensor = self.network.prompt_encoder(None, None, None, None)[1]
        return dense

    @staticmethod
    def _certain(masks: Tensor) -> Tensor:
        """Class logits (B, C, C + 1) that leave no doubt: row c is class c."""
        count = masks.shape[1]
        own = torch.eye(count, count + 1, dtype=torch.bool, device=masks.device)
        logits = masks.new_full((count, count + 1), ABSENT).masked_fill(own, 0)
        return logits.expand(len(masks), -1, -1)


class Sam(PointSam):
    """SAM (ViT-B, L, H): the longer side of an image is resized to the input, the rest is padded."""

    def input_size(self, size: Size, short_side: int | None = None) -> Size:
        """`size` scaled so that its longer side fills the input.

        Raises:
            PromptsegError: `short_side` is given.
        """
        super().input_size(size, short_side)
        return long_side_size(size, self.size)

    @property
    def dense_map_specs(self) -> tuple[DenseMap, ...]:
        """The image embedding."""
        return (
            DenseMap("image embedding", self.size // self.network.prompt_encoder.image_embedding_size[0], self.dim),
        )

    def _features(self, pixels: Tensor, canvas: Size, image_sizes: tuple[Size, ...]) -> SamFeatures:
        return SamFeatures(canvas, image_sizes, (self.network.get_image_embeddings(pixels),))


class Sam2(PointSam):
    """SAM 2 on single images, which are resized to the square input, whatever their proportions."""

    @property
    def dense_map_specs(self) -> tuple[DenseMap, ...]:
        """The high-resolution features and the image embedding."""
        decoder = self.network.mask_decoder
        dims = (decoder.conv_s0.out_channels, decoder.conv_s1.out_channels, self.dim)
        sides = [side for side, _ in self.network.config.vision_config.backbone_feature_sizes]
        strides = [self.size // side for side in sides]
        return tuple(
            DenseMap(f"high resolution {stride}", stride, dim)
            if stride != strides[-1]
            else DenseMap("image embedding", stride, dim)
            for stride, dim in zip(strides, dims, strict=True)
        )

    def _features(self, pixels: Tensor, canvas: Size, image_sizes: tuple[Size, ...]) -> SamFeatures:
        return SamFeatures(canvas, image_sizes, tuple(self.network.get_image_embeddings(pixels)))

    def _finer(self, image: SamFeatures) -> dict[str, Any]:
        return {"high_resolution_features": list(image.levels[:-1])}


def projection(text_dim: int, dim: int) -> Tensor:
    """The fixed map P (D_text, D) from text embeddings to tokens: normal numbers of variance 1 / D, seed 0."""
    generator = torch.Generator().manual_seed(_PROJECTION_SEED)
    numbers = torch.randn(text_dim, dim, generator=generator)
    return numbers * math.sqrt(1 / dim)
