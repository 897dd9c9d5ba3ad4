"""Writing files so that a reader sees the old file or the finished new one, never half of one; and locks."""

import hashlib
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from promptseg.errors import PromptsegError

TEMPORARY = ".tmp-promptseg-"
"""What the names of temporary files begin with; machine and process of the writer follow."""
_MACHINE = hashlib.sha256(platform.node().encode()).hexdigest()[:8]
_DAY = 24 * 3600.0


class InUseError(PromptsegError):
    """Another process works there."""


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; it takes the place of `path` when the block succeeds.

    The temporary name keeps the suffix of `path`, as some writers choose the format by it. What writers that were
    killed have left in the folder is removed.
    """
    handle, name = tempfile.mkstemp(dir=_swept(path.parent), prefix=_prefix(), suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        if error.filename in (None, name, temporary):  # a write that fails knows no name
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside `path`; it becomes `path` when the block succeeds, and is removed if it does not.

    Args:
        path: is not there, or an empty folder.
    """
    temporary = Path(tempfile.mkdtemp(dir=_swept(path.parent), prefix=_prefix()))
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        if path.exists():
            path.rmdir()
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove the temporary files and folders in a folder whose writers are dead."""
    for path in folder.glob(f"{TEMPORARY}*"):
        with suppress(OSError):  # someone else's, or swept by another process
            if _is_left_over(path):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def _prefix() -> str:
    return f"{TEMPORARY}{_MACHINE}-{os.getpid()}-"


def _swept(folder: Path) -> Path:
    """The folder, there and without what killed writers left."""
    folder.mkdir(parents=True, exist_ok=True)
    _sweep_once(folder)
    return folder


@cache
def _sweep_once(folder: Path) -> None:
    """Once in a process, or writing many files into one folder would take longer with each."""
    sweep(folder)


def _is_left_over(path: Path) -> bool:
    """Whether the writer is dead; of another machine's writer only the age of the file tells."""
    machine, _, rest = path.name.removeprefix(TEMPORARY).partition("-")
    process = rest.partition("-")[0]
    if machine == _MACHINE and process.isdecimal() and os.name == "posix":
        try:
            os.kill(int(process), 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
    return time.time() - path.stat().st_mtime > _DAY


@contextmanager
def locked(path: Path, what: str, seconds: float = 0) -> Iterator[None]:
    """Hold a lock file against all other threads and processes, and remove it; a dead process holds none.

    Args:
        path: of the file.
        what: what is locked, for the message.
        seconds: how long to wait for another holder.

    Raises:
        InUseError: it is held by another for all that time.
    """
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    # A lock of its own for every holder: one object would let all threads of this process in.
    lock = FileLock(path, timeout=seconds)
    try:
        lock.acquire()
    except Timeout:
        raise InUseError(f"{what} is in use by another process: wait for it, or choose another folder") from None
    try:
        yield
    finally:
        with suppress(OSError):  # who waits for the removed file notices, and makes a new one
            path.unlink()
        lock.release()


def cache_folder() -> Path:
    """Where what can be made or fetched again is kept: $PROMPTSEG_CACHE, by default ~/.cache/promptseg."""
    chosen = os.environ.get("PROMPTSEG_CACHE")
    return Path(chosen) if chosen else Path.home() / ".cache" / "promptseg"


def write_text(path: Path, text: str) -> None:
    r"""Write UTF-8 text atomically.

    The bytes of a file name that is not UTF-8, which Python has as lone surrogates, are written as `\udc80` to
    `\udcff`: in JSON, that reads back as the same name.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, content: Any) -> None:
    """Write indented JSON atomically, keys in the given order."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        PromptsegError: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise PromptsegError(f"{path}: no such file") from None
    except (ValueError, RecursionError) as error:  # broken text, a number of 5,000 digits, or too deep
        reason = "too deep" if isinstance(error, RecursionError) else " ".join(str(error).split())
        raise PromptsegError(f"{path}: not valid JSON ({reason})") from None
    except OSError as error:
        raise PromptsegError(f"{path}: cannot be read ({error.strerror})") from None


def file_digest(path: Path) -> str:
    """SHA-256 of what a file holds.

    Raises:
        PromptsegError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise PromptsegError(f"{path}: cannot be read ({error.strerror})") from None


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
