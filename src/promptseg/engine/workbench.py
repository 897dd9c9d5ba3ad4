"""One data set of a comparison, with what has been computed of it and serves more than one cell."""

from promptseg.data.few_shot import Shots, draw_shots
from promptseg.data.sample import Dataset, Split
from promptseg.engine.cells import Plan
from promptseg.engine.encode import encode_samples, image_tensor
from promptseg.engine.evaluate import Result, evaluate
from promptseg.engine.features_cache import FeaturesCache
from promptseg.engine.progress import Progress
from promptseg.engine.runs import Run
from promptseg.engine.settings import FitSettings
from promptseg.models.base import PromptableSegmenter
from promptseg.tasks.registry import build_task


class Workbench:
    """Draws shots once, encodes every image once, and scores prompts that no training changed once."""

    def __init__(self, model: PromptableSegmenter, dataset: Dataset, split: Split, plan: Plan, progress: bool) -> None:
        """Start with nothing computed.

        Args:
            model: the frozen segmenter.
            dataset: shots are drawn from its `train`.
            split: what is evaluated.
            plan: gives task and rule of the draw.
            progress: show bars if standard error is a terminal.
        """
        self._model, self._dataset, self._split = model, dataset, split
        self._plan, self._progress = plan, progress
        self._caches: dict[tuple[str, str], FeaturesCache] = {}
        self._drawn: dict[tuple[int, int], Shots] = {}
        self._encoded: set[tuple[object, ...]] = set()
        self._untrained: dict[str, Result] = {}

    def cache(self, settings: FitSettings) -> FeaturesCache:
        """The features of the data set, shared by all cells that keep them alike."""
        kind = (settings.features, settings.features_dtype)
        if kind not in self._caches:
            self._caches[kind] = FeaturesCache(self._model.device, *kind)
        return self._caches[kind]

    def shots(self, count: int, seed: int, settings: FitSettings) -> Shots:
        """The drawn shots; their features and those of the evaluated images are in the cache afterwards.

        So time and memory of the first fit are measured as those of the others.
        """
        if (count, seed) not in self._drawn:
            self._drawn[count, seed] = draw_shots(self._dataset.train, k=count, seed=seed, rule=self._plan.rule)
        shots, cache = self._drawn[count, seed], self.cache(settings)
        bar = Progress(self._progress)
        with bar.running():
            kind = (settings.features, settings.features_dtype, settings.short_side)
            if (drawn := (*kind, count, seed, settings.flip)) not in self._encoded:
                encode_samples(self._model, shots, build_task(self._plan.task), settings, cache, bar)
            if kind not in self._encoded:
                for sample in bar.track(self._split, "encode"):
                    cache.features(self._model, image_tensor(self._model, sample.image(), settings.short_side))
        self._encoded |= {drawn, kind}
        return shots

    def evaluate(self, variant: str, run: Run, settings: FitSettings) -> Result:
        """The scores of a run; what trains nothing depends on neither seed nor shots and is scored once."""
        if run.parameters == 0 and variant in self._untrained:
            return self._untrained[variant]
        task, cache = self._plan.task, self.cache(settings)
        result = evaluate(self._model, run.prompts, self._split, task, progress=self._progress, cache=cache)
        if run.parameters == 0:
            self._untrained[variant] = result
        return result
