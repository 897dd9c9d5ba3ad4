"""Running a server until a signal ends it."""

import socket
from typing import Any

from promptseg.extras import import_extra

_IDLE_SECONDS = 75
"""How long a connection is kept for a next request: a client on a busy machine may take a while."""


def run_server(application: Any, listening: socket.socket) -> int:
    """Serve an ASGI application until SIGINT or SIGTERM; requests that were accepted by then are answered.

    Args:
        application: the application.
        listening: where requests come in.

    Returns:
        How many signals came: 1, or more where who sent them would not wait.
    """
    uvicorn = import_extra("uvicorn", "app", "a server")
    config = uvicorn.Config(application, log_level="warning", lifespan="on", timeout_keep_alive=_IDLE_SECONDS)
    server = uvicorn.Server(config)
    signals = 0

    def handle_exit(signal: int, frame: Any) -> None:
        nonlocal signals
        signals += 1
        server.should_exit, server.force_exit = True, signals > 1

    server.handle_exit = handle_exit
    server.run(sockets=[listening])
    return signals
