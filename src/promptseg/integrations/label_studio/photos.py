"""Photos and annotations from Label Studio itself, and from no other address."""

import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urljoin, urlsplit

import numpy as np
from numpy.typing import NDArray

from promptseg.data.images import decode_image
from promptseg.errors import PromptsegError

LARGEST = 200_000_000
"""Bytes of a photo, or of an export."""
_SECONDS = 60
_TOKEN_PARTS = 3
"""Parts of a personal access token between dots; the older tokens have no dots."""


class LabelStudio:
    """The Label Studio that asks: photos of its tasks, and what people have drawn."""

    def __init__(self, address: str, key: str | None) -> None:
        """Take its address, and an access token if there is one already.

        Raises:
            PromptsegError: no address.
        """
        try:
            parts = urlsplit(address)
        except ValueError:  # brackets around no address
            parts = urlsplit("")
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise PromptsegError(f"--label-studio {address}: give an address such as http://localhost:8080")
        self._address, self._key, self._given = address.rstrip("/") + "/", key, key is not None

    def use(self, key: str) -> None:
        """Take the token that Label Studio sends, unless one was given."""
        if key and not self._given:
            self._key = key

    def photo(self, place: object) -> NDArray[np.uint8]:
        """The photo (H, W, 3) that a task's data names.

        Raises:
            PromptsegError: it lies elsewhere, cannot be had, or is no photo.
        """
        if not isinstance(place, str) or not place:
            raise PromptsegError(f"{place!r} names no photo: the task's data must have the photo's address")
        address = urljoin(self._address, place)
        if _origin(address) != _origin(self._address):
            raise PromptsegError(f"{place}: photos are fetched from {self._address} alone: upload it there")
        return decode_image(self._read(address))

    def annotated(self, project: str) -> list[dict[str, Any]]:
        """The tasks of a project with their annotations, as Label Studio exports them.

        Raises:
            PromptsegError: they cannot be had.
        """
        content = self._read(urljoin(self._address, f"api/projects/{project}/export?exportType=JSON"))
        try:
            found = json.loads(content)
        except ValueError:
            found = None
        if not isinstance(found, list):
            raise PromptsegError(f"{self._address}: the export of project {project} is no list of tasks")
        return [task for task in found if isinstance(task, dict)]

    def _read(self, address: str) -> bytes:
        request = urllib.request.Request(address, headers=self._authorization())
        return _answer(request)

    def _authorization(self) -> dict[str, str]:
        if self._key is None:
            return {}
        if len(self._key.split(".")) != _TOKEN_PARTS:
            return {"Authorization": f"Token {self._key}"}
        body = json.dumps({"refresh": self._key}).encode()
        asked = urllib.request.Request(
            urljoin(self._address, "api/token/refresh/"), body, {"Content-Type": "application/json"}
        )
        return {"Authorization": f"Bearer {json.loads(_answer(asked)).get('access')}"}


class _OwnTokens(urllib.request.HTTPRedirectHandler):
    """Follows to where the photos of a cloud storage lie, without the token."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """The request to the new address."""
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        if following is not None and _origin(newurl) != _origin(req.full_url):
            following.remove_header("Authorization")
        return following


# No proxies of the environment: the token is for Label Studio alone.
_OPENER = urllib.request.build_opener(_OwnTokens, urllib.request.ProxyHandler({}))


def _answer(request: urllib.request.Request) -> bytes:
    try:
        with _OPENER.open(request, timeout=_SECONDS) as answer:
            content: bytes = answer.read(LARGEST + 1)
    except urllib.error.HTTPError as error:
        mend = "give a token of it in LABEL_STUDIO_API_KEY" if error.code in (401, 403) else "see its log"
        raise PromptsegError(f"{request.full_url}: Label Studio answers {error.code}; {mend}") from None
    except (OSError, ValueError) as error:
        raise PromptsegError(f"{request.full_url}: cannot be had ({error}); see --label-studio") from None
    if len(content) > LARGEST:
        raise PromptsegError(f"{request.full_url}: over {LARGEST:,} bytes")
    return content


def _origin(address: str) -> tuple[str, str]:
    parts = urlsplit(address)
    return parts.scheme, parts.netloc
