"""Where class names become vectors for models without text weights: a CLIP text model, or a file of embeddings."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from promptseg.errors import PromptsegError
from promptseg.extras import import_extra
from promptseg.hub import HUB, hub_folder
from promptseg.models.capabilities import EmbeddedTexts
from promptseg.models.templates import fill_templates
from promptseg.models.tokenizer import Tokenizer
from promptseg.tensor_files import read_safetensors

TOKENIZER = "tokenizer.json"
_TEXT_CLASS = "CLIPTextModelWithProjection"
_TEXTS_AT_ONCE = 256
_ARGMAX_EOS = 2
"""`eos_token_id` of old CLIP configs; the library then pools at the largest id."""


class TextSource(Protocol):
    """What gives class embeddings to a model that has none."""

    def encode(self, names: Sequence[str], templates: str) -> Tensor:
        """Embeddings (C, D_text) of length 1 of class names.

        Raises:
            PromptsegError: unknown templates, or names that cannot be encoded.
        """

    def embed_texts(self, texts: Sequence[str]) -> EmbeddedTexts:
        """As `WordLevelText.embed_texts`.

        Raises:
            PromptsegError: the source holds no words.
        """

    def encode_embedded(self, texts: EmbeddedTexts) -> Tensor:
        """Embeddings (T, D_text) of length 1, differentiable in the words; raises as `WordLevelText`."""

    def parameter_tensors(self) -> dict[str, Tensor]:
        """All its numbers by name."""


class ClipText:
    """A frozen `CLIPTextModelWithProjection` of the library with its tokenizer.

    The library takes token ids only. To enter at the word embeddings, those of the look-up are replaced on the way
    through, so that all else is the library's own forward pass.
    """

    def __init__(self, network: Any, tokenizer: Tokenizer, name: str) -> None:
        """Wrap a network.

        Args:
            network: the model of the library.
            tokenizer: of the network's own vocabulary.
            name: what messages call it.

        Raises:
            PromptsegError: the tokenizer has another vocabulary.
        """
        if tokenizer.vocab_size != network.config.vocab_size:
            raise PromptsegError(
                f"{name}: its tokenizer has {tokenizer.vocab_size} tokens, the model {network.config.vocab_size}:"
                " put the model's own tokenizer.json there"
            )
        self.network, self.tokenizer, self.name = network.eval().requires_grad_(False), tokenizer, name
        self.context = int(network.config.max_position_embeddings)
        eos = int(network.config.eos_token_id)
        self._end: int = tokenizer.eos if eos == _ARGMAX_EOS else eos

    @torch.no_grad()
    def encode(self, names: Sequence[str], templates: str) -> Tensor:
        """The mean over templates of the embeddings of their texts, each of length 1, of length 1 again."""
        texts = fill_templates(names, templates)
        flat = [text for row in texts for text in row]
        parts = [flat[start : start + _TEXTS_AT_ONCE] for start in range(0, len(flat), _TEXTS_AT_ONCE)]
        vectors = torch.cat([self.encode_embedded(self.embed_texts(part)) for part in parts])
        return F.normalize(vectors.view(len(names), -1, vectors.shape[1]).mean(dim=1), dim=1)

    @torch.no_grad()
    def embed_texts(self, texts: Sequence[str]) -> EmbeddedTexts:
        """Frozen word embeddings of texts; a text that is too long loses its end."""
        ids = self.tokenizer.encode(texts, self.context).to(self._look_up.weight.device)
        return EmbeddedTexts(self._look_up(ids), ids.argmax(dim=1))

    def encode_embedded(self, texts: EmbeddedTexts) -> Tensor:
        """Embeddings (T, D_text) of length 1."""
        return F.normalize(self._forward(texts).text_embeds, dim=1)

    def hidden(self, texts: EmbeddedTexts) -> Tensor:
        """The last hidden state (T, L, W) of every word up to the longest text's end."""
        hidden: Tensor = self._forward(texts).last_hidden_state
        return hidden

    def parameter_tensors(self) -> dict[str, Tensor]:
        """The weights by official name."""
        return dict(self.network.named_parameters())

    @property
    def _look_up(self) -> Any:
        return self.network.get_input_embeddings()

    def _forward(self, texts: EmbeddedTexts) -> Any:
        used = int(texts.ends.max()) + 1
        if used > self.context:
            raise PromptsegError(
                f"a text has {used} pieces with its markers, {self.name} reads {self.context}: use fewer"
            )
        words = texts.words[:, :used]
        # The ids say no more than where each text ends.
        ids = torch.zeros(words.shape[:2], dtype=torch.long, device=words.device)
        ids[torch.arange(len(ids), device=ids.device), texts.ends] = self._end
        hook = self._look_up.register_forward_hook(lambda *_: words)
        try:
            return self.network(input_ids=ids)
        finally:
            hook.remove()


