"""Who may talk to the page: who has the token of this run, which stops other users of the machine."""

from collections.abc import Collection
from typing import ClassVar
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Scope

from promptseg.serve.guard import SAFE, Guard, is_token, refused, refused_body, refused_host, refused_page

LARGEST_BODY = 100_000_000
"""Bytes; label maps come compressed, so 80 million pixels fit."""


class PageGuard(Guard):
    """Lets through what the page of this run asks for."""

    headers: ClassVar[dict[str, str]] = Guard.headers | {
        "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; "
        "base-uri 'none'; frame-ancestors 'none'; form-action 'none'",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cache-Control": "no-cache",
    }

    def __init__(self, app: ASGIApp, hosts: Collection[str], token: str) -> None:
        """Wrap an application.

        Args:
            app: the application.
            hosts: what the Host header may say, with port, such as `127.0.0.1:8017`.
            token: of this run; the page gets it by its first address and keeps it in a cookie.
        """
        super().__init__(app)
        self._hosts, self._token = frozenset(hosts), token

    def refusal(self, scope: Scope, headers: Headers) -> Response | None:
        """The answer to a request without the token; to that with the token in its address, its cookie."""
        safe = scope["method"] in SAFE
        stranger = refused_host(headers, self._hosts) or (None if safe else refused_page(headers))
        if stranger is not None:
            return stranger
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        name = f"promptseg-{headers.get('host', '').rpartition(':')[2]}"
        if scope["path"] == "/" and is_token(given, self._token):
            response = RedirectResponse("/", 303)
            response.set_cookie(name, self._token, httponly=True, samesite="strict")
            return response
        # Other servers of this machine set cookies too, some of which Python's own reader stops at.
        if not is_token(cookie_parser(headers.get("cookie", "")).get(name, ""), self._token):
            words = "open the address with its token that promptseg app printed in the terminal"
            return PlainTextResponse(words, 401) if scope["path"] == "/" else refused(401, words)
        return None if safe else refused_body(headers, LARGEST_BODY)
