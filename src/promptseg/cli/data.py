"""`promptseg data` and `promptseg cache`: data sets before training, and the features kept of images."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from promptseg.cli.evaluate import pick_split
from promptseg.cli.options import DataArgument, Rule, Seed, Shots, Task, new_app, show_help
from promptseg.cli.output import USER_ERROR, say
from promptseg.errors import PromptsegError

if TYPE_CHECKING:
    from promptseg.data.check import SplitCounts
    from promptseg.data.few_shot import Shots as DrawnShots
    from promptseg.data.sample import Split
    from promptseg.features.feature_files import FeatureFiles

app = new_app("The data formats; check and look at a data set, or draw few-shot training lists from it.")


@app.callback(invoke_without_command=True)
def _data(context: typer.Context) -> None:
    """The data formats; check and look at a data set, or draw few-shot training lists from it."""
    show_help(context)


@app.command("list")
def list_() -> None:
    """List the data formats with their layout and licence."""
    from promptseg.data.registry import FORMATS, variable

    for name, entry in FORMATS.items():
        spec = f"{name}:FOLDER (or set {variable(name)})" if entry.in_folder else f"{name}:NAME"
        typer.echo(f"{spec}\n  {entry.about}\n  layout:  {entry.layout}\n  licence: {entry.licence}")


@app.command()
def check(
    data: DataArgument,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the report as JSON.")] = None,
) -> None:
    """Report what is wrong with a data set, file by file.

    Reads every photo and label map. The exit code is 2 if there is an error; warnings are allowed.
    """
    from promptseg.data.check import check_dataset, grouped
    from promptseg.files import write_json
    from promptseg.progress import Progress

    with Progress(True).running() as progress:
        report = check_dataset(data, progress.counter("check"))
    for defect, more in grouped(report.defects):
        typer.echo(f"{defect.level}: {defect}")
        if more:
            typer.echo(f"  and {more} more like this, which --json FILE lists")
    for name, counts in report.splits.items():
        typer.echo(f"{name}: {counts.images} images{pixel_shares(counts)}")
    if json_file is not None:
        write_json(json_file, report.to_json())
    levels = Counter(defect.level for defect in report.defects)
    typer.echo(f"{report.spec}: {levels['error']} errors, {levels['warning']} warnings")
    if not report.ok:
        raise typer.Exit(USER_ERROR)


def pixel_shares(counts: "SplitCounts") -> str:
    """The part of the pixels of each class, and of those that do not count, for people."""
    total = sum(counts.pixels.values()) + counts.unlabelled
    if not total:
        return ""
    parts = [(name, pixels) for name, pixels in counts.pixels.items() if pixels]
    listed = [f"{name} {100 * pixels / total:.3g} %" for name, pixels in sorted(parts, key=lambda part: -part[1])]
    return f"; pixels: {', '.join(listed)}{', ' if listed else ''}255 (ignored) {100 * counts.unlabelled / total:.3g} %"


@app.command()
def draw(
    data: DataArgument,
    shots: Shots = 16,
    seed: Seed = 0,
    rule: Rule = "cover",
    task: Task = "semantic",
    split: Annotated[str, typer.Option(help="train, val or test.")] = "train",
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the record of the draw as JSON.")] = None,
    record: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Print a draw that --out recorded, instead of drawing.")
    ] = None,
) -> None:
    """Print the ids that fit would train on."""
    from promptseg import draw_shots, load_dataset

    if record is not None and out is not None:
        raise PromptsegError(f"--record {record} and --out {out}: give one of them")
    samples = pick_split(load_dataset(data), split)
    if record is not None:
        _print_again(samples, record, f"{data}, {split}")
        return
    drawn = draw_shots(samples, k=shots, seed=seed, rule=rule, task=task)
    _print_ids(drawn)
    for name, found in drawn.draw.short.items():
        say(f"{name}: wanted {shots} images, found {found}")
    say(f"{len(drawn)} images of {data}, {split}; rule {rule}, {shots} shots, seed {seed}")
    if out is not None:
        drawn.save(out)
        say(f"record: {out}")


@app.command()
def preview(
    data: DataArgument,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Picture to write, .png or .jpg.")],
    split: Annotated[str, typer.Option(help="train, val or test.")] = "train",
    count: Annotated[int, typer.Option(metavar="N", min=1, help="Photos, evenly over the split.")] = 6,
    width: Annotated[int, typer.Option(metavar="PIXELS", min=32, help="Width of each photo.")] = 400,
) -> None:
    """Write a contact sheet.

    Photos beside their classes and objects, with a legend: the quickest way to see labels that are shifted or swapped.
    """
    from promptseg import load_dataset
    from promptseg.reports.contact_sheet import contact_sheet
    from promptseg.reports.pictures import write_picture

    if out.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise PromptsegError(f"--out {out}: give a file that ends in .png or .jpg")
    samples = pick_split(load_dataset(data), split)
    number = min(count, len(samples))
    shown = [samples[i * len(samples) // number] for i in range(number)]
    write_picture(out, contact_sheet(shown, width))
    typer.echo(str(out))


def _print_ids(shots: "DrawnShots") -> None:
    for name in shots.ids:
        typer.echo(name)


def _print_again(samples: "Split", record: Path, where: str) -> None:
    """Print a recorded draw, all of whose photos must be among the samples."""
    from promptseg.data.few_shot import restore_shots

    shots = restore_shots(samples, record)
    _print_ids(shots)
    draw = shots.draw
    say(f"{len(shots)} images of {where}, all there; rule {draw.rule}, k {draw.k}, seed {draw.seed}")


cache_app = new_app("Image features on disk, which fit and compare keep where memory is short.")


@cache_app.callback(invoke_without_command=True)
def _cache(context: typer.Context) -> None:
    """Image features on disk, which fit and compare keep where memory is short."""
    show_help(context)


@cache_app.command()
def info() -> None:
    """Print the folder, how many images it holds, and how much room they take."""
    files = _files()
    typer.echo(f"folder:  {files.folder}")
    typer.echo(f"images:  {len(files.files())} (a mirrored one counts for itself)")
    typer.echo(
        f"size:    {files.nbytes() / 2**20:.1f} MB of at most {files.limit / 2**20:.0f} MB ($PROMPTSEG_FEATURES_GB)"
    )


@cache_app.command()
def clear() -> None:
    """Remove them all; they are made again when they are needed."""
    files = _files()
    count = len(files.files())
    typer.echo(f"{count} images removed, {files.clear() / 2**20:.1f} MB")


def _files() -> "FeatureFiles":
    from promptseg.features.features_cache import user_files

    return user_files()
