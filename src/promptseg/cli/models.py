"""`promptseg models`: what can be loaded, and the import of official checkpoints."""

from pathlib import Path
from typing import Annotated

import typer

from promptseg.cli.options import OutFolder, new_app, show_help
from promptseg.cli.output import program, quoted

app = new_app("The models, and the import of official checkpoints.")


@app.callback(invoke_without_command=True)
def _models(context: typer.Context) -> None:
    """The models, and the import of official checkpoints."""
    show_help(context)


@app.command("list")
def list_() -> None:
    """List the models that --model takes by name: size, licences, where the file comes from, whether it is here."""
    from promptseg.models.registry import list_models

    rows = [("name", "parameters", "code", "weights", "file", "here")]
    for entry in list_models():
        size, here = f"{entry.parameters / 1e6:.1f} M", "yes" if entry.available else "no"
        rows.append((entry.name, size, entry.code_licence, entry.licence, entry.source, here))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, size, *others in rows:
        texts = "  ".join(f"{text:<{width}}" for text, width in zip(others, widths[2:], strict=True))
        typer.echo(f"{name:<{widths[0]}}  {size:>{widths[1]}}  {texts}".rstrip())


@app.command()
def info(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name of models list, or a model folder.")],
) -> None:
    """Print what a model is and costs: parameters, memory, kinds of prompts, fingerprint; for SEEM also operations.

    Operations are counted for one image of 512 x 1024 and 20 classes, a multiplication and an addition as two.
    """
    from promptseg.models.registry import describe_model

    for what, text in describe_model(name).items():
        typer.echo(f"{what + ':':<15}{text}")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Official checkpoint (.pt); nothing in it is executed.")],
    out: OutFolder,
    config: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Its architecture: a name of models list, or the official configuration file (.yaml) of a fine-tune;"
            " without it, the named one that its tensors fit.",
        ),
    ] = None,
    tokenizer: Annotated[
        Path | None, typer.Option(metavar="FILE", help="CLIP's tokenizer.json; class names cannot be read without it.")
    ] = None,
    family: Annotated[str, typer.Option(metavar="FAMILY", help="The model family that reads the file.")] = "seem",
) -> None:
    """Turn an official checkpoint into a model folder.

    Writes safetensors and reports keys that are missing, unexpected or of another shape.
    """
    from promptseg.models.registry import FAMILIES

    typer.echo(FAMILIES.find(family).import_checkpoint(file, config, out, tokenizer))
    typer.echo(f"next: {program()} fit --model {quoted(out)} --data YOUR_FOLDER --out runs/yours")
