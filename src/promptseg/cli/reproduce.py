"""`promptseg reproduce`: a table of the paper, its figures and ours side by side."""

from typing import Annotated

import typer

from promptseg.cli.compare import Seeds, Settings, Steps, common_settings, read_seeds, report_failures
from promptseg.cli.errors import Interrupted
from promptseg.cli.options import DEFAULT_MODEL, Device, OutFolder, Threads, use_threads
from promptseg.cli.text import print_table
from promptseg.errors import PromptsegError


def reproduce(
    name: Annotated[str, typer.Argument(metavar="NAME", help="table2 to table6, table8, table9 or fig3b.")],
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
    seeds: Seeds = "0,1,2",
    split: Annotated[str, typer.Option(help="What is evaluated: val or test.")] = "val",
    preset: Annotated[str, typer.Option(help="tuned, or paper (its settings as written).")] = "tuned",
    steps: Steps = None,
    settings: Settings = None,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Run a table of the paper again, in miniature or with its own models and data.

    DIR keeps every finished fit: the same command goes on where it was stopped. Exit code 2 if a fit failed.
    """
    from promptseg import load_dataset, load_model
    from promptseg.engine.cells import Plan
    from promptseg.recipes.reproduce import choose_data
    from promptseg.recipes.reproduce import reproduce as run_recipe
    from promptseg.recipes.tables import find_recipe

    recipe = find_recipe(name) if task is None else find_recipe(name).of_task(task)
    if model is None and recipe.needs:
        raise PromptsegError(recipe.needs)
    chosen = common_settings(settings, steps)
    plan = Plan((recipe.rows[0].variant,), seeds=read_seeds(seeds), settings=chosen, preset=preset, split=split)
    use_threads(threads)
    datasets = {column: load_dataset(spec) for column, spec in choose_data(recipe, data or ()).items()}
    frozen = load_model(model or DEFAULT_MODEL, device=device)
    try:
        made = run_recipe(recipe, frozen, datasets, plan, out, lambda line: typer.echo(line, err=True))
    except KeyboardInterrupt:
        raise Interrupted(f"stopped; the same command goes on with {out}") from None
    print_table(made.table)
    for note in made.notes:
        typer.echo(note)
    for file in sorted(out.glob(f"{name}.*")):
        typer.echo(f"file: {file}")
    report_failures(made.outcomes)
