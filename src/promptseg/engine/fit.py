"""`fit`: from a frozen model and a few labelled images to prompts."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from promptseg.data.sample import Sample
from promptseg.engine.defaults import default_prompts
from promptseg.engine.runs import RECORD, Run, check_free, check_record, load_run
from promptseg.engine.settings import resolve
from promptseg.engine.trainer import Trainer
from promptseg.errors import PromptsegError
from promptseg.features.features_cache import FeaturesCache
from promptseg.label_space import LabelSpace
from promptseg.methods.registry import find_method
from promptseg.models.base import PromptableSegmenter
from promptseg.progress import Progress
from promptseg.tasks.registry import TASKS


def fit(
    model: PromptableSegmenter,
    shots: Sequence[Sample],
    method: str = "ssprompt",
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
        method: a name of `methods.registry.METHODS`; `zero-shot` learns nothing.
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
            `out` that holds another run.
        KeyboardInterrupt: passed on, after the checkpoint is written.
    """
    overrides = settings if steps is None else settings | {"steps": steps}
    found = find_method(method)
    resolved = resolve(preset, found, overrides, task)
    fit_settings = replace(resolved.fit, short_side=resolved.fit.short_side or model.short_side)
    resolved = resolved._replace(fit=fit_settings)
    built_task = TASKS.find(task).build(resolved.task)
    label_space = _label_space(shots)
    record = {
        "method": method,
        "task": task,
        "preset": preset,
        "settings": resolved.to_json(),
        "seed": seed,
        "data": getattr(shots, "record", {"ids": [sample.id for sample in shots]}),
        "label_space": label_space.to_json(),
        "licence": f"of the model: {model.licence}",
    }
    # As a reader of the files will see it, so that a resumed run compares like with like.
    record = json.loads(json.dumps(record))
    folder = None if out is None else Path(out)
    if folder is not None and not resume:
        check_free(folder)
    if folder is not None and (folder / RECORD).exists():
        run = load_run(folder)
        run.prompts.check_model(model.id, model.fingerprint)
        check_record(run.record, record, folder)
        return run
    defaults = default_prompts(model, label_space, fit_settings.spatial_kind, fit_settings.templates)
    module = found.build(model, replace(defaults, record=record).to(model.device), resolved.method, seed)
    cache = cache or FeaturesCache(model.device, fit_settings.features, fit_settings.features_dtype)
    return Trainer(model, module, built_task, fit_settings, cache, seed, folder).run(shots, Progress(progress))


def _label_space(shots: Sequence[Sample]) -> LabelSpace:
    if not len(shots):
        raise PromptsegError("there are no shots: give at least one labelled image")
    spaces = {sample.label_space for sample in shots}
    if len(spaces) > 1:
        names = ", ".join(sorted(space.name for space in spaces))
        raise PromptsegError(f"the shots mix label spaces ({names}): fit one data set at a time")
    return spaces.pop()
