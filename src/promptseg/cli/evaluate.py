"""`promptseg evaluate`: scores of prompts on a labelled split, in the mean and per class."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from promptseg.cli.options import (
    DEFAULT_MODEL,
    Data,
    Device,
    LearnedTask,
    LogFile,
    Overlap,
    Precision,
    Quiet,
    ShardOption,
    TaskSettings,
    Threads,
    Tile,
    parse_settings,
    use_threads,
)
from promptseg.cli.output import open_data, print_table, say
from promptseg.errors import PromptsegError

if TYPE_CHECKING:
    from promptseg import Prompts
    from promptseg.data.sample import Dataset, Split
    from promptseg.tasks.base import Metric

ZERO_SHOT = "zero-shot"


def evaluate(
    data: Data,
    prompts: Annotated[Path | None, typer.Option(metavar="DIR", help="Prompt folder (of fit or Prompts.save).")] = None,
    method: Annotated[
        str | None, typer.Option(help="zero-shot: the model's default prompts; what is taken without --prompts.")
    ] = None,
    task: LearnedTask = None,
    model: Annotated[
        str | None, typer.Option(help=f"Model name or folder (default: the prompts' own, else {DEFAULT_MODEL}).")
    ] = None,
    split: Annotated[str, typer.Option(help="train, val or test.")] = "val",
    settings: TaskSettings = None,
    tile: Tile = None,
    overlap: Overlap = None,
    features: Annotated[
        str, typer.Option(help="disk: keep image features for the next evaluation (see cache); none.")
    ] = "none",
    precision: Precision = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON (fractions) instead of a table.")] = False,
    shard: ShardOption = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder that the parts of --shard come together in.")
    ] = None,
    device: Device = None,
    threads: Threads = None,
    quiet: Quiet = False,
    log_file: LogFile = None,
) -> None:
    """Measure prompts on a labelled split.

    With --shard and --out, several processes measure a part each; the last one prints the scores of all. So do the
    processes that torchrun starts, without either.
    """
    _check_choice(prompts, method)
    if shard is not None and out is None:
        raise PromptsegError(f"--shard {shard}: give --out DIR, the folder that the parts come together in")
    from promptseg import Labeller, Prompts, load_model
    from promptseg.engine.defaults import default_prompts
    from promptseg.engine.evaluate import Result, encoding_precision, measure, task_of
    from promptseg.engine.evaluation_parts import Parts
    from promptseg.engine.shards import Shard
    from promptseg.engine.workers import Workers
    from promptseg.features.features_cache import FeaturesCache
    from promptseg.features.memory import keep_freed_memory
    from promptseg.tasks.registry import TASKS, build_task

    use_threads(threads)
    keep_freed_memory()
    loaded = None if prompts is None else Prompts.load(prompts)
    chosen = parse_settings(settings or ())
    scored = task_of(loaded, task, chosen) if loaded else build_task(task or "semantic", chosen)
    dataset = open_data(data)
    samples = pick_split(dataset, split)
    learned_from = _learned_from(loaded, samples)
    if learned_from:
        say(f"{learned_from} of {len(samples)} photos are those that the prompts were learned from: the scores flatter")
    name = model or (loaded.model_id if loaded else DEFAULT_MODEL)
    frozen = load_model(name, device=device)
    used = loaded or default_prompts(frozen, dataset.label_space)
    numbers = precision or encoding_precision(used)
    cache = FeaturesCache(frozen.device, features, precision=numbers)

    def measured(some: "Split") -> "Metric":
        asked = {"tile": tile, "overlap": overlap, **chosen}
        return measure(frozen, used, some, scored.name, progress=True, cache=cache, **asked)

    is_main = Workers(frozen.device).is_main
    if out is None:
        result = Result.of(measured(samples), len(samples), scored.name)
    else:
        labeller = Labeller(used, scored.name, model=frozen, precision=numbers, tile=tile, overlap=overlap, **chosen)
        about = labeller.about() | {"data": data, "split": split}
        parts = Parts(out, Shard.of(shard), about)
        if not parts.is_done():
            mine = samples[parts.shard.number - 1 :: parts.shard.count]
            metric = measured(mine) if len(mine) else scored.metric(dataset.label_space)
            if not is_main:
                return
            parts.keep(metric, len(mine))
        if missing := parts.missing():
            say(f"part {parts.shard} is done; still missing: {', '.join(map(str, missing))}")
            return
        result = parts.merged(scored.metric(dataset.label_space))
    if not is_main:  # of several that torchrun started, one speaks
        return
    if features != "none":
        say(cache.summary())
    if as_json:
        about = {"data": data, "split": split, "model": name, "prompts": str(prompts) if prompts else ZERO_SHOT}
        about["fingerprint"] = used.fingerprint
        counted = {"learned_from": learned_from, **result.to_json()}
        typer.echo(json.dumps(about | counted, indent=1, ensure_ascii=False, allow_nan=False))
    else:
        from promptseg.reports.tables import class_table, percent

        columns = TASKS.find(scored.name).columns
        title = f"{prompts or ZERO_SHOT} on {data}, {split}: {result.num_images} images, {columns.classes} in percent"
        title += f"; {learned_from} of them trained on" if learned_from else ""
        print_table(class_table(result.per_class, result.headline, title, columns.classes))
        typer.echo(", ".join(f"{header} {percent(result.scores[name])}" for name, header in columns.scores.items()))


def pick_split(dataset: "Dataset", name: str) -> "Split":
    """The split of that name.

    Raises:
        PromptsegError: unknown, or the data set has no image in it.
    """
    splits = {"train": dataset.train, "val": dataset.val, "test": dataset.test}
    filled = [known for known, samples in splits.items() if len(samples)]
    if name not in filled:
        raise PromptsegError(f"{dataset.spec} has no images in split {name!r}: it has {', '.join(filled) or 'none'}")
    return splits[name]


def _learned_from(prompts: "Prompts | None", samples: "Split") -> int:
    """How many of the samples the prompts were learned from."""
    if prompts is None or prompts.record is None:
        return 0
    draw = prompts.record.draw
    if draw.dataset is None or draw.dataset.partition("?")[0] != samples.dataset.partition("?")[0]:
        return 0
    return len(set(draw.ids) & {sample.id for sample in samples})


def _check_choice(prompts: Path | None, method: str | None) -> None:
    if prompts is not None and method is not None:
        raise PromptsegError(f"--prompts {prompts} and --method {method}: give one of them")
    if method not in (None, ZERO_SHOT):
        raise PromptsegError(
            f"--method {method}: only {ZERO_SHOT} needs no learning; run promptseg fit --method {method}, "
            f"then give its prompts by --prompts"
        )
