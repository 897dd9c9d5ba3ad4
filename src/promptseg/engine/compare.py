"""`compare`: methods side by side, on the same shots, the same images and the same number of steps."""

import traceback
from collections.abc import Callable, Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from promptseg.data.few_shot import Shots, draw_shots
from promptseg.data.sample import Dataset, Split
from promptseg.engine.cells import Cell, Outcome, Plan, Score, Variant, prompts_folder, read_score, write_score
from promptseg.engine.encode import encode_samples, image_tensor
from promptseg.engine.evaluate import Result, evaluate
from promptseg.engine.features_cache import FeaturesCache
from promptseg.engine.fit import fit
from promptseg.engine.meter import PeakMemory
from promptseg.engine.progress import Progress
from promptseg.engine.runs import Run, environment
from promptseg.engine.settings import Resolved, resolve
from promptseg.errors import PromptsegError
from promptseg.files import write_text
from promptseg.learners.registry import find_method
from promptseg.models.base import PromptableSegmenter
from promptseg.tasks.registry import build_task, find_task


def compare(
    model: PromptableSegmenter,
    datasets: Sequence[Dataset],
    plan: Plan,
    out: str | Path,
    say: Callable[[str], None] = print,
) -> list[Outcome]:
    """Fit and evaluate every cell that is not in `out` yet.

    Every finished cell is a file `out/cells/NAME.json` beside its prompts `out/prompts/NAME`, so that a comparison that
    was stopped goes on where it was. A cell that fails leaves its traceback in `out/failed`; the others go on.

    Args:
        model: the frozen segmenter.
        datasets: shots are drawn from `train`, scores are taken on the plan's split.
        plan: what to compare.
        out: folder of the comparison.
        say: takes a line about each cell.

    Returns:
        All cells, data by data, in the order of variants, shots and seeds.

    Raises:
        PromptsegError: an unknown name or setting, a split without images, or `out` holds cells of other settings.
    """
    comparison = _Comparison(model, plan, Path(out), say)
    found = comparison.finished(datasets)
    waiting = [cell for cell, outcome in found.items() if outcome is None]
    say(f"{len(found)} cells, {len(found) - len(waiting)} finished before")
    for dataset in datasets:
        todo = [cell for cell in waiting if cell.data == dataset.spec]
        found |= {outcome.cell: outcome for outcome in comparison.run(dataset, todo)}
    return [outcome for outcome in found.values() if outcome is not None]


