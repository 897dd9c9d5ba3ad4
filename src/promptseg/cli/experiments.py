"""`promptseg compare` and `promptseg reproduce`: methods side by side, and the tables of the paper."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from promptseg.cli.options import (
    DEFAULT_MODEL,
    SPEC_HELP,
    Device,
    LogFile,
    Model,
    OutFolder,
    Preset,
    Quiet,
    Rule,
    Settings,
    ShardOption,
    Steps,
    Task,
    Threads,
    common_settings,
    parse_settings,
    use_threads,
)
from promptseg.cli.output import goes_on_with, open_data, print_table, say, saying_when_stopped
from promptseg.errors import PromptsegError

if TYPE_CHECKING:
    from promptseg.experiments.compare import Pool
    from promptseg.experiments.plan import Outcome, Variant


Seeds = Annotated[str, typer.Option("--seeds", metavar="S,S", help="Seeds, separated by commas.")]
EvaluatedSplit = Annotated[str, typer.Option("--split", help="What is evaluated: val or test.")]
Jobs = Annotated[
    int, typer.Option("--jobs", metavar="J", help="Fits at a time, each in a process of --threads threads (1).")
]


def read_numbers(option: str, text: str, low: int) -> tuple[int, ...]:
    """Whole numbers from `low`, separated by commas.

    Raises:
        PromptsegError: one is something else.
    """
    parts = [part.strip() for part in text.split(",")]
    for part in parts:
        if not (part.isascii() and part.isdigit() and int(part) >= low):
            example = ",".join(map(str, range(low, low + 3)))
            raise PromptsegError(
                f"{option} {text}: {part!r} is not a whole number from {low}; write for example {example}"
            )
    return tuple(map(int, parts))


def open_pool(jobs: int, threads: int | None, model: str, device: str | None, data: Sequence[str]) -> "Pool | None":
    """Limit the threads, and make the pool of `--jobs`; none for a single job."""
    if jobs < 1:
        raise PromptsegError(f"--jobs {jobs}: give a whole number of at least 1")
    if jobs == 1:
        use_threads(threads)
        return None
    from promptseg.experiments.pool import Sources, worker_pool

    use_threads(threads or 1)
    return worker_pool(Sources(model, device, tuple(data)), jobs, threads or 1)


def report_failures(outcomes: "Sequence[Outcome]") -> None:
    """Say which trials failed.

    Raises:
        PromptsegError: some did; it says why the first of them.
    """
    failed = [outcome for outcome in outcomes if outcome.score is None]
    for outcome in failed:
        say(str(outcome))
    if failed:
        counted = f"{len(failed)} of {len(outcomes)} fits failed; the same command tries them again"
        raise PromptsegError(f"{counted}. First of them: {failed[0].trial}: {failed[0].error}")


def compare(
    data: Annotated[list[str], typer.Option("--data", metavar="SPEC", help=f"{SPEC_HELP} Repeatable.")],
    out: OutFolder,
    methods: Annotated[
        str, typer.Option(metavar="M,M", help="Methods, separated by commas; METHOD:KEY=VALUE sets one for it alone.")
    ] = "zero-shot,coop,locn,ssprompt",
    model: Model = DEFAULT_MODEL,
    task: Task = "semantic",
    shots: Annotated[str, typer.Option("--shots", metavar="K,K", help="Labelled images per class.")] = "16",
    rule: Rule = "cover",
    seeds: Seeds = "0,1,2",
    split: EvaluatedSplit = "val",
    keep_out: Annotated[
        str | None, typer.Option(metavar="CLASS,CLASS", help="Classes that the shots are not labelled with.")
    ] = None,
    preset: Preset = "tuned",
    steps: Steps = None,
    settings: Settings = None,
    device: Device = None,
    threads: Threads = None,
    jobs: Jobs = 1,
    shard: ShardOption = None,
    quiet: Quiet = False,
    log_file: LogFile = None,
) -> None:
    """Compare methods on the same shots, images and number of steps.

    DIR keeps every finished fit: the same command goes on where it was stopped, and several may work on one DIR, each
    on its --shard of the fits. Exit code 2 if a fit failed.
    """
    from promptseg import load_model
    from promptseg.engine.runs import environment
    from promptseg.engine.shards import Shard
    from promptseg.experiments.compare import compare as compare_methods
    from promptseg.experiments.plan import Plan
    from promptseg.experiments.results import write_comparison

    chosen = common_settings(settings, steps=steps)
    variants = tuple(read_variant(text) for text in methods.split(","))
    plan = Plan(
        variants=variants,
        shots=read_numbers("--shots", shots, 1),
        seeds=read_numbers("--seeds", seeds, 0),
        settings=chosen,
        task=task,
        preset=preset,
        rule=rule,
        split=split,
        keep_out=tuple(name.strip() for name in keep_out.split(",")) if keep_out else (),
    )
    plan.check()
    part = Shard.of(shard)
    pool = open_pool(jobs, threads, model, device, data)
    datasets = [open_data(spec) for spec in data]
    frozen = load_model(model, device=device)
    with saying_when_stopped(goes_on_with(out)):
        outcomes = compare_methods(frozen, datasets, plan, out, say=say, pool=pool, shard=part)
    about = {"model": model, "task": task, "split": split, "shots": list(plan.shots), "rule": rule}
    about |= {"seeds": list(plan.seeds), "preset": preset, "settings": dict(chosen)} | environment()
    about |= {"kept out of the shots": list(plan.keep_out)} if plan.keep_out else {}
    for table in write_comparison(out, outcomes, rule, about, plan.keep_out):
        print_table(table)
    typer.echo(f"tables: {out}/table.md, table.csv, table.json")
    report_failures(outcomes)


def read_variant(text: str) -> "Variant":
    """A method as `METHOD` or `METHOD:KEY=VALUE:KEY=VALUE`."""
    from promptseg.experiments.plan import Variant

    method, *pairs = text.strip().split(":")
    return Variant(method, parse_settings(pairs))


def reproduce(
    name: Annotated[str, typer.Argument(metavar="NAME", help="table2 to table9, or fig3.")],
    out: OutFolder,
    data: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN=SPEC", help="Data of a column; repeatable (default: a miniature on streets)."),
    ] = None,
    task: Annotated[str | None, typer.Option(help="One of the table's tasks (default: all of them).")] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help=f"Name of `promptseg models list`, or a model folder (default: {DEFAULT_MODEL}, if it fits)."
        ),
    ] = None,
    rule: Rule = "cover",
    seeds: Seeds = "0,1,2,3,4",
    split: EvaluatedSplit = "val",
    preset: Preset = "tuned",
    steps: Steps = None,
    settings: Settings = None,
    captions: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="fig3: captions, or the counts.json of analyze captions; repeatable."),
    ] = None,
    device: Device = None,
    threads: Threads = None,
    jobs: Jobs = 1,
    quiet: Quiet = False,
    log_file: LogFile = None,
) -> None:
    """Run a table of the paper again, in miniature or with its own models and data.

    DIR keeps every finished fit: the same command goes on where it was stopped. Exit code 2 if a fit failed.
    """
    from promptseg import load_model
    from promptseg.experiments.plan import Plan
    from promptseg.recipes.caption_counts import read_or_count
    from promptseg.recipes.paper import find_recipe
    from promptseg.recipes.reproduce import choose_data, plans
    from promptseg.recipes.reproduce import reproduce as run_recipe

    recipe = find_recipe(name) if task is None else find_recipe(name).of_task(task)
    if model is None and recipe.needs:
        raise PromptsegError(recipe.needs)
    model = model or DEFAULT_MODEL
    if captions and not recipe.claim:
        raise PromptsegError(f"--captions: {name} shows no captions; leave it out, or reproduce fig3")
    chosen = common_settings(settings, steps=steps)
    plan = Plan(
        variants=recipe.variants,
        shots=recipe.shots,
        seeds=read_numbers("--seeds", seeds, 0),
        settings=chosen,
        preset=preset,
        rule=rule,
        split=split,
    )
    for part in plans(recipe, plan):
        part.check()
    specs = choose_data(recipe, data or ())
    pool = open_pool(jobs, threads, model, device, list(dict.fromkeys(specs.values())))
    datasets = {column: open_data(spec) for column, spec in specs.items()}
    names = next(iter(datasets.values())).label_space.names
    counts = read_or_count(captions, names) if captions else None
    frozen = load_model(model, device=device)
    with saying_when_stopped(goes_on_with(out)):
        made = run_recipe(recipe, frozen, datasets, plan, out, say=say, pool=pool, captions=counts)
    print_table(made.table)
    for note in made.notes:
        typer.echo(note)
    for file in sorted(out.glob(f"{name}.*")):
        typer.echo(f"file: {file}")
    report_failures(made.outcomes)
