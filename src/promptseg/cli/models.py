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
    """Print what a model is and costs: parameters, operations, memory, kinds of prompts, fingerprint.

    Operations are counted for one image of 512 x 1024 and 20 classes, a multiplication and an addition as two.
    """
    from promptseg.models.info import SIZE, model_info

    found = model_info(name)
    cost, config = found.cost, found.config
    image = f"one image of {SIZE[0]} x {SIZE[1]}"
    lines = {
        "model": f"{name}: {config.variant.name}, backbone {config.backbone.kind}, {config.num_queries} queries",
        "parameters": f"{cost.parameters / 1e6:.1f} M",
        "operations": f"{(cost.encode_flops + cost.decode_flops) / 1e9:.0f} GFLOPs for {image} (image to features"
        f" {cost.encode_flops / 1e9:.0f}, features to masks {cost.decode_flops / 1e9:.0f}), padded to"
        f" {cost.canvas[0]} x {cost.canvas[1]}",
        "memory": f"{cost.weight_bytes / 1e6:.0f} MB of weights,"
        f" {cost.feature_bytes / 1e6:.0f} MB of features for {image}",
        "classes by": "class names, or learned semantic prompts",
        "masks by": f"spatial prompts: {' or '.join(found.spatial_choices)}",
        "one object by": f"{', '.join(found.object_prompts)} (variant {config.variant.name})",
        "weights": f"in {found.folder}, fingerprint {found.fingerprint}" if found.folder else "not on this machine",
    }
    for what, text in lines.items():
        typer.echo(f"{what + ':':<15}{text}")


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
    from promptseg.models.seem.files.importing import import_checkpoint

    typer.echo(str(import_checkpoint(file, config, out, tokenizer)))
    typer.echo(f"next: {program()} fit --model {quoted(out)} --data YOUR_FOLDER --out runs/yours")