class _Comparison:
    """One call of `compare`."""

    def __init__(self, model: PromptableSegmenter, plan: Plan, out: Path, say: Callable[[str], None]) -> None:
        self._model, self._plan, self._out, self._say = model, plan, out, say
        self._variants = {variant.label: variant for variant in plan.variants}
        self._caches: dict[tuple[str, str], FeaturesCache] = {}
        self._task = build_task(plan.task)
        for variant in plan.variants:
            self._resolved(variant)

    def _settings(self, variant: Variant) -> dict[str, Any]:
        return {**self._plan.settings, **variant.settings}

    def _resolved(self, variant: Variant) -> Resolved:
        """The settings of a variant; a mistake in them names the variant."""
        try:
            return resolve(self._plan.preset, find_method(variant.method), self._settings(variant), self._plan.task)
        except PromptsegError as error:
            raise PromptsegError(f"{variant.label}: {error}") from None

    def finished(self, datasets: Sequence[Dataset]) -> dict[Cell, Outcome | None]:
        """All cells, and what those that are finished found."""
        found: dict[Cell, Outcome | None] = {}
        for dataset in datasets:
            for split in (dataset.train, self._split(dataset)):
                if not len(split):
                    raise PromptsegError(f"{dataset.spec} has no images in split {split.name!r}: give lists for it")
                self._task.labels(split[0])
            for label, shots, seed in product(self._variants, self._plan.shots, self._plan.seeds):
                cell = Cell(dataset.spec, self._plan.task, label, shots, seed)
                score = read_score(self._file(cell), self._record(cell))
                found[cell] = None if score is None else Outcome(cell, score)
        return found

    def _split(self, dataset: Dataset) -> Split:
        return dataset.val if self._plan.split == "val" else dataset.test

    def _file(self, cell: Cell) -> Path:
        return self._out / "cells" / f"{cell.name}.json"

    def _failure(self, cell: Cell) -> Path:
        return self._out / "failed" / f"{cell.name}.txt"

    def _record(self, cell: Cell) -> dict[str, Any]:
        """All that the score of a cell depends on."""
        plan, variant = self._plan, self._variants[cell.variant]
        return {
            "model": self._model.fingerprint,
            "data": cell.data,
            "split": plan.split,
            "method": variant.method,
            "task": plan.task,
            "preset": plan.preset,
            "settings": self._resolved(variant).to_json(),
            "shots": cell.shots,
            "rule": plan.rule,
            "seed": cell.seed,
        }

    def run(self, dataset: Dataset, cells: Sequence[Cell]) -> Iterable[Outcome]:
        """Compute cells of one data set; those on the same shots together, so that each image is encoded once."""
        self._caches.clear()
        for seed, count in product(self._plan.seeds, self._plan.shots):
            group = [cell for cell in cells if (cell.seed, cell.shots) == (seed, count)]
            if not group:
                continue
            try:
                shots = draw_shots(dataset.train, k=count, seed=seed, rule=self._plan.rule)
                self._encode(shots, self._split(dataset), self._variants[group[0].variant])
            except Exception as error:
                yield from (self._failed(cell, error) for cell in group)
                continue
            for cell in group:
                yield self._cell(dataset, shots, cell)

    def _cache(self, variant: Variant) -> FeaturesCache:
        """The features of the data set at work, shared by all cells that keep them alike."""
        settings = self._resolved(variant).fit
        kind = (settings.features, settings.features_dtype)
        if kind not in self._caches:
            self._caches[kind] = FeaturesCache(self._model.device, *kind)
        return self._caches[kind]

    def _encode(self, shots: Shots, split: Split, variant: Variant) -> None:
        """Fill the cache, so that time and memory of the first cell are measured as those of the others."""
        settings, cache = self._resolved(variant).fit, self._cache(variant)
        bar = Progress(True)
        with bar.running():
            encode_samples(self._model, shots, self._task, settings, cache, bar)
            for sample in bar.track(split, "encode"):
                cache.features(self._model, image_tensor(self._model, sample.image(), settings.short_side))
        if news := cache.news():
            self._say(news)

    def _cell(self, dataset: Dataset, shots: Shots, cell: Cell) -> Outcome:
        plan, variant = self._plan, self._variants[cell.variant]
        try:
            model, settings, cache = self._model, self._settings(variant), self._cache(variant)
            meter = PeakMemory(model.device)
            run = fit(
                model,
                shots,
                variant.method,
                plan.task,
                plan.preset,
                seed=cell.seed,
                progress=False,
                cache=cache,
                **settings,
            )
            peak = meter.read()
            folder = run.prompts.save(prompts_folder(self._out, cell))
            result = evaluate(model, run.prompts, self._split(dataset), plan.task, progress=True, cache=cache)
            score = _score(run, result, len(shots), peak, _bytes(folder))
            write_score(self._file(cell), self._record(cell), score, environment())
        except Exception as error:
            return self._failed(cell, error)
        self._failure(cell).unlink(missing_ok=True)
        self._say(f"{cell}: {find_task(cell.task).columns.text(score.scores)}")
        return Outcome(cell, score)

    def _failed(self, cell: Cell, error: Exception) -> Outcome:
        known = isinstance(error, PromptsegError)
        line = " ".join(str(error).split()) if known else f"{type(error).__name__}: {' '.join(str(error).split())}"
        write_text(self._failure(cell), "".join(traceback.format_exception(error)))
        self._say(f"{cell}: failed: {line}")
        return Outcome(cell, None, line)


def _score(run: Run, result: Result, images: int, peak: int | None, artefact_bytes: int) -> Score:
    trained_images = len(run.losses) * run.record["settings"]["batch_size"]
    return Score(
        scores=result.scores,
        per_class=result.per_class,
        images=images,
        parameters=run.parameters,
        ms_per_image=1000 * run.seconds / trained_images if trained_images else None,
        peak_bytes=peak,
        artefact_bytes=artefact_bytes,
    )


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
