"""Files of the model hub: from the hub's own cache, or fetched to it and checked; and folders that go there.

Everything that is read from the hub, models, single files and prompts, comes by `fetch`: one commit, of a bounded size,
each file compared with the hash that the hub states for it.
"""

import hashlib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from promptseg.errors import PromptsegError

HUB = "hub:"
"""What a spec begins with that names a repository of the hub."""
HUB_SECONDS = 5.0
"""How long the hub may take to answer at all."""
LARGEST = 100 * 10**9
"""Bytes that the files of a model may have together."""
_COMMIT = re.compile(r"[0-9a-f]{40}")
_REPO = re.compile(r"[\w.-]+/[\w.-]+")
_LOGIN = "log in with a token that may write (hf auth login)"


@dataclass(frozen=True)
class Wanted:
    """What is read of a repository: files at its top, by patterns such as `*.json`.

    Attributes:
        needed: alternatives, best first, each of patterns that a file must match; the first that is whole is read.
        others: patterns of files that are read beside them where there are any.
        by_hand: the user's way round the hub, in words.
        largest: bytes that the files may have together.
        fresh: whether the hub is asked for a newer commit of a branch before its cache is used.
    """

    needed: tuple[tuple[str, ...], ...]
    by_hand: str
    others: tuple[str, ...] = ()
    largest: int = LARGEST
    fresh: bool = False

    def choose(self, names: Sequence[str]) -> list[str]:
        """Of the names of a repository's files those that are read; none where it is of another kind."""
        top = [name for name in names if "/" not in name]
        for patterns in self.needed:
            if self.lacking(top, patterns) is None:
                return [name for name in top if any(fnmatchcase(name, p) for p in (*patterns, *self.others))]
        return []

    def lacking(self, names: Collection[str], patterns: Sequence[str]) -> str | None:
        """The first pattern that none of the names matches."""
        return next((p for p in patterns if not any(fnmatchcase(name, p) for name in names)), None)


def hub_folder(repo: str) -> Path:
    """A folder with config, tokenizer and weights of a repository.

    Args:
        repo: OWNER/NAME, or OWNER/NAME@REVISION for a commit, tag or branch.

    Raises:
        PromptsegError: as `fetch`.
    """
    return fetch(repo, MODEL)


def cached_folder(repo: str) -> Path | None:
    """The model of a repository in the hub's cache, if config and weights are there."""
    return _cached(repo, MODEL)


def hub_file(repo: str, file: str, by_hand: str) -> Path:
    """A single file of a repository; arguments and errors are those of `fetch`."""
    return fetch(repo, Wanted(((file,),), by_hand)) / file


def fetch(repo: str, wanted: Wanted) -> Path:
    """The folder of a repository's files, from the hub's cache or fetched to it.

    Args:
        repo: OWNER/NAME, or OWNER/NAME@REVISION for a commit, tag or branch.
        wanted: what is read of it.

    Raises:
        PromptsegError: it is gated, unknown, too large, damaged, of another kind, or cannot be fetched; the line says
            what to accept or where to put files.
    """
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    name, revision = _parts(repo)
    cached = _cached(repo, wanted)
    if cached is not None and (not wanted.fresh or _COMMIT.fullmatch(revision or "")):
        return cached
    page, by_hand = f"huggingface.co/{name}", wanted.by_hand
    try:
        return _download(repo, wanted)
    except PromptsegError:
        raise
    except GatedRepoError:
        reason = f"its files are gated: accept their licence at {page} and log in (hf auth login), {by_hand}"
    except RepositoryNotFoundError:
        reason = "the hub shows no such repository: check the name, log in (hf auth login) if it is private,"
        reason += f" {by_hand}"
    except RevisionNotFoundError:
        reason = f"it has no revision {revision!r}: see {page}/commits/main, {by_hand}"
    except Exception as error:  # no network, a full disk: the user's way out is the same
        if cached is not None:
            return cached
        reason = f"cannot be fetched ({type(error).__name__}): fetch it from {page} where there is a network,"
        reason += f" {by_hand}"
    raise PromptsegError(f"{repo}: {reason}")


def _cached(repo: str, wanted: Wanted) -> Path | None:
    """The folder in the hub's cache if all that is wanted is there, of the files that the cache knows of."""
    from huggingface_hub import snapshot_download

    name, revision = _parts(repo)
    for patterns in wanted.needed:
        files = [*patterns, *wanted.others]
        try:
            there = snapshot_download(
                name, revision=revision, local_files_only=True, allow_patterns=files, ignore_patterns=["*/*"]
            )
            folder = Path(there)
            if wanted.lacking([file.name for file in folder.iterdir() if file.is_file()], patterns) is None:
                return folder
        except Exception:  # not there, or only in part
            continue
    return None


