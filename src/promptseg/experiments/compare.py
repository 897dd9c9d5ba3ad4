"""`compare`: methods side by side, on the same shots, the same images and the same number of steps."""

import traceback
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import product
from pathlib import Path
from shutil import rmtree
from typing import Any

from promptseg.data.few_shot import Shots, draw_shots
from promptseg.data.keep_out import keep_out, kept_out_ids
from promptseg.data.sample import Dataset, Split
from promptseg.engine.evaluate import Result, evaluate
from promptseg.engine.fit import fit
from promptseg.engine.runs import Run, environment
from promptseg.engine.shards import Shard
from promptseg.errors import PromptsegError, system_error
from promptseg.experiments.plan import Outcome, Plan, Score, Trial, prompts_folder, read_score, write_score
from promptseg.features.encode import encode_samples, image_tensor
from promptseg.features.features_cache import FeaturesCache
from promptseg.features.memory import PeakMemory
from promptseg.files import InUseError, locked, write_text
from promptseg.interrupts import was_asked_to_stop
from promptseg.models.base import PromptableSegmenter, named
from promptseg.progress import Progress
from promptseg.record import FitSettings
from promptseg.tasks.registry import build_task

Report = Callable[[Outcome], None]
Pool = Callable[[Plan, Path, Sequence[Trial], Report], None]
"""Computes the trials of a plan and reports each as it is finished; see `pool`."""
_SECONDS_TO_WAIT = 0.5
"""For a trial that another process computes, before the next one is looked at."""


class SharedData:
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
        self._caches: dict[tuple[str, str, str], FeaturesCache] = {}
        self._drawn: dict[tuple[int, int], Shots] = {}
        self._encoded: set[tuple[object, ...]] = set()
        self._untrained: dict[str, Result] = {}

    def cache(self, settings: FitSettings) -> FeaturesCache:
        """The features of the data set, shared by all trials that keep them alike."""
        kind = (settings.features, settings.features_dtype, settings.precision)
        if kind not in self._caches:
            self._caches[kind] = FeaturesCache(self._model.device, *kind[:2], precision=kind[2])
        return self._caches[kind]

    def shots(self, count: int, seed: int, settings: FitSettings) -> Shots:
        """The drawn shots; their features and those of the evaluated images are in the cache afterwards.

        So time and memory of the first fit are measured as those of the others. What is seen in tiles is not encoded
        beforehand: the tiles of a whole split would fill any cache.
        """
        if (count, seed) not in self._drawn:
            plan = self._plan
            found = draw_shots(self._dataset.train, count, seed, plan.rule, task=plan.task)
            self._drawn[count, seed] = keep_out(found, plan.keep_out)
        shots, cache = self._drawn[count, seed], self.cache(settings)
        if settings.tile:
            return shots
        bar = Progress(self._progress)
        with bar.running():
            kind = (settings.features, settings.features_dtype, settings.precision, settings.short_side)
            if (drawn := (*kind, count, seed, settings.flip)) not in self._encoded:
                encode_samples(
                    self._model,
                    shots,
                    build_task(self._plan.task),
                    cache=cache,
                    progress=bar,
                    short_side=settings.short_side,
                    flip=settings.flip,
                )
            if kind not in self._encoded:
                for sample in bar.track(self._split, "encode"):
                    cache.features(self._model, image_tensor(self._model, sample.image(), settings.short_side))
        self._encoded |= {drawn, kind}
        return shots

    def evaluate(self, variant: str, run: Run, settings: FitSettings) -> Result:
        """The scores of a run; what trains nothing depends on neither seed nor shots and is scored once."""
        if run.parameters == 0 and variant in self._untrained:
            return self._untrained[variant]
        # Features of an encoder that one run adapted are of no use to another, and would take the room of the others'.
        task, cache = self._plan.task, None if run.prompts.weights else self.cache(settings)
        result = evaluate(self._model, run.prompts, self._split, task, progress=self._progress, cache=cache)
        if run.parameters == 0:
            self._untrained[variant] = result
        return result


