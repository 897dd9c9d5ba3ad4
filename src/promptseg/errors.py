"""The one exception a user sees, a single line that says what to do; and such a line for errors of the system."""

import errno
from collections.abc import Iterable


class PromptsegError(Exception):
    """A mistake the user can mend.

    The message is one line: the offending value, what was expected, what to do. The command line
    prints it without a traceback and exits with code 2.
    """


def unknown_name(kind: str, name: str, choices: Iterable[str]) -> PromptsegError:
    """The error for a name that is not registered: it lists what would have been accepted."""
    return PromptsegError(f"unknown {kind} {name!r}: choose one of {', '.join(sorted(choices))}")


_MEMORY = "give fewer or smaller images, or close other programs"
_PLACE = "choose a place you may read and write"
_MENDS = (
    (
        (errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
        ("no space left on device", "quota exceeded"),
        "free some space, or write elsewhere",
    ),
    ((errno.EROFS,), ("read-only file system",), "choose a place you may write"),
    ((errno.EACCES, errno.EPERM), ("permission denied",), _PLACE),
    ((errno.EMFILE, errno.ENFILE), ("too many open files",), "allow more open files (ulimit -n)"),
    ((errno.EAGAIN,), ("can't start new thread", "pthread_create"), "allow more processes (ulimit -u), or --threads 1"),
    ((errno.ENAMETOOLONG,), ("file name too long",), "give it a shorter name"),
    (
        (errno.ENOMEM,),
        ("allocate memory", "out of memory", "failed to map segment", "unable to mmap", "bad_alloc"),
        _MEMORY,
    ),
)
"""What the system runs short of or forbids: its numbers for that, words that libraries put into errors of their own,
and what to do."""


def system_error(error: BaseException) -> str | None:
    """The line for an error of the operating system, also where a library has made it its own; none for any other."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return f"out of memory: {_MEMORY}"
    text = " ".join(str(error).split())
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        mend = next((mend for numbers, _, mend in _MENDS if error.errno in numbers), None)
        return f"{where}{error.strerror or text}{f'; {mend}' if mend else ''}"
    if isinstance(error, RuntimeError | ImportError) or type(error).__name__ == "SafetensorError":
        mend = next((mend for _, words, mend in _MENDS if any(word in text.lower() for word in words)), None)
        return None if mend is None else f"{text[:200]}: {mend}"
    return None
