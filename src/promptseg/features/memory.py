"""How much memory there is, how much a piece of work took, and how to keep what was freed."""

import ctypes
import sys
from pathlib import Path

import torch

_MEMINFO = Path("/proc/meminfo")
_GROUP = Path("/sys/fs/cgroup")
_UNKNOWN = 2 * 2**30
"""What is taken for free where the system does not tell."""

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
"""Numbers of glibc's malloc.h."""


def free_bytes(device: torch.device) -> int:
    """Memory that can be taken on a device without pushing anything out."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = dict(line.split(":") for line in _MEMINFO.read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return _UNKNOWN
    return min(free, _free_in_group(free))


def _free_in_group(otherwise: int) -> int:
    """What a container may still take."""
    try:
        most, used = ((_GROUP / f"memory.{name}").read_text().strip() for name in ("max", "current"))
        return otherwise if most == "max" else max(0, int(most) - int(used))
    except (OSError, ValueError):
        return otherwise


def keep_freed_memory() -> None:
    """Let this process keep memory that it frees, for its next tensors: fresh pages cost more than a pass over them.

    Does nothing where the C library is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for name, value in ((_M_MMAP_THRESHOLD, 2**30), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 2**26)):
            mallopt(name, value)


_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"
"""What Linux takes as the order to forget the peak so far (proc_pid_clear_refs)."""


class PeakMemory:
    """The largest memory since it was made: tensors on a GPU; on a CPU the whole process, model included."""

    def __init__(self, device: torch.device) -> None:
        """Start to measure work on `device`."""
        self._device = device
        self._works = True
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        else:
            self._works = _forget_peak()

    def read(self) -> int | None:
        """Bytes; none where the system does not tell."""
        if not self._works:
            return None
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device)
        lines = [line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:")]
        return int(lines[0].split()[1]) * 1024 if lines else None


def _forget_peak() -> bool:
    try:
        _RESET.write_text(_RESET_PEAK)
    except OSError:
        return False
    return True
