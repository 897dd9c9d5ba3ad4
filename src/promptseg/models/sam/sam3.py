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

from promptseg.errors import PromptsegError, unknown_name
from promptseg.models.base import ImageFeatures, Prediction, Size
from promptseg.models.capabilities import EmbeddedTexts
from promptseg.models.sam.frozen import ABSENT, FrozenSam, SamFeatures, each
from promptseg.models.sam.text import ClipText
from promptseg.models.templates import TEMPLATES, fill_templates
from promptseg.models.tokenizer import Tokenizer
from promptseg.prompts import Prompts

QUERIES = "queries"
_BOX = 4


class Sam3(FrozenSam):
    """SAM 3 as a `PromptableSegmenter`.

    A semantic prompt is the row (L * (D + 1)) of one class: L token features of D numbers, then L marks. A token whose
    mark is not above 0 is padding, and is masked out. Marks are no matter of learning: they get no gradient, and are as
    large as the features (root mean square over the class's tokens), so that noise at the start of learning turns none.

    A spatial prompt is a row (D + 4): an object query, and its reference box before the sigmoid (centre x, centre y,
    width, height). The presence token stays the model's own: its probability multiplies that of each query.

    The background prompt has no part in the answer: it is zero.
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
    def spatial_kinds(self) -> tuple[str, ...]:
        """`queries` alone."""
        return (QUERIES,)

    @torch.no_grad()
    def encode_text(self, names: Sequence[str], templates: str | None = None) -> Tensor:
        """Default semantic prompts (C, L * (D + 1)) of class names.

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

    def background_prompt(self, templates: str | None = None) -> Tensor:
        """Zeros (1, L * (D + 1)): background is what no class claims."""
        return torch.zeros(1, self._row, device=self.device)

    def embed_texts(self, texts: Sequence[str]) -> EmbeddedTexts:
        """The frozen word embeddings of texts; a text that is too long loses its end."""
        return self._text.embed_texts(texts)

    def encode_embedded(self, texts: EmbeddedTexts) -> Tensor:
        """Semantic prompts (T, L * (D + 1)) of texts, differentiable in the words.

        Raises:
            PromptsegError: a text is longer than the encoder reads.
        """
        features = self.network.text_projection(self._text.hidden(texts))
        features = F.pad(features, (0, 0, 0, self._text.context - features.shape[1]))
        valid = torch.arange(self._text.context, device=features.device) <= texts.ends[:, None]
        features = features * valid[..., None]
        squares = features.detach().square().sum((1, 2)) / (valid.sum(1) * self.dim)
        marks = torch.where(valid, 1.0, -1.0) * squares.sqrt()[:, None]
        return torch.cat((features.flatten(1), marks), dim=1)

    @property
    def _row(self) -> int:
        return self._text.context * (self.dim + 1)

    def default_spatial_prompts(self, kind: str | None = None) -> Tensor:
        """Default spatial prompts (N, D + 4): the model's own queries and reference boxes.

        Raises:
            PromptsegError: unknown kind.
        """
        _check_kind(kind or QUERIES)
        decoder = self.network.detr_decoder
        return torch.cat((decoder.query_embed.weight, decoder.reference_points.weight), dim=1).detach().clone()

    def _features(self, pixels: Tensor, canvas: Size, image_sizes: tuple[Size, ...]) -> SamFeatures:
        # The coarsest level is not read by the detector.
        levels = self.network.get_vision_features(pixels).fpn_hidden_states[:-1]
        return SamFeatures(canvas, image_sizes, tuple(levels))

    def decode(self, features: ImageFeatures, prompts: Prompts) -> Prediction:
        """The likeliest queries of each class, C * keep rows, class by class.

        Raises:
            PromptsegError: unknown spatial kind, or prompts whose shape this model cannot take.
        """
        self._check(prompts)
        chunks = torch.split(prompts.semantic, self.chunk)
        items = [(image, chunk, prompts.spatial) for image in self._single(features) for chunk in chunks]
        logits, masks = (torch.cat(parts) for parts in zip(*each(self._answers, items), strict=True))
        batch, classes = len(features), len(prompts.semantic)
        class_logits = self._columns(logits.view(batch, classes, -1))
        mask_logits = masks.view(batch, class_logits.shape[1], *masks.shape[2:])
        return Prediction(class_logits, mask_logits, features.canvas, features.image_sizes)

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

    def _answers(self, image: SamFeatures, rows: Tensor, spatial: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (C, keep) and masks (C, keep, h, w) of one image for rows (C, L * (D + 1))."""
        network, text, valid = self.network, *self._unpacked(rows)
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
        logits = both(scores, decoded.presence_logits[-1])
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

    def _unpacked(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Token features (C, L', D) and which are valid (C, L'), without places that are padding in every class."""
        features, marks = rows.split((self._text.context * self.dim, self._text.context), dim=1)
        valid = marks > 0
        used = valid.any(dim=0)
        return features.view(len(rows), -1, self.dim)[:, used], valid[:, used]

    def _check(self, prompts: Prompts) -> None:
        _check_kind(prompts.spatial_kind)
        for name, letter, length in (
            ("spatial", "N", self.dim + _BOX),
            ("semantic", "C", self._row),
            ("background", 1, self._row),
        ):
            shape = tuple(getattr(prompts, name).shape)
            if len(shape) != 2 or shape[1] != length:
                raise PromptsegError(f"{name} prompts have shape {shape}, {self.id} takes ({letter}, {length})")
        if not (prompts.semantic[:, -self._text.context :] > 0).any(dim=1).all():
            raise PromptsegError(
                "semantic prompts mark every token of a class as padding: fit again, from the defaults"
            )


def both(first: Tensor, second: Tensor) -> Tensor:
    """The logit of two independent events, given their logits a and b: of sigmoid(a) * sigmoid(b).

    With p that product, (1 - p) / p = e^-a + e^-b + e^-(a + b).
    """
    first, second = torch.broadcast_tensors(first, second)
    return -torch.logsumexp(torch.stack((-first, -second, -(first + second))), dim=0)


def _check_kind(kind: str) -> None:
    if kind != QUERIES:
        raise unknown_name("spatial kind", kind, (QUERIES,))
