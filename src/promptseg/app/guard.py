"""Who may talk to the page: requests for this host, from this page, with this run's token, of bounded size.

A page of another site could reach a server on loopback through the user's browser. The Host header stops names that
were pointed here from outside, Origin stops writes by other pages, and the token stops other users of the machine.
"""

import hmac
from collections.abc import Collection
from http.cookies import SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST_BODY = 100_000_000
"""Bytes; label maps come compressed, so 80 million pixels fit."""
_SAFE = ("GET", "HEAD")
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; "
    "frame-ancestors 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


class Guard:
    """ASGI middleware that lets only such requests through."""

    def __init__(self, app: ASGIApp, hosts: Collection[str], token: str) -> None:
        """Wrap an application.

        Args:
            app: the application.
            hosts: what the Host header may say, with port, such as `127.0.0.1:8017`.
            token: of this run; the page gets it by its first address and keeps it in a cookie.
        """
        self._app, self._hosts, self._token = app, frozenset(hosts), token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        refusal = self._refusal(scope, headers)
        await (refusal or self._app)(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        host = headers.get("host", "")
        if host not in self._hosts:
            return _refused(403, f"host {host!r} is not served here: open the address that promptseg app printed")
        if scope["method"] not in _SAFE and not _same_origin(headers, host):
            return _refused(403, f"a page of {headers.get('origin')!r} may not write here")
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        name = f"promptseg-{host.rpartition(':')[2]}"
        if scope["path"] == "/" and self._is_token(given):
            response = RedirectResponse("/", 303)
            response.set_cookie(name, self._token, httponly=True, samesite="strict")
            return response
        cookie = SimpleCookie(headers.get("cookie", "")).get(name)
        if cookie is None or not self._is_token(cookie.value):
            words = "open the address with its token that promptseg app printed in the terminal"
            return PlainTextResponse(words, 401) if scope["path"] == "/" else _refused(401, words)
        if scope["method"] not in _SAFE:
            return _refused_body(headers)
        return None

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self._token.encode())


def _same_origin(headers: Headers, host: str) -> bool:
    origin = headers.get("origin")
    if origin is not None:
        return urlsplit(origin).netloc == host
    return headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")


def _refused_body(headers: Headers) -> Response | None:
    length = headers.get("content-length", "")
    if not length.isdecimal():
        return _refused(411, "the length of the body is missing: send Content-Length")
    if int(length) > LARGEST_BODY:
        return _refused(413, f"a body of {length} bytes: at most {LARGEST_BODY:,} are taken")
    return None


def _refused(status: int, words: str) -> Response:
    return JSONResponse({"detail": words}, status)