def _parts(repo: str) -> tuple[str, str | None]:
    name, _, revision = repo.removeprefix(HUB).partition("@")
    if not _REPO.fullmatch(name):
        raise PromptsegError(f"{repo!r} is no repository: write ORGANISATION/NAME, or ORGANISATION/NAME@REVISION")
    return name, revision or None


def _download(repo: str, wanted: Wanted) -> Path:
    """Fetch what is read; the hub's library puts a file into its cache when all of it has come."""
    from huggingface_hub import HfApi, snapshot_download

    name, revision = _parts(repo)
    # Asked for once without retries, as the download itself tries for half a minute where there is no network.
    info: Any = HfApi().model_info(name, revision=revision, timeout=HUB_SECONDS, files_metadata=True)
    siblings = {sibling.rfilename: sibling for sibling in info.siblings or ()}
    files = wanted.choose(list(siblings))
    if not files:
        lacking = wanted.lacking(list(siblings), wanted.needed[0])
        raise PromptsegError(f"{repo}: has no {lacking}: check the name, {wanted.by_hand}")
    unknown = next((file for file in files if siblings[file].size is None), None)
    if unknown is not None:
        raise PromptsegError(f"{repo}: the hub does not say how large {unknown} is, {wanted.by_hand}")
    size = sum(siblings[file].size for file in files)
    if size > wanted.largest:
        raise PromptsegError(f"{repo}: its files have {size / 1e9:.1f} GB, more than is fetched, {wanted.by_hand}")
    folder = Path(snapshot_download(name, revision=revision, allow_patterns=files))
    for file in files:
        _check(folder / file, siblings[file])
    return folder


def _check(path: Path, stated: Any) -> None:
    """Refuse a file that is not the one that the hub describes, and remove it.

    Large files are known by their SHA-256, small ones by the id that Git gives them.
    """
    large: str | None = getattr(stated.lfs, "sha256", None)
    digest: str | None = large or getattr(stated, "blob_id", None)
    if digest is None:
        return
    kind, start = ("SHA-256", b"") if large else ("Git id", b"blob %d\0" % path.stat().st_size)
    with path.open("rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.new("sha256" if large else "sha1", start)).hexdigest()
    if found != digest:
        path.resolve().unlink()
        path.unlink(missing_ok=True)
        raise PromptsegError(f"{path}: its {kind} is {found[:12]}, the hub says {digest[:12]}: fetch it again")


MODEL = Wanted(
    (("config.json", "*.safetensors"), ("config.json", "*.bin")),
    "or put its config.json, model.safetensors and tokenizer.json into a folder and give that folder",
    ("*.json", "*.txt"),
)
"""Of the repository of a model: configuration, tokenizer, and the weights in one form."""


def push_folder(folder: Path, repo: str, files: Sequence[str], message: str, private: bool | None) -> str:
    """Upload files of a folder to a repository in one commit; returns its spec, pinned to that commit.

    The repository is made if it is not there. One that holds none of the files, but others, is left alone.

    Args:
        folder: where the files are.
        repo: OWNER/NAME, or OWNER/NAME@BRANCH.
        files: names of the files; the first is known to be in every such repository.
        message: of the commit.
        private: whether a new repository is private; None leaves that to the organisation.

    Raises:
        PromptsegError: it holds something else, nobody is logged in or may write there, or the hub cannot be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    name, branch = _parts(repo)
    api: Any = HfApi()
    try:
        _check_own(api, name, files[0])
        api.create_repo(name, private=private, exist_ok=True)
        if branch is not None:
            api.create_branch(name, branch=branch, exist_ok=True)
        done = api.upload_folder(
            repo_id=name, folder_path=folder, commit_message=message, revision=branch, allow_patterns=list(files)
        )
    except PromptsegError:
        raise
    except LocalTokenNotFoundError:
        raise PromptsegError(f"{repo}: cannot be pushed, as nobody is logged in: {_LOGIN}") from None
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", "no")
        raise PromptsegError(f"{repo}: the hub refuses (status {status}): check the name, and {_LOGIN}") from None
    except Exception as error:  # no network, a timeout: the user's way out is the same
        reason = f"cannot be pushed ({type(error).__name__})"
        raise PromptsegError(f"{repo}: {reason}: try again where there is a network; nothing was changed") from None
    return f"{HUB}{name}@{done.oid}"


def _check_own(api: Any, name: str, mark: str) -> None:
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        info = api.model_info(name, timeout=HUB_SECONDS)
    except RepositoryNotFoundError:
        return
    there = {sibling.rfilename for sibling in info.siblings or ()} - {".gitattributes"}
    if there and mark not in there:
        listed = ", ".join(sorted(there)[:4])
        raise PromptsegError(f"{name}: holds {listed}, but no {mark}: choose a repository of its own")