class StoredText:
    """Embeddings of class names from a safetensors file: one vector for each name, under that name."""

    def __init__(self, path: Path, device: torch.device) -> None:
        """Read the file.

        Raises:
            PromptsegError: it is missing, or its tensors are not finite vectors of one length.
        """
        self._path = path
        self._vectors = {name: tensor.to(device, torch.float32) for name, tensor in read_safetensors(path).items()}
        lengths = {tuple(tensor.shape) for tensor in self._vectors.values()}
        if len(lengths) != 1 or len(next(iter(lengths))) != 1:
            raise PromptsegError(
                f"{path}: tensors of shapes {sorted(lengths)}, expected one vector for each class name"
            )
        for name, vector in self._vectors.items():
            if not torch.isfinite(vector).all() or not vector.any():
                raise PromptsegError(f"{path}: the vector of {name!r} is zero or not finite; write the file again")

    def encode(self, names: Sequence[str], templates: str) -> Tensor:
        """The stored vectors, scaled to length 1; whatever templates they were made with."""
        absent = [name for name in names if name not in self._vectors]
        if absent:
            raise PromptsegError(
                f"{self._path}: no embedding of {absent[0]!r}"
                f"{f' and {len(absent) - 1} more classes' if len(absent) > 1 else ''}: add a vector under each name"
            )
        return F.normalize(torch.stack([self._vectors[name] for name in names]), dim=1)

    def embed_texts(self, texts: Sequence[str]) -> EmbeddedTexts:
        """Refused: there are no words."""
        raise PromptsegError(
            f"{self._path}: stored embeddings have no words to learn: load with ?text= and a CLIP folder, or choose a"
            " method that needs none"
        )

    def encode_embedded(self, texts: EmbeddedTexts) -> Tensor:
        """Refused, as `embed_texts`."""
        raise AssertionError("nothing embeds texts for stored embeddings")

    def parameter_tensors(self) -> dict[str, Tensor]:
        """The vectors by class name."""
        return dict(self._vectors)


def load_text(where: str, device: torch.device) -> TextSource:
    """A text source: a CLIP folder, `hub:ORGANISATION/NAME` of one, or a `.safetensors` file of class embeddings.

    Raises:
        PromptsegError: it is none of them, or cannot be read.
    """
    path = Path(where)
    if path.suffix == ".safetensors":
        return StoredText(path, device)
    folder = hub_folder(where.removeprefix(HUB)) if where.startswith(HUB) else path
    if not folder.is_dir():
        raise PromptsegError(
            f"text={where}: no such folder; give a CLIP folder, hub:ORGANISATION/NAME, or a .safetensors file"
        )
    tokenizer = Tokenizer.from_file(folder / TOKENIZER)
    return ClipText(load_network(_TEXT_CLASS, folder).to(device), tokenizer, where)


def load_network(name: str, folder: Path) -> Any:
    """A network of the library in float32, on the CPU, with every weight from the folder.

    Raises:
        PromptsegError: the library is not installed, the folder lacks weights, or they do not fit its config.
    """
    kind = getattr(import_extra("transformers", "sam", "SAM"), name)
    try:
        with _quiet():
            # Pickles are read as plain tensors only, as is the library's own rule.
            network, found = kind.from_pretrained(
                folder, local_files_only=True, dtype=torch.float32, output_loading_info=True
            )
    except Exception as error:  # the library raises a dozen types here
        line = " ".join(str(error).split())[:200]
        raise PromptsegError(f"{folder}: cannot be read as {name} ({line}): fetch the folder again") from None
    missing = sorted(found["missing_keys"])
    if missing:
        raise PromptsegError(
            f"{folder}: {len(missing)} weights of {name} are missing ({missing[0]}, ...): give a complete checkpoint"
        )
    return network


@contextmanager
def _quiet() -> Iterator[None]:
    """No reports of the library about weights that are not asked for: what is missing is checked here."""
    logging = import_extra("transformers.utils.logging", "sam", "SAM")
    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
