"""LOCN: learned word embeddings of the class names, through the frozen text encoder at every step.

Parisot et al., "Learning to Name Classes for Vision and Language Models", 2023. The words around the name stay those of
the template `photo`. Every class has embeddings of its own, also where two names share a word.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from promptseg.checks import check_number
from promptseg.errors import PromptsegError
from promptseg.methods.module import Method, PromptModule
from promptseg.models.base import PromptableSegmenter
from promptseg.models.capabilities import EmbeddedTexts, word_level_text
from promptseg.prompts import Prompts

_BEFORE, _AFTER = "a photo of a", "."


@dataclass(frozen=True)
class LOCNSettings:
    """Settings of LOCN.

    Attributes:
        name_rate: learning rate relative to the base rate.
    """

    name_rate: float = 0.3

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        check_number("name_rate", self.name_rate)


class LOCN(PromptModule):
    """Embeddings (P, W) of the P pieces of all class names; everything but the class embeddings stays default."""

    words: Tensor
    ends: Tensor
    rows: Tensor
    columns: Tensor

    def __init__(self, model: PromptableSegmenter, defaults: Prompts, settings: LOCNSettings, seed: int) -> None:
        """Start from the class names themselves.

        Args:
            model: gives the frozen text encoder.
            defaults: default prompts, on the device to train on.
            settings: of the learning.
            seed: not needed, the start is not random.

        Raises:
            PromptsegError: the model's text encoder cannot be entered at the words, or reads too few of them.
        """
        super().__init__()
        self._text, self._settings = word_level_text(model), settings
        full = self._text.embed_texts([f"{_BEFORE} {name}{_AFTER}" for name in defaults.class_names])
        before, after = (int(end) - 1 for end in self._text.embed_texts([_BEFORE, _AFTER]).ends)
        place = torch.arange(full.words.shape[1], device=full.ends.device)
        is_name = (place > before) & (place < full.ends[:, None] - after)
        if not is_name.any(dim=1).all():
            name = defaults.class_names[int(is_name.any(dim=1).int().argmin())]
            raise PromptsegError(f"no room for class name {name!r} in the text that {model.id} reads: choose semprompt")
        rows, columns = is_name.nonzero(as_tuple=True)
        for key, tensor in (("words", full.words), ("ends", full.ends), ("rows", rows), ("columns", columns)):
            self.register_buffer(key, tensor)
        self.names = nn.Parameter(full.words[rows, columns].clone())

    @property
    def learned_kinds(self) -> frozenset[str]:
        """The class embeddings."""
        return self._text.text_kinds

    def forward(self) -> dict[str, Tensor]:
        """What the text encoder makes of the learned names."""
        words = self.words.index_put((self.rows, self.columns), self.names)
        return self._text.encode_embedded(EmbeddedTexts(words, self.ends))

    def parts(self) -> dict[str, Tensor]:
        """`names` (P, W), class by class."""
        return {"names": self.names}

    def rate_scales(self) -> dict[str, float]:
        """As the settings say."""
        return {"names": self._settings.name_rate}


METHOD = Method(LOCNSettings, LOCN, {"templates": "photo"})
