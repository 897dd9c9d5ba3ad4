"""The prompt decoder: one loop over layers for every kind of rows."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from promptseg.models.seem.config import BUFFERS, LEVELS, SeemConfig
from promptseg.models.seem.network.attention import (
    CrossAttentionLayer,
    FeedForwardLayer,
    Perceptron,
    SelfAttentionLayer,
    sine_positions,
)
from promptseg.models.seem.network.features import PreparedFeatures, SeemFeatures
from promptseg.models.seem.network.rows import LayerRows, Rows, joined, last_apart, object_rows
from promptseg.models.seem.network.text_encoder import TextEncoder, normalise


@dataclass(frozen=True, eq=False)
class Head:
    """The rows that look at the image, after some layers.

    Attributes:
        hidden: (B, R, D).
        normed: (B, R, D), what the heads read.
        mask_vectors: (B, R, M), their product with mask features gives mask logits.
        blocked: (B, R, S), True where the mask is negative at the next layer's level.
    """

    hidden: Tensor
    normed: Tensor
    mask_vectors: Tensor
    blocked: Tensor


class SeemDecoder(nn.Module):
    """Queries look at the image, at each other, and answer with masks and embeddings."""

    def __init__(self, config: SeemConfig) -> None:
        super().__init__()
        dim, heads, layers = config.hidden_dim, config.heads, range(config.decoder_layers)
        self.variant = config.variant
        self.class_embed = nn.Parameter(torch.empty(dim, config.text_dim))
        self.transformer_self_attention_layers = nn.ModuleList(SelfAttentionLayer(dim, heads) for _ in layers)
        self.transformer_cross_attention_layers = nn.ModuleList(CrossAttentionLayer(dim, heads) for _ in layers)
        self.transformer_ffn_layers = nn.ModuleList(FeedForwardLayer(dim, config.ffn_dim) for _ in layers)
        self.decoder_norm = nn.LayerNorm(dim)
        self.query_feat = nn.Embedding(config.num_queries, dim)
        self.query_embed = nn.Embedding(config.num_queries, dim)
        self.level_embed = nn.Embedding(LEVELS, dim)
        self.lang_encoder = TextEncoder(config)
        self.mask_embed = Perceptron(dim, config.mask_dim, depth=3)
        nn.init.trunc_normal_(self.class_embed, std=0.02)
        if self.variant.captioner:
            self._add_captioner(config)
        else:
            self._add_spatial_prompts(config)

    def _add_spatial_prompts(self, config: SeemConfig) -> None:
        dim = config.hidden_dim
        self.mask_sptial_embed = nn.ParameterList(nn.Parameter(torch.empty(dim, dim)) for _ in range(LEVELS))
        self.spatial_embed = nn.Embedding(config.spatial_memories, dim)
        self.spatial_featured = nn.Embedding(config.spatial_memories, dim)
        self.pn_indicator = nn.Embedding(2, dim)
        for weight in self.mask_sptial_embed:
            nn.init.trunc_normal_(weight, std=0.02)

    def _add_captioner(self, config: SeemConfig) -> None:
        """Nothing here writes captions; its weights are kept so that a checkpoint is loaded as a whole."""
        self.caping_embed = nn.Parameter(torch.empty(config.hidden_dim, config.text_dim))
        nn.init.trunc_normal_(self.caping_embed, std=0.02)
        self.pos_embed_caping = nn.Embedding(config.text.context, config.hidden_dim)
        queries, words = config.num_queries, config.text.context
        blocked = torch.ones(1, queries + words, queries + words, dtype=torch.bool, device=BUFFERS).triu(1)
        blocked[:, :queries, :queries] = last_apart(queries, blocked.device)
        blocked[:, queries:, :queries] = False
        self.register_buffer("self_attn_mask", blocked)

    def object_rows(self, states: Tensor, positions: Tensor, batch: int) -> Rows:
        """Rows of object queries alone; `states` and `positions` are (N, D) or (B, N, D)."""
        blocked = last_apart(states.shape[-2], states.device) if self.variant.captioner else None
        return object_rows(states, positions, batch, len(self.transformer_ffn_layers), blocked)

    def forward(self, rows: Rows, features: SeemFeatures | PreparedFeatures, all_heads: bool = True) -> list[Head]:
        """Run every layer; returns a head before the first layer and one after each.

        Args:
            rows: what goes through the layers.
            features: as `SeemNetwork.encode` gives them, or as `prepare` does.
            all_heads: keep gradients of all heads, not of the last one only.
        """
        if isinstance(features, SeemFeatures):
            features = self.prepare(features)
        shrunk = [level.flatten(2) for level in features.shrunk]
        hidden, tokens, count = rows.states, rows.tokens, len(rows.layers)
        heads = [self._head(hidden, shrunk[0], all_heads)]
        for i, layer in enumerate(rows.layers):
            blocked = _cross_blocked(heads[-1].blocked, layer)
            cross = self.transformer_cross_attention_layers[i]
            hidden = cross(hidden, rows.positions, features.keys[i], features.values[i], blocked)
            hidden, tokens = self._mix(i, rows, hidden, tokens)
            heads.append(self._head(hidden, shrunk[(i + 1) % LEVELS], all_heads or i + 1 == count))
        return heads

    def prepare(self, features: SeemFeatures) -> PreparedFeatures:
        """Features with what each layer makes of the levels in their place; no prompt has a part in it."""
        memories = [self._memory(level, index) for index, level in enumerate(features.levels)]
        projected = [
            cast(CrossAttentionLayer, layer).multihead_attn.project(*memories[i % LEVELS])
            for i, layer in enumerate(self.transformer_cross_attention_layers)
        ]
        return PreparedFeatures(
            features.canvas,
            features.image_sizes,
            features.mask_features,
            features.shrunk,
            keys=tuple(keys for keys, _ in projected),
            values=tuple(values for _, values in projected),
        )

    def _memory(self, level: Tensor, index: int) -> tuple[Tensor, Tensor]:
        """Keys and values (B, S, D) of a map, before any layer projects them."""
        height, width = level.shape[2:]
        values = level.flatten(2).transpose(1, 2).contiguous() + self.level_embed.weight[index]
        return values + sine_positions(height, width, level.shape[1], like=level), values

    def _mix(self, index: int, rows: Rows, hidden: Tensor, tokens: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Self-attention and feed-forward over rows and tokens; new rows and new lasting tokens."""
        layer = rows.layers[index]
        everyone = joined(hidden, tokens, layer.tokens)
        positions = joined(rows.positions, rows.tokens, layer.tokens)
        everyone = self.transformer_self_attention_layers[index](everyone, positions, layer.blocked)
        everyone = self.transformer_ffn_layers[index](everyone)
        count = hidden.shape[1]
        lasting = None if tokens is None else everyone[:, count : count + tokens.shape[1]]
        return everyone[:, :count], lasting

    def _head(self, hidden: Tensor, shrunk: Tensor, keep_graph: bool) -> Head:
        with torch.set_grad_enabled(torch.is_grad_enabled() and keep_graph):
            normed = self.decoder_norm(hidden)
            if self.variant.captioner:
                normed = _summed_up(normed)
            mask_vectors = self.mask_embed(normed)
        return Head(hidden, normed, mask_vectors, mask_vectors.detach() @ shrunk.detach() < 0)

    def captions(self, head: Head) -> Tensor:
        """Embeddings (B, R, D_text) of the rows, to compare with texts; not normalised."""
        captions: Tensor = head.normed @ self.class_embed
        return captions

    def classify(self, head: Head, text: Tensor) -> Tensor:
        """Class logits (B, R, K) against text embeddings (K, D_text), taken as they are."""
        return self.compare(normalise(self.captions(head)), text)

    def compare(self, captions: Tensor, text: Tensor) -> Tensor:
        """Class logits (B, R, K) of captions (B, R, D_text) of length 1 against text embeddings (K, D_text)."""
        scaled: Tensor = self.lang_encoder.logit_scale.exp() * functional.linear(captions, text)
        return scaled


def mask_logits(vectors: Tensor, mask_features: Tensor) -> Tensor:
    """Mask logits (B, R, h, w) of mask vectors (B, R, M) on mask features (B, M, h, w)."""
    products = vectors @ mask_features.flatten(2)
    return products.view(*products.shape[:2], *mask_features.shape[2:])


def _summed_up(normed: Tensor) -> Tensor:
    """The last row replaced by a mean of the others (B, R, D), weighted by their likeness to it."""
    others, last = normed[:, :-1], normed[:, -1:]
    weights = (normalise(last) @ normalise(others).mT).softmax(dim=2)
    return torch.cat((others, weights @ others), dim=1)


def _cross_blocked(predicted: Tensor, layer: LayerRows) -> Tensor:
    """The mask (B, R, S) one layer uses: as predicted, but rows blocked everywhere look everywhere."""
    blocked = predicted
    if layer.cross_blocked is not None:
        blocked = torch.cat((blocked[:, : -layer.cross_blocked.shape[1]], layer.cross_blocked), dim=1)
    return blocked & ~blocked.all(dim=2, keepdim=True)
