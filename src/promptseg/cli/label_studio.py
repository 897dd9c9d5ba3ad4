"""`promptseg label-studio`: an ML backend for Label Studio that labels, and learns from annotations."""

from pathlib import Path
from typing import Annotated

import typer

from promptseg.cli.options import DEFAULT_MODEL, Device, Seed, Threads, use_threads
from promptseg.cli.output import Interrupted


def label_studio(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="For photos, labels and runs of all projects.")],
    address: Annotated[
        str, typer.Option("--label-studio", metavar="URL", help="Where Label Studio is; photos come from it alone.")
    ] = "http://localhost:8080",
    model: Annotated[str, typer.Option(help="Model name or folder.")] = DEFAULT_MODEL,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address to listen on; of others than loopback with a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 is any free one.")] = 9090,
    seed: Seed = 0,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Label the photos of Label Studio's projects, and learn from what people draw there.

    Before the first annotation it answers zero-shot from the names of the labels; after each it learns, within
    seconds, in the background. Each project has a folder FOLDER/NUMBER that `promptseg fit --data` reads too.
    """
    from promptseg.integrations.label_studio.launch import serve

    use_threads(threads)
    if serve(folder, address, model, host, port, seed, device) > 1:
        raise Interrupted("stopped; what was annotated last may not be learned: Start Training learns from all")
