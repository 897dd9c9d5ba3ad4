"""Where a server listens, and what it is called there."""

import errno
import socket

from promptseg.errors import PromptsegError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Names of this machine for itself."""


def claim(host: str, port: int, or_free: bool = False) -> socket.socket:
    """A socket that listens on a port.

    Args:
        host: an address or name of this machine.
        port: 0 = any free one.
        or_free: take any free one too if `port` is taken.

    Raises:
        PromptsegError: the address cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
        found.listen()
    except (OSError, OverflowError) as error:
        found.close()
        if or_free and getattr(error, "errno", None) == errno.EADDRINUSE:
            return claim(host, 0)
        raise PromptsegError(f"--host {host} --port {port} cannot be used here: {error}") from None
    return found


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
