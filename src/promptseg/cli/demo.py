"""`promptseg demo`: what learning prompts brings, in a minute or two and offline."""

from pathlib import Path
from typing import Annotated

import typer

from promptseg.cli.options import Seed, Threads, use_threads
from promptseg.cli.text import file_size, print_table, program, quoted


def demo(
    condition: Annotated[str, typer.Option(help="clear, fog, night, rain or snow.")] = "fog",
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where to write (default: runs/demo-CONDITION).")
    ] = None,
    seed: Seed = 0,
    threads: Threads = None,
) -> None:
    """Show what learning prompts brings, offline.

    Zero-shot against SSPrompt on generated streets in bad weather: a table, a picture, a prompt folder.
    """
    from promptseg.engine.memory import keep_freed_memory
    from promptseg.recipes.demo import run_demo

    use_threads(threads)
    keep_freed_memory()
    folder = out or Path("runs") / f"demo-{condition}"
    outcome = run_demo(folder, condition, seed, lambda line: typer.echo(line, err=True))
    print_table(outcome.table)
    typer.echo(f"picture: {outcome.picture}")
    typer.echo(f"prompts: {outcome.prompts} ({file_size(outcome.prompts)}; the frozen model is untouched)")
    predict = f"predict --prompts {quoted(outcome.prompts)} --out {quoted(folder / 'predictions')}"
    typer.echo(f"next:    {program()} {predict} {quoted(outcome.photos)}")
