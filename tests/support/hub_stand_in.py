"""A stand-in for the model hub, behind the functions of its library that promptseg calls: nothing leaves the process.

Calls are held against the signatures of the library, so that one that it would refuse is refused here.
"""

import hashlib
import inspect
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import huggingface_hub
import pytest
from huggingface_hub import HfApi, errors
from huggingface_hub.hf_api import BlobLfsInfo, RepoSibling


def refusal(kind: type[Exception], status: int = 404) -> Exception:
    """An error of the library as the hub's answer makes it."""
    error = kind.__new__(kind)
    Exception.__init__(error, "refused")
    error.response = SimpleNamespace(status_code=status)
    return error


class StandIn:
    """Repositories with branches and commits, and the cache of the library on this machine.

    `online`: whether it can be reached; `fails_with`: what every call raises; `breaks_after`: how many files come
    before the connection breaks; `changed`: what comes in place of a file; `sizes`: what it states of sizes.
    """

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self.branches: dict[str, dict[str, str]] = {}
        self.commits: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool | None] = {}
        self.calls: list[str] = []
        self.online, self.fails_with = True, None
        self.breaks_after: int | None = None
        self.changed: dict[str, bytes] = {}
        self.sizes: dict[str, int | None] = {}

    def install(self, patch: pytest.MonkeyPatch) -> "StandIn":
        for name in ("model_info", "create_repo", "create_branch", "upload_folder"):
            patch.setattr(HfApi, name, self._checked(getattr(self, name), getattr(HfApi, name), method=True))
        real = huggingface_hub.snapshot_download
        patch.setattr(huggingface_hub, "snapshot_download", self._checked(self.snapshot_download, real, method=False))
        return self

    def _checked(self, own: Callable[..., Any], real: Callable[..., Any], method: bool) -> Callable[..., Any]:
        signature = inspect.signature(real)

        def call(*args: Any, **options: Any) -> Any:
            bound = signature.bind(*args, **options).arguments
            if method:
                bound.pop("self")
            if not bound.get("local_files_only"):
                self.calls.append(own.__name__)
                if not self.online:
                    raise httpx.ConnectError("unreachable")
                if self.fails_with is not None:
                    raise self.fails_with
            return own(**bound)

        return call

    def commit(self, repo: str, files: dict[str, bytes], branch: str = "main") -> str:
        """Files on top of those of a branch."""
        here = self.branches.setdefault(repo, {})
        content = self.commits.get(here.get(branch, here.get("main", "")), {}) | files
        oid = hashlib.sha1(repr((repo, sorted(content.items()), len(self.commits))).encode()).hexdigest()
        self.commits[oid], here[branch] = content, oid
        return oid

    def files(self, repo: str, branch: str = "main") -> dict[str, bytes]:
        return self.commits[self.branches[repo][branch]]

    # The functions of the library

    def create_repo(self, repo_id: str, private: bool | None = None, exist_ok: bool = False) -> None:
        assert exist_ok
        if repo_id not in self.branches:
            self.private[repo_id] = private
            self.commit(repo_id, {".gitattributes": b""})

    def create_branch(self, repo_id: str, branch: str, exist_ok: bool = False) -> None:
        assert exist_ok
        self.branches[repo_id].setdefault(branch, self.branches[repo_id]["main"])

    def upload_folder(
        self,
        repo_id: str,
        folder_path: Path,
        allow_patterns: list[str],
        commit_message: str,
        revision: str | None = None,
    ) -> Any:
        found = {name: (folder_path / name).read_bytes() for name in allow_patterns}
        return SimpleNamespace(oid=self.commit(repo_id, found, revision or "main"), commit_message=commit_message)

    def model_info(
        self, repo_id: str, timeout: float, revision: str | None = None, files_metadata: bool = False
    ) -> Any:
        assert timeout <= 5
        content = self.commits[self._resolved(repo_id, revision)]
        siblings = [self._sibling(name, data) for name, data in content.items()]
        return SimpleNamespace(siblings=siblings if files_metadata else [RepoSibling(s.rfilename) for s in siblings])

    def _sibling(self, name: str, data: bytes) -> RepoSibling:
        size = self.sizes.get(name, len(data))
        blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        large = name.endswith((".safetensors", ".bin"))
        lfs = BlobLfsInfo(size=len(data), sha256=hashlib.sha256(data).hexdigest(), pointer_size=9) if large else None
        return RepoSibling(name, size, "0" * 40 if large else blob, lfs)

    def _resolved(self, repo: str, revision: str | None) -> str:
        if repo not in self.branches:
            raise refusal(errors.RepositoryNotFoundError)
        oid = self.branches[repo].get(revision or "main", revision)
        if oid not in self.commits:
            raise refusal(errors.RevisionNotFoundError)
        return str(oid)

    def snapshot_download(
        self,
        repo_id: str,
        revision: str | None = None,
        local_files_only: bool = False,
        allow_patterns: list[str] | None = None,
    ) -> str:
        home = self.cache / f"models--{repo_id.replace('/', '--')}"
        ref = home / "refs" / (revision or "main")
        if local_files_only:
            folder = home / "snapshots" / (ref.read_text() if ref.is_file() else str(revision))
            if not folder.is_dir():
                raise errors.LocalEntryNotFoundError("not in the cache")
            return str(folder)
        oid = self._resolved(repo_id, revision)
        ref.parent.mkdir(parents=True, exist_ok=True)
        ref.write_text(oid)
        folder = home / "snapshots" / oid
        folder.mkdir(parents=True, exist_ok=True)
        for number, name in enumerate(n for n in self.commits[oid] if n in (allow_patterns or [n])):
            if number == self.breaks_after:
                raise httpx.ReadError("the connection broke")
            if not (folder / name).exists():
                (folder / name).write_bytes(self.changed.get(name, self.commits[oid][name]))
        return str(folder)
