"""SSPixPrompt: SSPrompt's spatial and semantic prompts, and pixel prompts solved over their answers."""

from dataclasses import dataclass

from promptseg.checks import check_whole
from promptseg.methods.module import Method
from promptseg.methods.pixel.pixprompt import PixelPrompts, PixelSettings
from promptseg.methods.ssprompt import SSPROMPT, SSPromptSettings
from promptseg.models.base import PromptableSegmenter


@dataclass(frozen=True)
class SSPixelSettings(PixelSettings, SSPromptSettings):
    """Settings of SSPrompt and of the solver over it.

    Attributes:
        cross_fit: in how many folds SSPrompt is trained again so that the solver sees answers on shots that it was not
            trained on; 0 = the solver sees its answers on its own training shots.
    """

    cross_fit: int = 2

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        PixelSettings.__post_init__(self)
        SSPromptSettings.__post_init__(self)
        check_whole("cross_fit", self.cross_fit, least=0)


def _cross_fitting(
    model: PromptableSegmenter, classes: int, shots: int, settings: SSPixelSettings, seed: int
) -> PixelPrompts:
    return PixelPrompts(model, classes, shots, settings, seed, settings.cross_fit)


METHOD = Method(SSPixelSettings, SSPROMPT.build, solver=_cross_fitting, starter=SSPROMPT.starter)
