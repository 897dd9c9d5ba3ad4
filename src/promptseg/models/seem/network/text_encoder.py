"""SEEM's text encoder: CLIP's causal transformer, with the projection into the space of class embeddings.

Module names are the official parameter names. `embed_tokens` and `encode_embedded` are apart so that
learned words (CoOp, LOCN) can be put between them: gradients reach whatever is given as embeddings.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from promptseg.models.seem.config import SeemConfig, TextConfig
from promptseg.models.seem.network.attention import MultiHeadAttention

NORM_EPS = 1e-12
"""Of every layer norm in this encoder; CLIP's own value is 1e-5."""


def normalise(vectors: Tensor) -> Tensor:
    """Divide (..., D) by (its L2 norm + 1e-7) along the last axis."""
    lengths: Tensor = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return vectors / (lengths + 1e-7)


class _LayerNorm(nn.LayerNorm):
    """Layer norm computed in float32 whatever the precision around it."""

    def __init__(self, width: int) -> None:
        super().__init__(width, eps=NORM_EPS)

    def forward(self, input: Tensor) -> Tensor:
        wide = torch.promote_types(input.dtype, torch.float32)
        normed = F.layer_norm(input.to(wide), self.normalized_shape, self.weight.to(wide), self.bias.to(wide), self.eps)
        return normed.to(input.dtype)


class _QuickGelu(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class _Block(nn.Module):
    """One pre-norm block."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        # In the order of the official checkpoints.
        self.attn = MultiHeadAttention(width, heads)
        self.ln_1 = _LayerNorm(width)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, 4 * width))
        self.mlp.add_module("gelu", _QuickGelu())
        self.mlp.add_module("c_proj", nn.Linear(4 * width, width))
        self.ln_2 = _LayerNorm(width)

    def forward(self, x: Tensor, later: Tensor) -> Tensor:
        """Map (T, L, W) to (T, L, W); no token looks where `later` (1, L, L) is True."""
        normed = self.ln_1(x)
        x = x + self.attn(normed, normed, normed, later)
        out: Tensor = x + self.mlp(self.ln_2(x))
        return out


class _Transformer(nn.Module):
    """Positions, blocks and the last norm: (T, L, W) word embeddings to (T, L, W) hidden states."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.empty(config.context, config.width))
        self.token_embedding = nn.Embedding(config.vocab, config.width)
        self.resblocks = nn.ModuleList(_Block(config.width, config.heads) for _ in range(config.layers))
        self.ln_final = _LayerNorm(config.width)
        nn.init.normal_(self.positional_embedding, std=0.01)
        nn.init.normal_(self.token_embedding.weight, std=0.02)

    def forward(self, embedded: Tensor) -> Tensor:
        x = embedded + self.positional_embedding[: embedded.shape[1]]
        length = x.shape[1]
        later = torch.ones(1, length, length, dtype=torch.bool, device=x.device).triu(1)
        for block in self.resblocks:
            x = block(x, later)
        out: Tensor = self.ln_final(x)
        return out


class TextEncoder(nn.Module):
    """Token ids to text vectors; T texts of L <= context tokens, width W, output dimension D."""

    def __init__(self, config: SeemConfig) -> None:
        super().__init__()
        self.lang_encoder = _Transformer(config.text)
        self.lang_proj = nn.Parameter(torch.empty(config.text.width, config.text_dim))
        self.logit_scale = nn.Parameter(torch.tensor(1.0 / 0.07).log())
        nn.init.normal_(self.lang_proj, std=config.text.width**-0.5)

    def embed_tokens(self, token_ids: Tensor) -> Tensor:
        """Word embeddings (T, L, W) of ids (T, L), without positions."""
        embedded: Tensor = self.lang_encoder.token_embedding(token_ids)
        return embedded

    def encode_embedded(self, embedded: Tensor, eos: Tensor) -> Tensor:
        """Pooled vectors (T, D), not normalised, of word embeddings (T, L, W).

        Args:
            embedded: what `embed_tokens` gives, or learned vectors in its place.
            eos: (T,) the position to pool at. What follows it has no influence: attention is causal.
        """
        hidden = self.lang_encoder(embedded)
        pooled: Tensor = hidden[torch.arange(len(hidden), device=hidden.device), eos] @ self.lang_proj
        return pooled

    def encode_tokens(self, token_ids: Tensor) -> Tensor:
        """Pooled vectors (T, D), not normalised, of ids (T, L): taken at the first largest id, the EOS."""
        eos = token_ids.argmax(dim=1)
        used = token_ids[:, : int(eos.max()) + 1]
        return self.encode_embedded(self.embed_tokens(used), eos)

    def token_vectors(self, token_ids: Tensor) -> Tensor:
        """A vector (T, L, D) for every token of ids (T, L), padding included, not normalised."""
        vectors: Tensor = self.lang_encoder(self.embed_tokens(token_ids)) @ self.lang_proj
        return vectors
