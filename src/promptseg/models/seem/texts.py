"""The text side of a SEEM model: class names and phrases to embeddings."""

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from promptseg.errors import PromptsegError
from promptseg.models.capabilities import EmbeddedTexts
from promptseg.models.seem.network.seem_network import SeemNetwork
from promptseg.models.seem.network.text_encoder import normalise
from promptseg.models.templates import fill_templates
from promptseg.models.tokenizer import Tokenizer
from promptseg.tensor_files import fingerprint

TEMPLATES_USED = "photo"
"""The templates unless the user says otherwise."""
BACKGROUND = "background"
"""The name whose text is the void class; it goes through the same templates as any other."""
_TEXTS_AT_ONCE = 256


class SeemTexts:
    """A frozen network that is spoken to.

    Attributes:
        network: the frozen network; `network.text` gives access at the level of tokens.
        tokenizer: None where the model folder has none; class names cannot be encoded then.
        config: the numbers that shape the network.
    """

    def __init__(self, network: SeemNetwork, tokenizer: Tokenizer | None, model_id: str) -> None:
        self.network = network.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.config = network.config
        self._id = model_id
        self._texts: dict[tuple[tuple[str, ...], str], Tensor] = {}

    @property
    def id(self) -> str:
        """Name in the registry, or the folder it was loaded from."""
        return self._id

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of names, shapes and values of the weights."""
        return fingerprint(self.network.named_parameters())

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.network.decoder.class_embed.device

    def encode_text(self, names: Sequence[str], templates: str | None = None) -> Tensor:
        """Default semantic prompts (C, D_text) of class names: the mean over templates, of length 1.

        Args:
            names: C class names.
            templates: `photo` (also for None), `raw`, or `official`, which also cleans the names.

        Raises:
            PromptsegError: unknown templates, an empty name, or no tokenizer.
        """
        key = (tuple(names), templates or TEMPLATES_USED)
        if key not in self._texts:
            self._texts[key] = self._encode_text(*key)
        return self._texts[key].clone()

    @torch.no_grad()
    def _encode_text(self, names: Sequence[str], templates: str) -> Tensor:
        texts = fill_templates(names, templates)
        ids = self._token_ids([text for row in texts for text in row])
        pooled = [normalise(self.network.text.encode_tokens(chunk)) for chunk in torch.split(ids, _TEXTS_AT_ONCE)]
        means = torch.cat(pooled).view(len(names), -1, self.config.text_dim).mean(dim=1)
        lengths: Tensor = torch.linalg.vector_norm(means, dim=1, keepdim=True)
        return means / lengths

    def _token_ids(self, texts: Sequence[str]) -> Tensor:
        """Ids (T, context) of texts."""
        if self.tokenizer is None:
            raise PromptsegError(
                f"{self.id}: no tokenizer in the model folder, so class names cannot be encoded: put tokenizer.json of"
                " openai/clip-vit-base-patch32 there, or CLIP's bpe_simple_vocab_16e6.txt.gz"
            )
        return self.tokenizer.encode(texts, self.config.text.context).to(self.device)

    @torch.no_grad()
    def embed_texts(self, texts: Sequence[str]) -> EmbeddedTexts:
        """Frozen word embeddings of texts; a text that is too long loses its end.

        Raises:
            PromptsegError: no tokenizer.
        """
        ids = self._token_ids(texts)
        return EmbeddedTexts(self.network.text.embed_tokens(ids), ids.argmax(dim=1))

    @property
    def text_kinds(self) -> frozenset[str]:
        """`semantic`."""
        return frozenset({"semantic"})

    def encode_embedded(self, texts: EmbeddedTexts) -> dict[str, Tensor]:
        """`semantic`: (T, D_text) of length 1, differentiable in the words.

        Raises:
            PromptsegError: a text is longer than the encoder's context.
        """
        used, context = int(texts.ends.max()) + 1, self.config.text.context
        if used > context:
            raise PromptsegError(f"a text has {used} pieces with its markers, {self.id} reads {context}: use fewer")
        return {"semantic": normalise(self.network.text.encode_embedded(texts.words[:, :used], texts.ends))}

    def default_text_prompts(self, names: Sequence[str], templates: str | None = None) -> dict[str, Tensor]:
        """`semantic` (C, D_text) and `background` (1, D_text): to the text encoder, a class like any other.

        Raises:
            PromptsegError: as `encode_text`.
        """
        return {
            "semantic": self.encode_text(names, templates),
            "background": self.encode_text((BACKGROUND,), templates),
        }
