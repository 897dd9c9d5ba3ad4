"""Writing files so that a reader sees the old file or the finished new one, never half of one."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from promptseg.errors import PromptsegError


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; it takes the place of `path` when the block succeeds.

    The temporary name keeps the suffix of `path`, as some writers choose the format by it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


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


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