def compare(
    model: PromptableSegmenter,
    datasets: Sequence[Dataset],
    plan: Plan,
    out: str | Path,
    say: Callable[[str], None] = print,
    pool: Pool | None = None,
    shard: Shard | None = None,
) -> list[Outcome]:
    """Fit and evaluate every trial that is not in `out` yet.

    Every finished trial is a file `out/trials/NAME.json` beside its prompts `out/prompts/NAME`, and a fit that is not
    finished keeps its checkpoint in `out/unfinished`, so that a comparison that was stopped goes on where it was.
    A trial that fails leaves its traceback in `out/failed`; the others go on. Any number of processes may work in one
    folder: each trial is computed by one of them, and read by the others.

    Args:
        model: the frozen segmenter.
        datasets: shots are drawn from `train`, scores are taken on the plan's split.
        plan: what to compare.
        out: folder of the comparison.
        say: takes a line about each trial.
        pool: computes the trials elsewhere; none = here, one after the other.
        shard: which of the trials to compute, where other processes compute the others into `out`; none = all.

    Returns:
        All trials that are finished or failed here, data by data, in the order of variants, shots and seeds.

    Raises:
        PromptsegError: an unknown name or setting, a split without images, or `out` holds trials of other settings.
    """
    folder = Path(out)
    comparison = Comparison(model, datasets, plan, folder)
    found = comparison.finished()
    mine = (shard or Shard()).block(comparison.in_order(list(found)))
    waiting = [trial for trial in mine if found[trial] is None]
    comparison.tidy([trial for trial, outcome in found.items() if outcome is not None])
    part = "" if shard is None or shard.count == 1 else f", {len(mine)} in part {shard}"
    say(f"{len(found)} trials{part}, {len(mine) - len(waiting)} finished before")

    def report(outcome: Outcome) -> None:
        found[outcome.trial] = outcome
        say(str(outcome))

    if pool is not None and waiting:
        pool(plan, folder, waiting, report)
    else:
        left = deque(waiting)
        while left:
            trial = left.popleft()
            outcome = comparison.run(trial)
            if outcome is None:
                left.append(trial)
            else:
                report(outcome)
    # What other processes have finished meanwhile belongs to the tables too.
    return [outcome for trial, now in comparison.finished().items() if (outcome := now or found[trial]) is not None]


