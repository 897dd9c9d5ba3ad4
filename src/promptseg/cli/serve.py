"""`promptseg serve`: labels for photos that other programs send."""

from pathlib import Path
from typing import Annotated

import typer

from promptseg.cli.options import Device, LearnedTask, Precision, TaskSettings, Threads, parse_settings, use_threads
from promptseg.cli.output import Interrupted


def serve(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run, or a prompt folder.")],
    task: LearnedTask = None,
    settings: TaskSettings = None,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address to listen on; of others than loopback with a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 is any free one.")] = 8018,
    queue: Annotated[int, typer.Option(metavar="N", help="Photos accepted at a time; the next gets 503.")] = 32,
    megabytes: Annotated[int, typer.Option(metavar="N", help="Largest file of a photo.")] = 32,
    precision: Precision = None,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Label photos that come by HTTP: POST /label with the bytes of a photo gives a PNG of ids, or COCO JSON.

    Listens on this machine alone unless --host says otherwise; then requests must carry a token, which is that of the
    environment variable PROMPTSEG_TOKEN, or a fresh one that is printed. Ctrl-C or SIGTERM ends it when what was
    accepted is done.
    """
    from promptseg import Labeller
    from promptseg.checks import check_whole
    from promptseg.engine.runs import load_prompts
    from promptseg.serve.launch import serve as serve_labels

    check_whole("--queue", queue)
    check_whole("--megabytes", megabytes)
    chosen = parse_settings(settings or ())
    use_threads(threads)
    labeller = Labeller(load_prompts(run), task, device=device, precision=precision, **chosen)
    if serve_labels(labeller, host, port, queue, megabytes) > 1:
        raise Interrupted("stopped; photos that were accepted may have got no answer")
