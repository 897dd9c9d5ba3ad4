"""Start the app: claim a port, print the address, open the browser, serve until ctrl-C."""

import secrets
import threading
import webbrowser
from pathlib import Path
from typing import Any

import typer

from promptseg.app.photos import PhotoFolder
from promptseg.extras import import_extra
from promptseg.models.registry import find_model
from promptseg.serve.address import claim, served_hosts


def serve(folder: Path, model: str, host: str, port: int, browser: bool, seed: int, device: str | None) -> None:
    """Serve the page for a folder until ctrl-C.

    Raises:
        PromptsegError: the extra is not installed, no photos, an unknown model, or an address that cannot be used.
    """
    import_extra("fastapi", "app", "the app")
    uvicorn = import_extra("uvicorn", "app", "the app")
    from promptseg.app.server import create_app
    from promptseg.app.session import Session

    find_model(model)
    photos = PhotoFolder(folder)
    server_socket = claim(host, port, or_free=True)
    port = server_socket.getsockname()[1]
    token = secrets.token_urlsafe(24)
    session = Session(photos, model, device, seed)
    hosts = served_hosts(host, port)
    application = create_app(session, hosts, token)
    config = uvicorn.Config(application, log_level="warning", lifespan="off", timeout_graceful_shutdown=1)
    address = f"http://{hosts[0]}/?token={token}"
    typer.echo(f"{len(photos.photos)} photos of {photos.root}\nopen {address}\nctrl-C ends it; every label is saved")
    if browser:
        threading.Timer(0.3, webbrowser.open, [address]).start()
    session.loop.start()
    server = uvicorn.Server(config)
    leave = server.handle_exit

    def handle_exit(signal: int, frame: Any) -> None:
        session.loop.end()  # or requests that wait for news would hold the server back
        leave(signal, frame)

    server.handle_exit = handle_exit
    try:
        server.run(sockets=[server_socket])
    finally:
        session.loop.stop()
