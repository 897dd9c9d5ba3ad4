"""A stand-in for the model hub: a server on loopback that speaks to the hub's own library, which runs as it is."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

NOWHERE = "http://127.0.0.1:9"
"""Nothing listens there."""


class StandIn:
    """Repositories with branches and commits.

    Attributes:
        cache: of the library, on this machine.
        calls: method and path of each request.
        refuses: status and error code that every request gets.
        breaks: names of files that are cut off on their way.
        changed: what comes in place of a file, by its name.
        sizes: what is said of sizes, by name.
    """

    def __init__(self, cache: Path, patch: pytest.MonkeyPatch) -> None:
        self.cache, self._patch = cache, patch
        self.branches: dict[str, dict[str, str]] = {}
        self.commits: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.calls: list[str] = []
        self.refuses: tuple[int, str] | None = None
        self.breaks: set[str] = set()
        self.changed: dict[str, bytes] = {}
        self.sizes: dict[str, int | None] = {}
        self.url = NOWHERE

    def point(self, url: str) -> None:
        """Where the library looks for the hub from now on."""
        self._patch.setattr("huggingface_hub.constants.ENDPOINT", url)
        template = url + "/{repo_id}/resolve/{revision}/{filename}"
        self._patch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)

    def commit(self, repo: str, files: dict[str, bytes], branch: str = "main") -> str:
        """Files on top of those of a branch."""
        here = self.branches.setdefault(repo, {})
        content = self.commits.get(here.get(branch, here.get("main", "")), {}) | files
        oid = hashlib.sha1(repr((repo, sorted(content.items()), len(self.commits))).encode()).hexdigest()
        self.commits[oid], here[branch] = content, oid
        return oid

    def files(self, repo: str, branch: str = "main") -> dict[str, bytes]:
        return self.commits[self.branches[repo][branch]]

    def listing(self, oid: str) -> list[dict[str, Any]]:
        """What the hub says of each file of a commit."""
        entries = []
        for name, data in self.commits[oid].items():
            size, sha = self.sizes.get(name, len(data)), hashlib.sha256(data).hexdigest()
            entry = {"path": name, "size": size, "oid": hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()}
            if name.endswith((".safetensors", ".bin")):
                entry |= {"oid": "0" * 40, "lfs": {"size": len(data), "sha256": sha, "oid": sha, "pointerSize": 130}}
            entries.append(entry)
        return entries


class Refused(Exception):
    """A status, the code that the library tells its errors by, and perhaps content."""


@contextmanager
def serving(cache: Path, patch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """A hub that is there until the block ends."""
    hub = StandIn(cache, patch)
    patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    patch.setenv("HF_TOKEN", "hf_stand_in")
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Answers", (_Answers,), {"hub": hub}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    hub.point(hub.url)
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


class _Answers(BaseHTTPRequestHandler):
    hub: StandIn

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_GET

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.hub.calls.append(f"{self.command} {path}")
        try:
            if self.hub.refuses is not None:
                raise Refused(*self.hub.refuses)
            if path.startswith("/api/"):
                self._send(json.dumps(self._api(path.removeprefix("/api/"), body)).encode())
            else:
                self._file(path.lstrip("/"))
        except Refused as refusal:
            status, code, *more = refusal.args
            self._send(json.dumps(*more or ({},)).encode(), status, {"X-Error-Code": code})

    def _api(self, path: str, body: bytes) -> Any:
        if path == "validate-yaml":
            return {"errors": [], "warnings": []}
        if path == "repos/create":
            return self._create(json.loads(body))
        repo, _, rest = "/".join(path.split("/")[1:3]), None, path.split("/")[3:]
        what, revision = (*rest, "main", "main")[:2] if len(rest) != 1 else (rest[0], "main")
        if not rest:
            what = "revision"
        oid = self._resolved(repo, revision if what != "branch" else "main")
        if what == "revision":
            return {"id": repo, "sha": oid, "siblings": self._siblings(oid)}
        if what == "tree":
            return [{"type": "file", **entry, "size": entry["size"] or 0} for entry in self.hub.listing(oid)]
        if what == "branch":
            self.hub.branches[repo].setdefault(revision, oid)
            return {}
        if what == "preupload":
            names = [file["path"] for file in json.loads(body)["files"]]
            return {"files": [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]}
        assert what == "commit"
        lines = [json.loads(line) for line in body.splitlines()]
        files = {line["value"]["path"]: line["value"]["content"] for line in lines if line["key"] == "file"}
        new = self.hub.commit(repo, {name: base64.b64decode(text) for name, text in files.items()}, revision)
        return {"success": True, "commitOid": new, "commitUrl": f"{self.hub.url}/{repo}/commit/{new}"}

    def _create(self, wanted: dict[str, Any]) -> dict[str, Any]:
        repo = f"{wanted['organization']}/{wanted['name']}"
        if repo in self.hub.branches:
            raise Refused(409, "", {"url": f"{self.hub.url}/{repo}"})
        self.hub.private[repo] = wanted.get("private") or wanted.get("visibility") == "private"
        self.hub.commit(repo, {".gitattributes": b"*.bin"})
        return {"url": f"{self.hub.url}/{repo}", "name": repo}

    def _siblings(self, oid: str) -> list[dict[str, Any]]:
        entries = self.hub.listing(oid)
        return [e | {"rfilename": e["path"], "blobId": e["oid"]} for e in entries]

    def _resolved(self, repo: str, revision: str) -> str:
        if repo not in self.hub.branches:
            raise Refused(404, "RepoNotFound")
        oid = self.hub.branches[repo].get(revision, revision)
        if oid not in self.hub.commits:
            raise Refused(404, "RevisionNotFound")
        return oid

    def _file(self, path: str) -> None:
        owner, name, _, revision, file = path.split("/", 4)
        oid = self._resolved(f"{owner}/{name}", revision)
        data = self.hub.changed.get(file, self.hub.commits[oid].get(file))
        if data is None:
            raise Refused(404, "EntryNotFound")
        tag = hashlib.sha256(data).hexdigest()
        cut = file in self.hub.breaks and self.command == "GET"
        self._send(data[: len(data) // 2] if cut else data, 200, {"ETag": f'"{tag}"', "X-Repo-Commit": oid}, len(data))

    def _send(
        self, data: bytes, status: int = 200, headers: dict[str, str] | None = None, length: int | None = None
    ) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
