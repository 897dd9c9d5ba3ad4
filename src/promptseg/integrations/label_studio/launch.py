"""Start the backend: claim the port, say what to paste into Label Studio, serve until a signal."""

import os
import secrets
from pathlib import Path

import typer

from promptseg.extras import import_extra
from promptseg.models.registry import find_model
from promptseg.serve.address import LOOPBACK, claim, served_hosts
from promptseg.serve.running import run_server

KEY = "LABEL_STUDIO_API_KEY"
"""The environment variable that holds an access token of Label Studio."""


def serve(folder: Path, address: str, model: str, host: str, port: int, seed: int, device: str | None) -> int:
    """Serve the backend until ctrl-C or SIGTERM; what was annotated by then is learned from.

    Args:
        folder: for photos, labels and runs of all projects.
        address: of Label Studio.
        model: name or folder.
        host: address to listen on; of others than loopback every path begins with a token.
        port: 0 = any free one.
        seed: of fits.
        device: where the model is loaded; none = a GPU where there is one.

    Returns:
        How many signals came, as `run_server` counts them.

    Raises:
        PromptsegError: the extra is not installed, an unknown model, or an address that cannot be used.
    """
    import_extra("fastapi", "app", "the backend")
    from promptseg.integrations.label_studio.backend import create_backend
    from promptseg.integrations.label_studio.photos import LabelStudio
    from promptseg.integrations.label_studio.teacher import Teacher

    find_model(model)
    studio = LabelStudio(address, os.environ.get(KEY))
    listening = claim(host, port)
    token = None if host in LOOPBACK else secrets.token_urlsafe(24)
    hosts = served_hosts(host, listening.getsockname()[1])
    application = create_backend(Teacher(folder, studio, model, device, seed), studio, hosts, token)
    typer.echo(f"paste into Label Studio, Settings > Model: http://{hosts[0]}{'' if token is None else f'/{token}'}")
    typer.echo(f"photos, labels and runs of the projects: {folder}; ctrl-C ends it")
    return run_server(application, listening)
