"""`promptseg fit` and `promptseg demo`: learn prompts from a few labelled images."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from promptseg.checks import check_choice
from promptseg.cli.options import (
    DEFAULT_MODEL,
    Data,
    Device,
    LogFile,
    Model,
    OutFolder,
    Overlap,
    Preset,
    Quiet,
    Rule,
    Seed,
    Settings,
    Shots,
    Steps,
    Task,
    Threads,
    Tile,
    common_settings,
    use_threads,
)
from promptseg.cli.output import file_size, open_data, print_table, program, quoted, say, saying_when_stopped
from promptseg.errors import PromptsegError
from promptseg.methods.registry import DEFAULT_METHOD, EFFORTS, METHODS

EFFORT_HELP = ", ".join(f"{effort} ({method})" for effort, method in EFFORTS.items())


def fit(
    data: Data,
    out: OutFolder,
    model: Model = DEFAULT_MODEL,
    method: Annotated[
        str | None, typer.Option(help=f"One of {', '.join(METHODS.builtin)}. [default: as --effort says]")
    ] = None,
    effort: Annotated[
        str | None, typer.Option(help=f"How long it may learn: {EFFORT_HELP}. [default: seconds]")
    ] = None,
    task: Task = "semantic",
    shots: Shots = 16,
    rule: Rule = "cover",
    seed: Seed = 0,
    preset: Preset = "tuned",
    steps: Steps = None,
    tile: Tile = None,
    overlap: Overlap = None,
    settings: Settings = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run that was stopped in --out.")] = False,
    device: Device = None,
    threads: Threads = None,
    quiet: Quiet = False,
    log_file: LogFile = None,
) -> None:
    """Learn prompts from a few labelled images.

    The model's weights stay as they are. DIR/prompts is the result; DIR/run.json is its record.
    """
    from promptseg import draw_shots, load_model
    from promptseg import fit as fit_prompts
    from promptseg.data.tile_samples import Pieces
    from promptseg.engine.expectation import LOOKS, expectation
    from promptseg.engine.settings import resolve
    from promptseg.features.memory import keep_freed_memory

    chosen = common_settings(settings, steps=steps, tile=tile or None, overlap=overlap)
    method = _method(method, effort)
    resolved = resolve(preset, METHODS.find(method), chosen, task)  # a mistake in a name costs no loading
    use_threads(threads)
    keep_freed_memory()
    dataset = open_data(data)
    drawn = draw_shots(dataset.train, k=shots, seed=seed, rule=rule, task=task)
    frozen = load_model(model, device=device)
    say(f"{method} on {model}, {task}: {len(drawn)} images of {data}, at least {shots} per class where there are")
    looks = Pieces.of(drawn[:LOOKS], resolved.tiling).samples[:LOOKS]
    for line in expectation(frozen, looks, resolved.fit.short_side):
        say(line)
    with saying_when_stopped(f"stopped; the same command with --resume goes on with {out}"):
        run = fit_prompts(
            frozen, drawn, method=method, task=task, preset=preset, seed=seed, out=out, resume=resume, **chosen
        )
    if steps is not None and not run.losses:
        say(f"{method} is not trained step by step: --steps {steps} changed nothing")
    prompts = out / "prompts"
    typer.echo(f"prompts: {prompts} ({file_size(prompts)}, learned in {run.seconds:.0f} s)")
    if estimate := gain_estimate(run.record.metrics):
        typer.echo(estimate)
    elif len(drawn) == 1 and METHODS.find(method).solver is not None:
        typer.echo("gain:    not known: a single labelled image leaves none to hold out; label a second one")
    there = next((name for name, split in (("val", dataset.val), ("test", dataset.test)) if len(split)), "train")
    split = "" if there == "val" else f" --split {there}"
    typer.echo(f"next:    {program()} evaluate --prompts {quoted(prompts)} --data {quoted(data)}{split}")


def _method(method: str | None, effort: str | None) -> str:
    """The method that is meant by `--method` or `--effort`."""
    if method is not None and effort is not None:
        raise PromptsegError(f"--method {method} and --effort {effort}: give one of them")
    if effort is not None:
        check_choice("effort", effort, EFFORTS)
    return method or (DEFAULT_METHOD if effort is None else EFFORTS[effort])


def gain_estimate(metrics: Mapping[str, float | None]) -> str | None:
    """What learning was worth on held-out shots, in one line; none where that was not measured."""
    own, learned, gain, error = (metrics.get(f"held_out_{name}") for name in ("own_miou", "miou", "gain", "gain_error"))
    if own is None or learned is None or gain is None or error is None:
        return None
    if gain <= error:
        return (
            f"gain:    none: on held-out shots the best pixel prompts had {100 * learned:.1f} mIoU, the answer without"
            f" them {100 * own:.1f}, so there are none in the result"
        )
    change = f"{100 * own:.1f} to {100 * learned:.1f}"
    return f"gain:    {100 * gain:+.1f} +- {100 * error:.1f} mIoU on held-out shots ({change})"


def demo(
    condition: Annotated[str, typer.Option(help="clear, fog, night, rain or snow.")] = "snow",
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where to write (default: runs/demo-CONDITION).")
    ] = None,
    seed: Seed = 0,
    threads: Threads = None,
    quiet: Quiet = False,
    log_file: LogFile = None,
) -> None:
    """Show what learning prompts brings, offline.

    Zero-shot, SSPrompt and pixel prompts on generated streets in bad weather: a table, a picture, a prompt folder.
    """
    from promptseg.features.memory import keep_freed_memory
    from promptseg.recipes.demo import run_demo

    use_threads(threads)
    keep_freed_memory()
    folder = out or Path("runs") / f"demo-{condition}"
    outcome = run_demo(folder, condition, seed, say)
    print_table(outcome.table)
    typer.echo(f"picture: {outcome.picture}")
    typer.echo(f"prompts: {outcome.prompts} ({file_size(outcome.prompts)}; the frozen model is untouched)")
    predict = f"predict --prompts {quoted(outcome.prompts)} --out {quoted(folder / 'predictions')}"
    typer.echo(f"next:    {program()} {predict} {quoted(outcome.photos)}")
