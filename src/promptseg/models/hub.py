"""Files of the model hub: from the hub's own cache, or downloaded to it."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from promptseg.errors import PromptsegError

HUB = "hub:"
"""What a spec begins with that names a repository of the hub."""
HUB_SECONDS = 5.0
"""How long the hub may take to answer at all."""
LARGEST = 100 * 10**9
"""Bytes that a repository's files may have together."""
_SMALL = (".json", ".txt")
_WEIGHTS = (".safetensors", ".bin")
"""Endings of weight files, the one preferred first."""


def hub_folder(repo: str) -> Path:
    """A folder with config, tokenizer and weights of a repository.

    Args:
        repo: OWNER/NAME, or OWNER/NAME@REVISION for a commit, tag or branch.

    Raises:
        PromptsegError: it is gated, unknown, too large, damaged, or cannot be fetched; the line says what to accept or
            where to put files.
    """
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    cached = cached_folder(repo)
    if cached is not None:
        return cached
    page = f"huggingface.co/{_parts(repo)[0]}"
    by_hand = "or put its config.json, model.safetensors and tokenizer.json into a folder and give that folder"
    try:
        return _download(repo)
    except PromptsegError:
        raise
    except GatedRepoError:
        raise PromptsegError(
            f"{repo}: its weights are gated: accept their licence at {page} and log in (hf auth login), {by_hand}"
        ) from None
    except RepositoryNotFoundError:
        raise PromptsegError(
            f"{repo}: the hub shows no such repository: check the name, log in (hf auth login) if it is private,"
            f" {by_hand}"
        ) from None
    except Exception as error:  # no network, a full disk: the user's way out is the same
        raise PromptsegError(
            f"{repo}: cannot be fetched ({type(error).__name__}): fetch it from {page} where there is a network,"
            f" {by_hand}"
        ) from None


def cached_folder(repo: str) -> Path | None:
    """The repository in the hub's cache, if config and weights are there."""
    from huggingface_hub import snapshot_download

    try:
        name, revision = _parts(repo)
        folder = Path(snapshot_download(name, revision=revision, local_files_only=True))
    except Exception:  # not there, or only in part
        return None
    has_weights = any(file.suffix in _WEIGHTS for file in folder.iterdir())
    return folder if has_weights and (folder / "config.json").is_file() else None


def _parts(repo: str) -> tuple[str, str | None]:
    name, _, revision = repo.partition("@")
    return name, revision or None


def _download(repo: str) -> Path:
    """Fetch what is read; the hub's library puts a file into its cache when all of it has come."""
    from huggingface_hub import HfApi, snapshot_download

    name, revision = _parts(repo)
    # Asked for once without retries, as the download itself tries for half a minute where there is no network.
    info: Any = HfApi().model_info(name, revision=revision, timeout=HUB_SECONDS, files_metadata=True)
    siblings = {sibling.rfilename: sibling for sibling in info.siblings or ()}
    wanted = wanted_files(list(siblings))
    size = sum(siblings[file].size or 0 for file in wanted)
    if size > LARGEST:
        raise PromptsegError(f"{repo}: its files have {size / 1e9:.0f} GB: fetch them by hand, and give their folder")
    folder = Path(snapshot_download(name, revision=revision, allow_patterns=wanted))
    for file in wanted:
        _check(folder / file, getattr(siblings[file].lfs, "sha256", None))
    return folder


def _check(path: Path, wanted: str | None) -> None:
    """Refuse a large file that is not the one that the hub describes, and remove it; small ones have no checksum."""
    if wanted is None:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != wanted:
        path.resolve().unlink()
        path.unlink(missing_ok=True)
        raise PromptsegError(f"{path}: its SHA-256 is {found[:12]}, the hub says {wanted[:12]}: fetch it again")


def wanted_files(names: Sequence[str]) -> list[str]:
    """Of the files of a repository those that are read: small ones, and the weights in one format."""
    top = [name for name in names if "/" not in name]
    found = ([name for name in top if name.endswith(ending)] for ending in _WEIGHTS)
    weights = next((files for files in found if files), [])
    return [name for name in top if name.endswith(_SMALL)] + weights


def hub_file(repo: str, file: str) -> Path:
    """A file of a repository; errors are those of the hub's own library."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache

    cached = try_to_load_from_cache(repo, file)
    if isinstance(cached, str):
        return Path(cached)
    # Asked for once without retries, as the download itself tries for half a minute where there is no network.
    get_hf_file_metadata(hf_hub_url(repo, file), timeout=HUB_SECONDS)
    return Path(hf_hub_download(repo, file))
