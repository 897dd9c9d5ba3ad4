"""`promptseg app`: the page in the browser that labels a folder of photos while it learns."""

from pathlib import Path
from typing import Annotated

import typer

from promptseg.cli.options import DEFAULT_MODEL, Device, Seed, Threads, use_threads


def app(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Your photos; labels are written below it.")],
    model: Annotated[str, typer.Option(help="Model name or folder.")] = DEFAULT_MODEL,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; another free one if it is taken.")] = 8017,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")] = True,
    seed: Seed = 0,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Label a folder of photos in the browser while the model learns from your labels.

    Works offline; listens on this machine alone unless --host says otherwise. The labels are ordinary files:
    FOLDER/labels (PNG, values are class ids), FOLDER/classes.json, and the list of the photos you confirmed,
    FOLDER/splits/confirmed.txt.
    """
    from promptseg.app.launch import serve

    use_threads(threads)
    serve(folder, model, host, port, browser, seed, device)
