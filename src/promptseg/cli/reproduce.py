"""`promptseg reproduce`: a table of the paper, its figures and ours side by side."""

from typing import Annotated

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
    Device,
    OutFolder,
    Preset,
    Settings,
    Steps,
    Threads,
    common_settings,
)
from promptseg.cli.text import print_table
from promptseg.errors import PromptsegError


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
    seeds: Seeds = "0,1,2",
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
) -> None:
    """Run a table of the paper again, in miniature or with its own models and data.

    DIR keeps every finished fit: the same command goes on where it was stopped. Exit code 2 if a fit failed.
    """
    from promptseg import load_dataset, load_model
    from promptseg.captions.count import read_or_count
    from promptseg.engine.cells import Plan
    from promptseg.recipes.reproduce import choose_data
    from promptseg.recipes.reproduce import reproduce as run_recipe
    from promptseg.recipes.tables import find_recipe

    recipe = find_recipe(name) if task is None else find_recipe(name).of_task(task)
    if model is None and recipe.needs:
        raise PromptsegError(recipe.needs)
    model = model or DEFAULT_MODEL
    if captions and not recipe.claim:
        raise PromptsegError(f"--captions: {name} shows no captions; leave it out, or reproduce fig3")
    chosen = common_settings(settings, steps)
    plan = Plan(recipe.variants, recipe.shots, read_seeds(seeds), chosen, preset=preset, split=split)
    specs = choose_data(recipe, data or ())
    pool = open_pool(jobs, threads, model, device, list(dict.fromkeys(specs.values())))
    datasets = {column: load_dataset(spec) for column, spec in specs.items()}
    names = next(iter(datasets.values())).label_space.names
    counts = read_or_count(captions, names) if captions else None
    frozen = load_model(model, device=device)
    made = run_until_stopped(
        lambda: run_recipe(recipe, frozen, datasets, plan, out, lambda line: typer.echo(line, err=True), pool, counts),
        out,
    )
    print_table(made.table)
    for note in made.notes:
        typer.echo(note)
    for file in sorted(out.glob(f"{name}.*")):
        typer.echo(f"file: {file}")
    report_failures(made.outcomes)
