"""`promptseg cache`: the image features kept on disk."""

from typing import TYPE_CHECKING

import typer

from promptseg.cli.options import new_app, show_help

if TYPE_CHECKING:
    from promptseg.engine.feature_files import FeatureFiles

app = new_app("Image features on disk, which fit and compare keep where memory is short.")


@app.callback(invoke_without_command=True)
def _cache(context: typer.Context) -> None:
    """Image features on disk, which fit and compare keep where memory is short."""
    show_help(context)


@app.command()
def info() -> None:
    """Print the folder, how many images it holds, and how much room they take."""
    files = _files()
    typer.echo(f"folder:  {files.folder}")
    typer.echo(f"images:  {len(files.files())} (a mirrored one counts for itself)")
    typer.echo(
        f"size:    {files.nbytes() / 2**20:.1f} MB of at most {files.limit / 2**20:.0f} MB ($PROMPTSEG_FEATURES_GB)"
    )


@app.command()
def clear() -> None:
    """Remove them all; they are made again when they are needed."""
    files = _files()
    count = len(files.files())
    typer.echo(f"{count} images removed, {files.clear() / 2**20:.1f} MB")


def _files() -> "FeatureFiles":
    from promptseg.engine.features_cache import user_files

    return user_files()
