"""Start the app: claim a port, print the address, open the browser, serve until ctrl-C."""

import errno
import secrets
import socket
import threading
import webbrowser
from pathlib import Path
from typing import Any

import typer

from promptseg.app.photos import PhotoFolder
from promptseg.errors import PromptsegError
from promptseg.extras import import_extra
from promptseg.models.registry import find_model

LOOPBACK = ("127.0.0.1", "localhost", "::1")


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
    server_socket = claim(host, port)
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


def claim(host: str, port: int) -> socket.socket:
    """A socket that listens on `port`, or on any free one if that is taken.

    Raises:
        PromptsegError: the address cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for chosen in (port, 0):
        found = socket.socket(family, socket.SOCK_STREAM)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((host, chosen))
        except (OSError, OverflowError) as error:
            found.close()
            if chosen == 0 or isinstance(error, OverflowError) or getattr(error, "errno", None) != errno.EADDRINUSE:
                raise PromptsegError(f"--host {host} --port {port} cannot be used here: {error}") from None
            continue
        return found
    raise AssertionError("port 0 is never taken")


def served_hosts(host: str, port: int) -> tuple[str, ...]:
    """What the Host header may say; the first is printed.

    An address of all interfaces is reached by this machine's name and its addresses.
    """
    if host in LOOPBACK:
        names: tuple[str, ...] = LOOPBACK
    elif host in ("0.0.0.0", "::"):
        name = socket.gethostname()
        found = {str(info[4][0]) for info in socket.getaddrinfo(name, None)}
        names = (name, *sorted(found - {name}), *LOOPBACK)
    else:
        names = (host,)
    ordered = sorted(names, key=lambda n: n != host)
    return tuple(f"[{name}]:{port}" if ":" in name else f"{name}:{port}" for name in ordered)
