"""`promptseg compare`: methods side by side on the same shots."""

from typing import TYPE_CHECKING, Annotated

import typer

from promptseg.cli.comparing import (
    EvaluatedSplit,
    Jobs,
    Seeds,
    open_pool,
    read_seeds,
    report_failures,
    run_until_stopped,
)
from promptseg.cli.options import (
    DEFAULT_MODEL,
    Data,
    Device,
    Model,
    OutFolder,
    Preset,
    Rule,
    Settings,
    Shots,
    Steps,
    Task,
    Threads,
    common_settings,
    parse_settings,
)
from promptseg.cli.text import print_table

if TYPE_CHECKING:
    from promptseg.engine.cells import Variant


def compare(
    data: Data,
    out: OutFolder,
    methods: Annotated[
        str, typer.Option(metavar="M,M", help="Methods, separated by commas; METHOD:KEY=VALUE sets one for it alone.")
    ] = "zero-shot,coop,locn,ssprompt",
    model: Model = DEFAULT_MODEL,
    task: Task = "semantic",
    shots: Shots = 16,
    rule: Rule = "cover",
    seeds: Seeds = "0,1,2",
    split: EvaluatedSplit = "val",
    preset: Preset = "tuned",
    steps: Steps = None,
    settings: Settings = None,
    device: Device = None,
    threads: Threads = None,
    jobs: Jobs = 1,
) -> None:
    """Compare methods on the same shots, images and number of steps.

    DIR keeps every finished fit: the same command goes on where it was stopped. Exit code 2 if a fit failed.
    """
    from promptseg import load_dataset, load_model
    from promptseg.engine.cells import Plan
    from promptseg.engine.compare import compare as compare_methods
    from promptseg.engine.runs import environment
    from promptseg.reports.comparison import write_comparison

    chosen = common_settings(settings, steps)
    variants = tuple(read_variant(text) for text in methods.split(","))
    plan = Plan(variants, (shots,), read_seeds(seeds), chosen, task, preset, rule, split)
    pool = open_pool(jobs, threads, model, device, [data])
    dataset = load_dataset(data)
    frozen = load_model(model, device=device)
    outcomes = run_until_stopped(
        lambda: compare_methods(frozen, [dataset], plan, out, lambda line: typer.echo(line, err=True), pool), out
    )
    about = {"model": model, "task": task, "split": split, "shots": shots, "seeds": list(plan.seeds), "preset": preset}
    about |= {"settings": dict(chosen)} | environment()
    for table in write_comparison(out, outcomes, about):
        print_table(table)
    typer.echo(f"tables: {out}/table.md, table.csv, table.json")
    report_failures(outcomes)


def read_variant(text: str) -> "Variant":
    """A method as `METHOD` or `METHOD:KEY=VALUE:KEY=VALUE`."""
    from promptseg.engine.cells import Variant

    method, *pairs = text.strip().split(":")
    return Variant(method, parse_settings(pairs, ()))
