"""Start the endpoint: claim the port, load the model, say where it listens, serve until a signal, finish."""

import os
import secrets

import typer

from promptseg.engine.predict import Labeller
from promptseg.extras import import_extra
from promptseg.serve.address import LOOPBACK, claim, served_hosts
from promptseg.serve.running import run_server

TOKEN = "PROMPTSEG_TOKEN"
"""The environment variable that holds the token; arguments are seen by all users of a machine."""


def serve(labeller: Labeller, host: str, port: int, bound: int, megabytes: int) -> int:
    """Serve an endpoint until SIGINT or SIGTERM; what was accepted by then is finished.

    Args:
        labeller: labels the photos.
        host: address to listen on; of others than loopback it takes a token, from `TOKEN` or a fresh one.
        port: 0 = any free one.
        bound: photos accepted at a time.
        megabytes: largest file of a photo, 10^6 bytes.

    Returns:
        How many signals came: 1, or more where who sent them would not wait.

    Raises:
        PromptsegError: the extra is not installed, a bound out of range, or an address that cannot be used.
    """
    import_extra("fastapi", "app", "the endpoint")
    from promptseg.serve.endpoint import create_endpoint

    listening = claim(host, port)
    token = os.environ.get(TOKEN) or (None if host in LOOPBACK else secrets.token_urlsafe(24))
    hosts = served_hosts(host, listening.getsockname()[1])
    application = create_endpoint(labeller, bound, hosts, token, 1_000_000 * megabytes)
    _announce(labeller, hosts[0], token)
    return run_server(application, listening)


def _announce(labeller: Labeller, host: str, token: str | None) -> None:
    names = labeller.prompts.class_names
    typer.echo(f"{labeller.task.name} labels of {len(names)} classes at http://{host}/label")
    given = "" if token is None else f" -H 'Authorization: Bearer {'$' + TOKEN if TOKEN in os.environ else token}'"
    typer.echo(f"curl{given} --data-binary @photo.jpg http://{host}/label -o labels.png")
    typer.echo("ctrl-C or SIGTERM ends it when all accepted photos are labelled")
