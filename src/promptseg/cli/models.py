"""`promptseg models`: what can be loaded, and the import of official checkpoints."""

from pathlib import Path
from typing import Annotated

import typer

from promptseg.cli.options import OutFolder, new_app, show_help
from promptseg.cli.text import program, quoted

app = new_app("The models, and the import of official checkpoints.")


@app.callback(invoke_without_command=True)
def _models(context: typer.Context) -> None:
    """The models, and the import of official checkpoints."""
    show_help(context)


@app.command("list")
def list_() -> None:
    """List the models that --model takes by name."""
    from promptseg.models.registry import list_models

    entries = list_models()
    width = max(len(entry.name) for entry in entries)
    for entry in entries:
        typer.echo(f"{entry.name:<{width}}  {entry.about}")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Official checkpoint (.pt); nothing in it is executed.")],
    out: OutFolder,
    config: Annotated[
        str | None, typer.Option(metavar="NAME", help="Its architecture; without it, the one that its tensors fit.")
    ] = None,
    tokenizer: Annotated[
        Path | None, typer.Option(metavar="FILE", help="CLIP's tokenizer.json; class names cannot be read without it.")
    ] = None,
) -> None:
    """Turn an official checkpoint into a model folder.

    Writes safetensors and reports keys that are missing, unexpected or of another shape.
    """
    from promptseg.models.seem.importing import import_checkpoint

    typer.echo(str(import_checkpoint(file, config, out, tokenizer)))
    typer.echo(f"next: {program()} fit --model {quoted(out)} --data YOUR_FOLDER --out runs/yours")