class Comparison:
    """A plan on its data: which trials there are, and how one is computed."""

    def __init__(
        self, model: PromptableSegmenter, datasets: Sequence[Dataset], plan: Plan, out: Path, progress: bool = True
    ) -> None:
        """Check the plan; `progress` shows bars if standard error is a terminal.

        Raises:
            PromptsegError: an unknown name or setting.
        """
        self._model, self._plan, self._out, self._progress = model, plan, out, progress
        self._datasets = {dataset.spec: dataset for dataset in datasets}
        if len(self._datasets) < len(datasets):
            raise PromptsegError(f"{', '.join(dataset.spec for dataset in datasets)}: give each data set once")
        self._variants = {variant.label: variant for variant in plan.variants}
        self._open: tuple[str, SharedData] | None = None
        plan.check()

    def finished(self) -> dict[Trial, Outcome | None]:
        """All trials, and what those that are finished found."""
        found: dict[Trial, Outcome | None] = {}
        for dataset in self._datasets.values():
            kept_out_ids(dataset.label_space, self._plan.keep_out)
            for split in (dataset.train, self._split(dataset)):
                if not len(split):
                    raise PromptsegError(f"{dataset.spec} has no images in split {split.name!r}: give lists for it")
                build_task(self._plan.task).labels(split[0])
            for label, shots, seed in product(self._variants, self._plan.shots, self._plan.seeds):
                trial = Trial(dataset.spec, self._plan.task, label, shots, seed)
                score = read_score(self._file(trial), self._record(trial))
                found[trial] = None if score is None else Outcome(trial, score)
        return found

    def in_order(self, trials: Sequence[Trial]) -> list[Trial]:
        """The trials so that those on the same images follow each other: data, then seed, then shots."""
        data, plan = list(self._datasets), self._plan
        return sorted(trials, key=lambda c: (data.index(c.data), plan.seeds.index(c.seed), plan.shots.index(c.shots)))

    def _split(self, dataset: Dataset) -> Split:
        return dataset.val if self._plan.split == "val" else dataset.test

    def _file(self, trial: Trial) -> Path:
        return self._out / "trials" / f"{trial.name}.json"

    def _unfinished(self, trial: Trial) -> Path:
        return self._out / "unfinished" / trial.name

    def _lock(self, trial: Trial) -> Path:
        return self._out / "unfinished" / f"{trial.name}.lock"

    def _failure(self, trial: Trial) -> Path:
        return self._out / "failed" / f"{trial.name}.txt"

    def _record(self, trial: Trial) -> dict[str, Any]:
        """All that the score of a trial depends on."""
        plan, variant = self._plan, self._variants[trial.variant]
        return {
            "model": named(self._model),
            "data": trial.data,
            "split": plan.split,
            "method": variant.method,
            "task": plan.task,
            "preset": plan.preset,
            "settings": plan.resolved(variant).to_json(),
            "shots": trial.shots,
            "rule": plan.rule,
            "keep_out": list(plan.keep_out),
            "seed": trial.seed,
        }

    def run(self, trial: Trial) -> Outcome | None:
        """Compute a trial and write its files, or read what another process has found; none while one computes it.

        What goes wrong becomes the outcome.
        """
        try:
            with locked(self._lock(trial), trial.name, _SECONDS_TO_WAIT):
                found = read_score(self._file(trial), self._record(trial))
                return Outcome(trial, self._compute(trial) if found is None else found)
        except InUseError:
            return None
        except Exception as error:
            if was_asked_to_stop():
                raise
            write_text(self._failure(trial), "".join(traceback.format_exception(error)))
            line = " ".join(str(error).split())
            mistake = isinstance(error, PromptsegError)
            return Outcome(trial, None, line if mistake else system_error(error) or f"{type(error).__name__}: {line}")

    def tidy(self, finished: Sequence[Trial]) -> None:
        """Remove what processes left that were killed after they had written a score."""
        for trial in finished:
            unfinished, lock = self._unfinished(trial), self._lock(trial)
            if unfinished.exists() or lock.exists():
                with suppress(InUseError), locked(lock, trial.name):
                    rmtree(unfinished, ignore_errors=True)

    def _compute(self, trial: Trial) -> Score:
        plan, variant = self._plan, self._variants[trial.variant]
        unfinished = self._unfinished(trial)
        shared, settings = self._shared_data(trial.data), plan.resolved(variant).fit
        shots = shared.shots(trial.shots, trial.seed, settings)
        meter = PeakMemory(self._model.device)
        run = fit(
            self._model,
            shots,
            variant.method,
            plan.task,
            plan.preset,
            seed=trial.seed,
            out=unfinished,
            resume=True,
            progress=self._progress,
            cache=shared.cache(settings),
            **plan.settings_of(variant),
        )
        peak = meter.read()
        folder = run.prompts.save(prompts_folder(self._out, trial))
        result = shared.evaluate(trial.variant, run, settings)
        encoding = None if run.prompts.weights else shared.cache(settings).seconds_per_image
        score = _score(run, result, len(shots), encoding, peak, _bytes(folder))
        write_score(self._file(trial), self._record(trial), score, environment())
        rmtree(unfinished)
        self._failure(trial).unlink(missing_ok=True)
        return score

    def _shared_data(self, data: str) -> SharedData:
        """What the trials on a data set share; that of another one is given up, with the memory it holds."""
        if self._open is None or self._open[0] != data:
            dataset = self._datasets[data]
            shared = SharedData(self._model, dataset, self._split(dataset), self._plan, self._progress)
            self._open = (data, shared)
        return self._open[1]


def _score(
    run: Run, result: Result, images: int, encoding: float | None, peak: int | None, artefact_bytes: int
) -> Score:
    trained_images = len(run.losses) * run.record.settings.batch_size
    return Score(
        scores=result.scores,
        per_class=result.per_class,
        images=images,
        parameters=run.parameters,
        ms_per_image=1000 * run.seconds / trained_images if trained_images else None,
        encode_ms=None if encoding is None else 1000 * encoding,
        peak_bytes=peak,
        artefact_bytes=artefact_bytes,
    )


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
