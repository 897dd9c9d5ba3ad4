"""`fit`: from a frozen model and a few labelled images to prompts."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from promptseg.checks import check_whole
from promptseg.data.few_shot import Shots
from promptseg.data.sample import Sample
from promptseg.data.tile_samples import Pieces
from promptseg.engine.defaults import default_prompts
from promptseg.engine.drawn_classes import without_draws
from promptseg.engine.runs import CHECKPOINT, RECORD, Run, check_free, check_record, load_run, run_folder
from promptseg.engine.settings import Resolved, resolve
from promptseg.engine.solve import cross_fitted, show_shots, with_solved
from promptseg.engine.trainer import Trainer
from promptseg.engine.workers import Workers
from promptseg.errors import PromptsegError
from promptseg.features.features_cache import FeaturesCache
from promptseg.label_space import LabelSpace
from promptseg.methods.module import BuildSolver, Method, PromptModule, PromptSolver, Solved
from promptseg.methods.registry import DEFAULT_METHOD, METHODS
from promptseg.models.adapted import Adapted, adapted
from promptseg.models.base import PromptableSegmenter
from promptseg.progress import Progress
from promptseg.prompts import Prompts
from promptseg.record import Draw, FitRecord
from promptseg.tasks.base import Task
from promptseg.tasks.registry import TASKS


def fit(
    model: PromptableSegmenter,
    shots: Sequence[Sample],
    method: str = DEFAULT_METHOD,
    task: str = "semantic",
    preset: str = "tuned",
    steps: int | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    cache: FeaturesCache | None = None,
    **settings: Any,
) -> Run:
    """Learn prompts for the classes of `shots` on a frozen model.

    Args:
        model: the segmenter; none of its tensors changes.
        shots: labelled images of one label space, as `draw_shots` gives them.
        method: a name of `methods.registry.METHODS`; `zero-shot` learns nothing. What is not named measured best in
            seconds of learning.
        task: a name of `tasks.registry.TASKS`.
        preset: a name of `engine.settings.PRESETS`.
        steps: overrides the preset's number of steps.
        seed: of the random start and of the order of the images.
        out: folder for checkpoint and result; none keeps nothing on disk.
        resume: go on from the checkpoint in `out`; a finished run is read back.
        progress: show a progress bar if standard error is a terminal.
        cache: of image features, shared with other fits; none = one of its own, as the settings say.
        settings: overrides of `FitSettings` and of the settings of method and task.

    Raises:
        PromptsegError: unknown name, value out of range, no shots, labels that do not fit, or an
            `out` that holds another run, or that another process fits in.
        KeyboardInterrupt: passed on when the step is finished and the checkpoint is written; a second one at once.
    """
    overrides = settings if steps is None else settings | {"steps": steps}
    check_whole("seed", seed, 0)
    found = METHODS.find(method)
    resolved = resolve(preset, found, overrides, task)
    resolved = resolved._replace(fit=without_draws(resolved.fit, model, overrides))
    built_task = TASKS.find(task).build(resolved.task)
    label_space = _label_space(shots)
    record = FitRecord(
        method,
        task,
        preset,
        seed,
        settings=resolved.fit,
        method_settings=asdict(resolved.method),
        task_settings=asdict(resolved.task),
        draw=shots.draw if isinstance(shots, Shots) else Draw(tuple(sample.id for sample in shots)),
        licence=f"of the model: {model.licence}",
    )
    folder = None if out is None else Path(out)
    workers = Workers(model.device)
    with run_folder(folder if workers.is_main else None):
        if folder is not None and not resume:
            check_free(folder)
        if folder is not None and (folder / RECORD).exists():
            return _finished(folder, model, record)
        defaults = default_prompts(model, label_space, resolved.fit.spatial, resolved.fit.templates).to(model.device)
        module = found.build(model, defaults, resolved.method, seed)
        if cache is None:
            # What is only solved sees every image once: there is nothing to keep.
            place = resolved.fit.features if module.num_parameters() else "none"
            cache = FeaturesCache(model.device, place, resolved.fit.features_dtype, precision=resolved.fit.precision)
        one = _Fit(model, found, resolved, built_task, record, defaults, cache, workers, progress)
        pieces = Pieces.of(shots, resolved.tiling)
        run, trainer, start = one.train(module, pieces, folder)
        if found.solver is not None:
            run, record = one.solve(found.solver, run, pieces)
        if start is not None and start.metrics:  # of maps that had not yet seen what was held out
            record = replace(record, metrics=start.metrics, tried=start.tried)
        prompts = _without_own(run.prompts, model, resolved.fit.spatial, module.learned_kinds)
        run = replace(run, prompts=replace(prompts, record=record).detached())
        return run if folder is None else trainer.keep(run, folder)


@dataclass(frozen=True)
class _Fit:
    """One fit: what trains the method's module, and what solves over what was trained."""

    model: PromptableSegmenter
    method: Method
    resolved: Resolved
    task: Task[Any]
    record: FitRecord
    defaults: Prompts
    cache: FeaturesCache
    workers: Workers
    progress: bool

    def train(self, module: PromptModule, pieces: Pieces, out: Path | None) -> tuple[Run, Trainer, Solved | None]:
        """Train a fresh module, from what the shots give as a start, if anything; `out` is where its checkpoints go."""
        model, defaults = self.model, self.defaults
        start = self._start(pieces)
        if start is not None:
            module.start_at(start.kinds)
        trainer = Trainer(model, defaults, module, self.task, self.record, self.cache, out, self.workers)
        losses, seconds = trainer.run(pieces.samples, Progress(self.progress))
        with torch.no_grad():
            learned = defaults.updated(module(), module.parts())
            prompts = replace(learned, weights=module.weights())
        return Run(prompts, losses, seconds, module.num_parameters(), out=None), trainer, start

    def _start(self, pieces: Pieces) -> Solved | None:
        """What the method's starter makes of the shots; none where it starts from default prompts."""
        if self.method.starter is None:
            return None
        count, settings = len(pieces.samples), self.resolved.method
        starter = self.method.starter(self.model, self.defaults, count, settings, self.record.seed)
        if starter is None:
            return None
        self._show(starter, [adapted(self.model, self.defaults)] * count, pieces, self.cache)
        return starter.solve()

    def solve(self, build: BuildSolver, run: Run, pieces: Pieces) -> tuple[Run, FitRecord]:
        """Run and record with what the method's solver finds in the shots, over the prompts of `run`."""
        model, seed = self.model, self.record.seed
        solver = build(model, len(self.defaults.label_space), len(pieces.samples), self.resolved.method, seed)
        crosses = run.parameters > 0 and solver.cross_fit > 1
        pieces = pieces.labelled() if crosses else pieces
        answering = [run.prompts] * len(pieces.samples)
        if crosses and max(pieces.groups) > 0:
            answering = cross_fitted(pieces, solver.cross_fit, self._trained_anew)
        views = {id(prompts): adapted(model, prompts) for prompts in answering}
        used, cache = [views[id(prompts)] for prompts in answering], self.cache
        if used[0].encoder is not model:  # nobody else will ask for its features
            cache = FeaturesCache(model.device, "none", precision=self.resolved.fit.precision)
        self._show(solver, used, pieces, cache)
        return with_solved(run, self.record, solver)

    def _trained_anew(self, pieces: Pieces) -> Prompts:
        module = self.method.build(self.model, self.defaults, self.resolved.method, self.record.seed)
        return self.train(module, pieces, None)[0].prompts

    def _show(self, solver: PromptSolver, used: Sequence[Adapted], pieces: Pieces, cache: FeaturesCache) -> None:
        side = self.resolved.fit.short_side
        show_shots(solver, used, pieces=pieces, cache=cache, progress=Progress(self.progress), short_side=side)


