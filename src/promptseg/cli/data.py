"""`promptseg data`: look at a data set before anything is trained on it."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from promptseg.cli.errors import USER_ERROR
from promptseg.cli.evaluate import pick_split
from promptseg.cli.options import DataArgument, Rule, Seed, Shots, new_app, show_help

app = new_app("Check a data set, or draw few-shot training lists from it.")


@app.callback(invoke_without_command=True)
def _data(context: typer.Context) -> None:
    """Check a data set, or draw few-shot training lists from it."""
    show_help(context)


@app.command()
def check(
    data: DataArgument,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the report as JSON.")] = None,
) -> None:
    """Report what is wrong with a data set, file by file.

    Reads every photo and label map. The exit code is 2 if there is an error; warnings are allowed.
    """
    from promptseg.data.check import check_dataset
    from promptseg.files import write_json

    report = check_dataset(data)
    for defect in report.defects:
        typer.echo(f"{defect.level}: {defect}")
    for name, counts in report.splits.items():
        typer.echo(f"{name}: {counts.images} images")
    if json_file is not None:
        write_json(json_file, report.to_json())
    levels = Counter(defect.level for defect in report.defects)
    typer.echo(f"{report.spec}: {levels['error']} errors, {levels['warning']} warnings")
    if not report.ok:
        raise typer.Exit(USER_ERROR)


@app.command()
def draw(
    data: DataArgument,
    shots: Shots = 16,
    seed: Seed = 0,
    rule: Rule = "cover",
    split: Annotated[str, typer.Option(help="train, val or test.")] = "train",
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the record of the draw as JSON.")] = None,
) -> None:
    """Print the ids that fit would train on."""
    from promptseg import draw_shots, load_dataset

    drawn = draw_shots(pick_split(load_dataset(data), split), k=shots, seed=seed, rule=rule)
    for name in drawn.ids:
        typer.echo(name)
    for short in drawn.record["short"]:
        typer.echo(f"{short['class']}: wanted {short['wanted']} images, found {short['found']}", err=True)
    typer.echo(f"{len(drawn)} images of {data}, {split}; rule {rule}, {shots} shots, seed {seed}", err=True)
    if out is not None:
        drawn.save(out)
        typer.echo(f"record: {out}", err=True)
