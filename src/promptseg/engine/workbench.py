"""One data set of a comparison, with what has been computed of it and serves more than one cell."""

from promptseg.data.few_shot import Shots, draw_shots
from promptseg.data.sample import Dataset, Split
from promptseg.engine.cells import Plan
from promptseg.engine.encode import encode_samples, image_tensor
from promptseg.engine.evaluate import Result, evaluate
from promptseg.engine.features_cache import remember_images
from promptseg.engine.progress import Progress
from promptseg.engine.runs import Run
from promptseg.engine.settings import FitSettings
from promptseg.models.base import PromptableSegmenter
from promptseg.tasks.registry import build_task

FEATURES_BYTES = 4 * 2**30
"""Memory for the features of one data set's images; what is beyond it is encoded for every cell."""


class Workbench:
    """Draws shots once, encodes every image once, and scores prompts that no training changed once.

    Attributes:
        model: the segmenter, with a memory for the images of this data set.
    """

    def __init__(self, model: PromptableSegmenter, dataset: Dataset, split: Split, plan: Plan, progress: bool) -> None:
        """Start with nothing computed.

        Args:
            model: the frozen segmenter.
            dataset: shots are drawn from its `train`.
            split: what is evaluated.
            plan: gives task and rule of the draw.
            progress: show bars if standard error is a terminal.
        """
        self.model = remember_images(model, FEATURES_BYTES)
        self._dataset, self._split, self._plan, self._progress = dataset, split, plan, progress
        self._drawn: dict[tuple[int, int], Shots] = {}
        self._encoded: set[tuple[object, ...]] = set()
        self._untrained: dict[str, Result] = {}

    def shots(self, count: int, seed: int, settings: FitSettings) -> Shots:
        """The drawn shots; their features and those of the evaluated images are in memory afterwards.

        So time and memory of the first fit are measured as those of the others.
        """
        if (count, seed) not in self._drawn:
            self._drawn[count, seed] = draw_shots(self._dataset.train, k=count, seed=seed, rule=self._plan.rule)
        shots = self._drawn[count, seed]
        short_side = settings.short_side or self.model.short_side
        bar = Progress(self._progress)
        with bar.running():
            if (drawn := (count, seed, short_side, settings.flip)) not in self._encoded:
                encode_samples(self.model, shots, build_task(self._plan.task), settings, bar)
            if (evaluated := (short_side,)) not in self._encoded:
                for sample in bar.track(self._split, "encode"):
                    self.model.encode_image([image_tensor(sample.image(), short_side)])
        self._encoded |= {drawn, evaluated}
        return shots

    def evaluate(self, variant: str, run: Run) -> Result:
        """The scores of a run; what trains nothing depends on neither seed nor shots and is scored once."""
        if run.parameters == 0 and variant in self._untrained:
            return self._untrained[variant]
        result = evaluate(self.model, run.prompts, self._split, self._plan.task, progress=self._progress)
        if run.parameters == 0:
            self._untrained[variant] = result
        return result
