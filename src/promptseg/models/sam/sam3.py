"""SAM 3: text goes in as the features of every token, spatial prompts are object queries with reference boxes.

The decoder runs once for each class and answers every query for it. Of these the `keep` likeliest are rows of the
prediction: what the model says of "is it this class" is a logit in that class's column beside 0 for the background and
next to nothing elsewhere, so that the softmax over classes gives back the model's own probability. Instances are rows
then, and semantic, instance and panoptic segmentation follow from the same prediction.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F

from promptseg.checks import check_choice
from promptseg.errors import PromptsegError
from promptseg.models.base import ABSENT, ImageFeatures, Prediction, Size
from promptseg.models.capabilities import EmbeddedTexts
from promptseg.models.evidence import DenseMap, pixel_kinds
from promptseg.models.sam.frozen import FrozenSam, SamFeatures, recomputed
from promptseg.models.sam.text_sources import ClipText
from promptseg.models.templates import TEMPLATES, fill_templates
from promptseg.models.tokenizer import Tokenizer
from promptseg.prompts import PromptKind, Prompts, PromptSpec

QUERIES = "queries"
_BOX = 4


class Sam3(FrozenSam):
    """SAM 3 as a `PromptableSegmenter`.

    A semantic prompt is the row (L * D) of one class: L token features of D numbers. Beside it, fixed, stands the row
    (L) of kind `tokens`: which of them are there; the others are padding, and masked out.

    A spatial prompt is a row (D + 4): an object query, and its reference box before the sigmoid (centre x, centre y,
    width, height). The presence token stays the model's own: its probability multiplies that of each query.

    Background is what no class claims, so there is no background prompt.
    """

    mean: ClassVar[tuple[float, float, float]] = (0.5, 0.5, 0.5)
    std: ClassVar[tuple[float, float, float]] = (0.5, 0.5, 0.5)

    def __init__(
        self, network: Any, model_id: str, size: int, chunk: int, licence: str, tokenizer: Tokenizer, keep: int
    ) -> None:
        """Wrap a network.

        Args:
            network: the model of the library.
            model_id: the spec it was loaded by.
            size: side of the input, pixels.
            chunk: classes decoded at once.
            licence: of the weights.
            tokenizer: of its text encoder.
            keep: queries of each class that become rows of the prediction, the likeliest first.

        Raises:
            PromptsegError: the tokenizer has another vocabulary.
        """
        super().__init__(network, model_id, size, chunk, licence)
        self.keep = keep
        self._text = ClipText(network.text_encoder, tokenizer, model_id)

    @property
    def dim(self) -> int:
        """Length D of the features of a token, and of a query."""
        dim: int = self.network.config.detr_decoder_config.hidden_size
        return dim

    @property
    def prompt_spec(self) -> PromptSpec:
        """`spatial` queries with boxes, `semantic` token features, which `tokens` are there (fixed), pixel prompts."""
        return (
            PromptKind("spatial", "mask", self.dim + _BOX),
            PromptKind("semantic", "class", self._text.context * self.dim),
            PromptKind("tokens", "class", self._text.context, learned=False),
            *pixel_kinds(self.dense_map_specs),
        )

    @property
    def dense_map_specs(self) -> tuple[DenseMap, ...]:
        """The levels of the feature pyramid that the detector reads."""
        config = self.network.config.vision_config
        strides = [config.backbone_config.patch_size / scale for scale in config.scale_factors[:-1]]
        return tuple(DenseMap(f"level {stride:g}", stride, config.fpn_hidden_size) for stride in strides)

    @property
    def spatial_choices(self) -> tuple[str, ...]:
        """`queries` alone."""
        return (QUERIES,)

    def encode_text(self, names: Sequence[str], templates: str | None = None) -> Tensor:
        """Token features (C, L * D) of class names; arguments and errors are those of `default_text_prompts`."""
        return self.default_text_prompts(names, templates)["semantic"]

    @torch.no_grad()
    def default_text_prompts(self, names: Sequence[str], templates: str | None = None) -> dict[str, Tensor]:
        """`semantic` (C, L * D) and `tokens` (C, L) of class names.

        Args:
            names: C class names.
            templates: `raw` (also for None: it is trained on short noun phrases) or `photo`.

        Raises:
            PromptsegError: templates of several texts, whose tokens have no mean, or an empty name.
        """
        templates = templates or "raw"
        if len(TEMPLATES.get(templates, "")) > 1:
            raise PromptsegError(f"templates is {templates!r}: {self.id} takes one text per class; give raw or photo")
        texts = [row[0] for row in fill_templates(names, templates)]
        return self.encode_embedded(self.embed_texts(texts))

    def embed_texts(self, texts: Sequence[str]) -> EmbeddedTexts:
        """The frozen word embeddings of texts; a text that is too long loses its end."""
        return self._text.embed_texts(texts)

    @property
    def text_kinds(self) -> frozenset[str]:
        """`semantic`."""
        return frozenset({"semantic"})

    def encode_embedded(self, texts: EmbeddedTexts) -> dict[str, Tensor]:
        """`semantic` (T, L * D) of texts, differentiable in the words, and `tokens` (T, L).

        Raises:
            PromptsegError: a text is longer than the encoder reads.
        """
        features = self.network.text_projection(self._text.hidden(texts))
        features = F.pad(features, (0, 0, 0, self._text.context - features.shape[1]))
        valid = torch.arange(self._text.context, device=features.device) <= texts.ends[:, None]
        return {"semantic": (features * valid[..., None]).flatten(1), "tokens": valid}

    def default_spatial_prompts(self, choice: str | None = None) -> dict[str, Tensor]:
        """`spatial`, (N, D + 4): the model's own queries and reference boxes.

        Raises:
            PromptsegError: unknown choice.
        """
        check_choice("spatial", choice or QUERIES, (QUERIES,))
        decoder = self.network.detr_decoder
        boxed = torch.cat((decoder.query_embed.weight, decoder.reference_points.weight), dim=1)
        return {"spatial": boxed.detach().clone()}

    def _features(self, pixels: Tensor, canvas: Size, image_sizes: tuple[Size, ...]) -> SamFeatures:
        # The coarsest level is not read by the detector.
        levels = self.network.get_vision_features(pixels).fpn_hidden_states[:-1]
        return SamFeatures(canvas, image_sizes, tuple(levels))

    def decode(self, features: ImageFeatures, prompts: Prompts) -> Prediction:
        """The likeliest queries of each class, C * keep rows, class by class.

        Raises:
            PromptsegError: prompts of a kind or shape that this model does not take, or a class without a token.
        """
        prompts.check(self.prompt_spec, self.id)
        semantic, tokens, spatial = prompts.kinds["semantic"], prompts.fixed["tokens"], prompts.kinds["spatial"]
        if not tokens.any(dim=1).all():
            raise PromptsegError(f"{self.id}: tokens of a class are all padding, expected at least one: fit again")
        chunks = list(zip(torch.split(semantic, self.chunk), torch.split(tokens, self.chunk), strict=True))
        items = [(image, *chunk, spatial) for image in self._single(features) for chunk in chunks]
        logits, masks = (torch.cat(parts) for parts in zip(*recomputed(self._answers, items), strict=True))
        batch, classes = len(features), len(semantic)
        class_logits = self._columns(logits.view(batch, classes, -1))
        mask_logits = masks.view(batch, class_logits.shape[1], *masks.shape[2:])
        prediction = Prediction(class_logits, mask_logits, features.canvas, features.image_sizes)
        return self._with_evidence(prediction, features, prompts)

    def decode_all(self, features: ImageFeatures, prompts: Prompts) -> list[Prediction]:
        """The one answer there is."""
        return [self.decode(features, prompts)]

    @staticmethod
    def _columns(logits: Tensor) -> Tensor:
        """Class logits (B, C * keep, C + 1) of the rows' own logits (B, C, keep)."""
        batch, classes, keep = logits.shape
        own = torch.eye(classes, classes + 1, dtype=torch.bool, device=logits.device)
        other = logits.new_full((classes, classes + 1), ABSENT)
        other[:, -1] = 0
        rows = torch.where(own[:, None], logits[..., None], other[:, None])
        return rows.reshape(batch, classes * keep, classes + 1)

    def _answers(self, image: SamFeatures, rows: Tensor, tokens: Tensor, spatial: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (C, keep) and masks (C, keep, h, w) of one image for rows (C, L * D) and their tokens (C, L)."""
        network, used = self.network, tokens.any(dim=0)  # what is padding in every class is left out
        text, valid = rows.view(len(rows), -1, self.dim)[:, used], tokens[:, used]
        levels = [level.expand(len(rows), -1, -1, -1) for level in image.levels]
        coarse = levels[-1]
        position = network.vision_encoder.neck.position_encoding(coarse.shape, coarse.device, coarse.dtype)
        encoded = network.detr_encoder(
            vision_features=[coarse], text_features=text, vision_pos_embeds=[position], text_mask=valid
        )
        own = {"query_embed.weight": spatial[:, : self.dim], "reference_points.weight": spatial[:, self.dim :]}
        inputs = {
            "vision_features": encoded.last_hidden_state,
            "text_features": encoded.text_features,
            "vision_pos_encoding": encoded.pos_embeds_flattened,
            "text_mask": valid,
            "spatial_shapes": encoded.spatial_shapes,
        }
        decoded = functional_call(network.detr_decoder, own, (), inputs)
        queries = decoded.intermediate_hidden_states[-1:]
        scores = network.dot_product_scoring(queries, text, valid)[0, ..., 0]
        logits = logit_of_both(scores, decoded.presence_logits[-1])
        kept = logits.topk(min(self.keep, logits.shape[1]), dim=1).indices
        chosen = queries[0].gather(1, kept[..., None].expand(-1, -1, self.dim))
        answer = network.mask_decoder(
            decoder_queries=chosen,
            backbone_features=levels,
            encoder_hidden_states=encoded.last_hidden_state,
            prompt_features=text,
            prompt_mask=valid,
        )
        return logits.gather(1, kept), answer.pred_masks


def logit_of_both(first: Tensor, second: Tensor) -> Tensor:
    """The logit of two independent events, given their logits a and b: of sigmoid(a) * sigmoid(b).

    With p that product, (1 - p) / p = e^-a + e^-b + e^-(a + b).
    """
    first, second = torch.broadcast_tensors(first, second)
    return -torch.logsumexp(torch.stack((-first, -second, -(first + second))), dim=0)
