"""`promptseg compare`: methods side by side on the same shots."""

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptseg.cli.errors import USER_ERROR, Interrupted
from promptseg.cli.options import (
    DEFAULT_MODEL,
    Data,
    Device,
    OutFolder,
    Rule,
    Shots,
    Task,
    Threads,
    parse_settings,
    use_threads,
)
from promptseg.cli.text import print_table
from promptseg.errors import PromptsegError

if TYPE_CHECKING:
    from promptseg.engine.cells import Outcome, Variant

Seeds = Annotated[str, typer.Option("--seeds", metavar="S,S", help="Seeds, separated by commas.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting for all methods; repeatable.")
]
Steps = Annotated[int | None, typer.Option(metavar="N", help="Training steps (default: the preset's).")]


def compare(
    data: Data,
    out: OutFolder,
    methods: Annotated[
        str, typer.Option(metavar="M,M", help="Methods, separated by commas; METHOD:KEY=VALUE sets one for it alone.")
    ] = "zero-shot,coop,locn,ssprompt",
    model: Annotated[str, typer.Option(help="Name of `promptseg models list`, or a model folder.")] = DEFAULT_MODEL,
    task: Task = "semantic",
    shots: Shots = 16,
    rule: Rule = "cover",
    seeds: Seeds = "0,1,2",
    split: Annotated[str, typer.Option(help="What is evaluated: val or test.")] = "val",
    preset: Annotated[str, typer.Option(help="tuned, or paper (its settings as written).")] = "tuned",
    steps: Steps = None,
    settings: Settings = None,
    device: Device = None,
    threads: Threads = None,
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
    use_threads(threads)
    dataset = load_dataset(data)
    frozen = load_model(model, device=device)
    try:
        outcomes = compare_methods(frozen, [dataset], plan, out, lambda line: typer.echo(line, err=True))
    except KeyboardInterrupt:
        raise Interrupted(f"stopped; the same command goes on with {out}") from None
    about = {"model": model, "task": task, "split": split, "shots": shots, "seeds": list(plan.seeds), "preset": preset}
    about |= {"settings": dict(chosen)} | environment()
    for table in write_comparison(out, outcomes, about):
        print_table(table)
    typer.echo(f"tables: {out}/table.md, table.csv, table.json")
    report_failures(outcomes)


def common_settings(pairs: Sequence[str] | None, steps: int | None) -> dict[str, Any]:
    """Settings for all methods, from `--set` and `--steps`."""
    from promptseg import fit

    chosen = parse_settings(pairs or (), inspect.signature(fit).parameters)
    return chosen if steps is None else {**chosen, "steps": steps}


def read_variant(text: str) -> "Variant":
    """A method as `METHOD` or `METHOD:KEY=VALUE:KEY=VALUE`."""
    from promptseg.engine.cells import Variant

    method, *pairs = text.strip().split(":")
    return Variant(method, parse_settings(pairs, ()))


def read_seeds(text: str) -> tuple[int, ...]:
    """Seeds separated by commas.

    Raises:
        PromptsegError: one is no whole number from 0.
    """
    parts = [part.strip() for part in text.split(",")]
    for part in parts:
        if not (part.isascii() and part.isdigit()):
            raise PromptsegError(f"--seeds {text}: {part!r} is not a whole number from 0; write for example 0,1,2")
    return tuple(map(int, parts))


def report_failures(outcomes: "Sequence[Outcome]") -> None:
    """Say which cells failed, and end with the exit code of an error if there are any."""
    failed = [outcome for outcome in outcomes if outcome.score is None]
    for outcome in failed:
        typer.echo(f"failed: {outcome.cell}: {outcome.error}", err=True)
    if failed:
        typer.echo(f"{len(failed)} of {len(outcomes)} fits failed; the same command tries them again", err=True)
        raise typer.Exit(USER_ERROR)