def _finished(folder: Path, model: PromptableSegmenter, record: FitRecord) -> Run:
    """The run that `folder` holds, which must be of this model and what `record` asks for."""
    run = load_run(folder)
    run.prompts.check_model(model.id, model.fingerprint)
    check_record({"model": run.prompts.model_id}, {"model": model.id}, folder)
    check_record(run.record.to_json(), record.request(), folder)
    (folder / CHECKPOINT).unlink(missing_ok=True)  # of a process that was killed at its last moment
    return run


def _without_own(prompts: Prompts, model: PromptableSegmenter, spatial: str | None, learned: frozenset[str]) -> Prompts:
    """The prompts without spatial ones that the model has itself and takes where none are given."""
    of_masks = [kind for kind in prompts.spec if kind.role == "mask" and kind.name in prompts.kinds]
    own = spatial in (None, model.spatial_choices[0])
    own = own and all(kind.optional and kind.name not in learned for kind in of_masks)
    return prompts.without("mask") if own else prompts


def _label_space(shots: Sequence[Sample]) -> LabelSpace:
    if not len(shots):
        raise PromptsegError("there are no shots: give at least one labelled image")
    spaces = {sample.label_space for sample in shots}
    if len(spaces) > 1:
        names = ", ".join(sorted(space.name for space in spaces))
        raise PromptsegError(f"the shots mix label spaces ({names}): fit one data set at a time")
    return spaces.pop()
