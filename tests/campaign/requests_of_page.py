"""The requests of the page as a file that can be fuzzed, and the folder that it is open on."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
from app_folder import opened, packed
from fastapi.testclient import TestClient
from httpx import Response
from subjects import make_data, page_saves

from promptseg.errors import PromptsegError

LABELS = base64.b64encode(packed(np.ones((64, 64), np.uint8))).decode()
PHOTO, NEW = {"photo": "0"}, {"If-Match": '"new"'}
OBJECT = {"points": [[3, 4]], "negative": [], "boxes": [[1, 1, 9, 9]]}
REQUESTS: tuple[dict[str, Any], ...] = (
    {"method": "GET", "url": "/api/folder", "params": {"rescan": True}},
    {"method": "GET", "url": "/api/status", "params": {"after": -1}},
    {"method": "GET", "url": "/api/look"},
    {"method": "PUT", "url": "/api/classes", "json": {"classes": [{"name": "field"}, {"name": "sky"}]}, "headers": NEW},
    {"method": "GET", "url": "/api/thumbnail", "params": PHOTO},
    {"method": "GET", "url": "/api/photo", "params": PHOTO},
    {"method": "GET", "url": "/api/regions", "params": PHOTO | {"size": 24}},
    {"method": "GET", "url": "/api/labels", "params": PHOTO},
    {"method": "PUT", "url": "/api/labels", "params": PHOTO | {"poured": True}, "body": LABELS, "headers": NEW},
    {"method": "GET", "url": "/api/overlay", "params": PHOTO | {"source": "labels", "only": 1}},
    {"method": "POST", "url": "/api/object", "params": PHOTO, "json": OBJECT},
    {"method": "POST", "url": "/api/confirm", "params": PHOTO | {"confirmed": True}, "headers": NEW},
    {"method": "POST", "url": "/api/undo", "params": PHOTO, "headers": NEW},
    {"method": "POST", "url": "/api/redo", "params": PHOTO, "headers": NEW},
    {"method": "POST", "url": "/api/learn", "json": {"now": True, "auto": False}},
    {"method": "POST", "url": "/api/export", "json": {"to": "csv", "photos": "all"}},
    {"method": "GET", "url": "/main.js"},
)
"""As `httpx` takes them; a body is base64. All versions are those of new labels: the second write is a conflict."""


def make_town(root: Path) -> None:
    """A folder of photos that the page has saved in."""
    make_data(root / "all")
    (root / "all/images/train").rename(root / "town")
    page_saves(root / "town")


def open_town(root: Path) -> None:
    """Open the folder and ask for all that the page shows, then write."""
    with opened(root / "town", running=False) as (session, client):
        session.loop.end()  # there is no model, and nothing waits for one
        for request in REQUESTS:
            check(client.request(**sent(request)))
        for photo in ("0", "1"):
            version = client.get("/api/labels", params={"photo": photo}).headers.get("ETag", "")
            for step in ("undo", "redo", "confirm"):
                check(client.post(f"/api/{step}", params={"photo": photo}, headers={"If-Match": version}))


def make_requests(root: Path) -> None:
    """A folder of photos, and requests of all kinds."""
    make_data(root)
    (root / "requests.json").write_text(json.dumps(REQUESTS))


def send(root: Path) -> None:
    """Send the requests of the file."""
    try:
        requests = json.loads((root / "requests.json").read_text())
    except ValueError:
        raise PromptsegError("no requests") from None
    with opened(root / "images/train", running=False) as (session, client):
        session.loop.end()
        for request in requests if isinstance(requests, list) else ():
            if (response := ask(client, request)) is not None:
                check(response)


def ask(client: TestClient, request: Any) -> Response | None:
    """Send a request; none where it is none, which no browser could send either."""
    try:
        built = client.build_request(**sent(request))
    except Exception:  # the client's own, of many kinds
        return None
    return client.send(built)


def sent(request: Any) -> dict[str, Any]:
    """What `httpx` takes."""
    body = request.get("body")
    rest = {name: value for name, value in request.items() if name != "body"}
    return rest if body is None else rest | {"content": base64.b64decode(body)}


def check(response: Response) -> None:
    """Whether an answer is right: what was asked for, or one line."""
    if response.status_code < 400:
        return
    detail = response.json()["detail"] if response.headers["content-type"] == "application/json" else response.text
    assert response.status_code < 500 and "\n" not in detail, f"{response.status_code}: {detail!r:.200}"
