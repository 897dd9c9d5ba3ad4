"""How much memory a piece of work needed."""

from pathlib import Path

import torch

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
