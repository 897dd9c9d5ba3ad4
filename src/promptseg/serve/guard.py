"""Who may talk to a server: requests for this host, from no other page, of bounded size.

A page of another site could reach a server on loopback through the user's browser. The Host header stops names that
were pointed here from outside, and Origin stops writes by other pages.
"""

import asyncio
import hmac
from collections.abc import Mapping
from contextlib import suppress
from typing import ClassVar
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SAFE = ("GET", "HEAD")
"""Methods that change nothing."""
_DRAIN_SECONDS = 10
"""How long the body of a refused request is read on; who is still sending would never see the answer."""


class Guard:
    """ASGI middleware that lets only such requests through that `refusal` has nothing against.

    Attributes:
        headers: what every answer says beside its own headers.
    """

    headers: ClassVar[dict[str, str]] = {"X-Content-Type-Options": "nosniff"}

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self.headers)
            await send(message)

        refusal = self.refusal(scope, Headers(scope=scope))
        if refusal is not None:
            await drain(receive)
        await (refusal or self._app)(scope, receive, send_with_headers)

    def refusal(self, scope: Scope, headers: Headers) -> Response | None:
        """The answer to a request that may not pass."""
        raise NotImplementedError


async def drain(receive: Receive) -> None:
    """Read the rest of a body, and keep nothing of it."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            while (await receive()).get("more_body", False):
                pass


def refused(status: int, words: str, headers: Mapping[str, str] | None = None) -> Response:
    """An answer that says why not, in one line."""
    return JSONResponse({"detail": words}, status, headers)


def refused_host(headers: Headers, hosts: frozenset[str]) -> Response | None:
    """The answer to a request for another host than `hosts`, with port, such as `127.0.0.1:8017`."""
    host = headers.get("host", "")
    return (
        None if host in hosts else refused(403, f"host {host!r} is not served here: open the address that was printed")
    )


def refused_page(headers: Headers) -> Response | None:
    """The answer to a request that a page of another site sends."""
    origin, site = headers.get("origin"), headers.get("sec-fetch-site", "same-origin")
    same = site in ("same-origin", "none") if origin is None else urlsplit(origin).netloc == headers.get("host")
    return None if same else refused(403, f"a page of {origin!r} may not write here")


def refused_body(headers: Headers, most: int) -> Response | None:
    """The answer to a body of unknown length, or of more than `most` bytes."""
    length = headers.get("content-length", "")
    if not length.isdecimal():
        return refused(411, "the length of the body is missing: send Content-Length")
    if int(length) > most:
        return refused(413, f"a body of {length} bytes: at most {most:,} are taken")
    return None


def is_token(given: str, token: str) -> bool:
    """Whether two tokens are the same; the time it takes tells nothing."""
    return hmac.compare_digest(given.encode(), token.encode())
