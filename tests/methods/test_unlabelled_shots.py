"""Photos among the shots in which nothing is labelled."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from shapes import SHAPES, ShapeSample
from tiny import tiny_segmenter

import promptseg
from promptseg.errors import PromptsegError
from promptseg.label_space import IGNORE


@dataclass(frozen=True)
class Unlabelled:
    """A sample in which nothing is labelled."""

    sample: ShapeSample

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sample, name)

    def semantic(self) -> np.ndarray:
        return np.full_like(self.sample.semantic(), IGNORE)


@pytest.mark.parametrize("method", ["pixprompt", "linear", "prototype", "prototype-text", "sspixprompt"])
def test_photos_without_labels_change_nothing_wherever_they_stand(method: str) -> None:
    model, few = tiny_segmenter(), {"steps": 4, "batch_size": 1} if method == "sspixprompt" else {}
    no, yes = Unlabelled(SHAPES[1]), SHAPES[0]
    for shots in ([yes], [yes, no], [no, yes], [no, yes, no]):
        run = promptseg.fit(model, shots, method, progress=False, **few)
        assert "pixel" in run.prompts.kinds and "held_out_gain" not in run.record.metrics
    with pytest.raises(PromptsegError, match="no pixel of the shots is labelled"):
        promptseg.fit(model, [no, no], method, progress=False, **few)
