"""CoOp: learned context words before the class name, through the frozen text encoder at every step.

Zhou et al., "Learning to Prompt for Vision-Language Models", 2022. The class name comes last, followed by a full stop:
at its start the text is that of the template `photo`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from promptseg.checks import check_flag, check_number, check_whole
from promptseg.errors import PromptsegError
from promptseg.methods.module import Method, PromptModule
from promptseg.models.base import PromptableSegmenter
from promptseg.models.capabilities import EmbeddedTexts, word_level_text
from promptseg.prompts import Prompts

_SPREAD = 0.02
"""Standard deviation of a random start, that of CLIP's own word embeddings at their start."""


@dataclass(frozen=True)
class CoOpSettings:
    """Settings of CoOp.

    Attributes:
        context: words that the learned context starts as; their pieces are its M embeddings (4 as given).
        context_tokens: M for a random start instead of `context`; none = start as `context`.
        class_specific: one context for every class, not one for all.
        context_rate: learning rate relative to the base rate.
    """

    context: str = "a photo of a"
    context_tokens: int | None = None
    class_specific: bool = False
    context_rate: float = 0.1

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        if self.context_tokens is not None:
            check_whole("context_tokens", self.context_tokens)
        if not isinstance(self.context, str) or not self.context.strip():
            raise PromptsegError(f"context is {self.context!r}: give the words that the context starts as")
        check_flag("class_specific", self.class_specific)
        check_number("context_rate", self.context_rate)


class CoOp(PromptModule):
    """M context embeddings (1 or C, M, W); all but the class embeddings stays default."""

    words: Tensor
    ends: Tensor

    def __init__(self, model: PromptableSegmenter, defaults: Prompts, settings: CoOpSettings, seed: int) -> None:
        """Start from the words of `settings`.

        Args:
            model: gives the frozen text encoder.
            defaults: default prompts, on the device to train on.
            settings: of the context.
            seed: of a random start.

        Raises:
            PromptsegError: the model's text encoder cannot be entered at the words.
        """
        super().__init__()
        self._text, self._settings = word_level_text(model), settings
        start = self._text.embed_texts([settings.context])
        self._given = int(start.ends[0]) - 1
        full = self._text.embed_texts([f"{settings.context} {name}." for name in defaults.class_names])
        self.register_buffer("words", full.words)
        self.register_buffer("ends", full.ends)
        self.context = nn.Parameter(self._start(start.words[:, 1 : 1 + self._given], seed))

    def _start(self, given: Tensor, seed: int) -> Tensor:
        """The first context (1 or C, M, W), from the `given` one (1, M, W)."""
        if self._settings.context_tokens is not None:
            generator = torch.Generator().manual_seed(seed)
            noise = torch.randn(1, self._settings.context_tokens, given.shape[2], generator=generator)
            given = _SPREAD * noise.to(given)
        return given.repeat(len(self.words) if self._settings.class_specific else 1, 1, 1)

    @property
    def learned_kinds(self) -> frozenset[str]:
        """The class embeddings."""
        return self._text.text_kinds

    def forward(self) -> dict[str, Tensor]:
        """What the text encoder makes of the class names behind the learned context."""
        context = self.context.expand(len(self.words), -1, -1)
        words = torch.cat((self.words[:, :1], context, self.words[:, 1 + self._given :]), dim=1)
        ends = self.ends + context.shape[1] - self._given
        return self._text.encode_embedded(EmbeddedTexts(words, ends))

    def parts(self) -> dict[str, Tensor]:
        """`context` (1 or C, M, W)."""
        return {"context": self.context}

    def rate_scales(self) -> dict[str, float]:
        """As the settings say."""
        return {"context": self._settings.context_rate}


METHOD = Method(CoOpSettings, CoOp, {"templates": "photo"})
