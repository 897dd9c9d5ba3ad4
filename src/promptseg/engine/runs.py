"""The files of a run: a checkpoint while it goes on; `prompts/` and `run.json` when it is finished."""

import json
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from promptseg.errors import PromptsegError
from promptseg.files import locked, read_json, write_json
from promptseg.prompts import Prompts
from promptseg.record import FitRecord, Setting
from promptseg.tensor_files import read_safetensors, write_safetensors
from promptseg.typed_json import from_json, to_json

CHECKPOINT = "checkpoint.safetensors"
PROMPTS = "prompts"
RECORD = "run.json"
_LOCK = ".lock"
_HEADER = "promptseg"
"""The key of a checkpoint's header in the metadata of its file."""


@dataclass(frozen=True, eq=False)
class Run:
    """A finished fit.

    Attributes:
        prompts: what was learned, on the CPU.
        losses: the training loss of every step.
        seconds: spent in training steps, without encoding the images; those before an interruption included.
        parameters: how many numbers were trained.
        out: folder of the run, or none if it was not kept.
    """

    prompts: Prompts
    losses: list[float]
    seconds: float
    parameters: int
    out: Path | None

    @property
    def record(self) -> FitRecord:
        """Method, settings, data and draw of the run."""
        assert self.prompts.record is not None, "a run has a record"
        return self.prompts.record

    def save(self, out: Path) -> "Run":
        """Write the run; its record comes last, so a folder with a record is complete."""
        self.prompts.save(out / PROMPTS)
        content = _RunFile(self.record, environment(), self.seconds, self.parameters, tuple(self.losses))
        write_json(out / RECORD, to_json(content))
        return replace(self, out=out)


@dataclass(frozen=True)
class _RunFile:
    """`run.json`."""

    record: FitRecord
    environment: Mapping[str, Setting]
    seconds: float
    parameters: int
    losses: tuple[float, ...]


def environment() -> dict[str, Any]:
    """What a measured time depends on beside the code."""
    return {"torch": torch.__version__, "threads": torch.get_num_threads(), "machine": platform.machine()}


def load_run(out: Path) -> Run:
    """Read a finished run.

    Raises:
        PromptsegError: a file is missing or malformed.
    """
    file = from_json(_RunFile, read_json(out / RECORD), str(out / RECORD))
    prompts = Prompts.load(out / PROMPTS)
    if prompts.record != file.record:
        raise PromptsegError(f"{out}: {RECORD} and {PROMPTS} have different records: delete the folder, and fit again")
    return Run(prompts, list(file.losses), file.seconds, file.parameters, out)


def load_prompts(folder: Path) -> Prompts:
    """Read prompts, given the folder of a run or their own.

    Raises:
        PromptsegError: there are none.
    """
    return Prompts.load(folder / PROMPTS if (folder / PROMPTS).is_dir() else folder)


@contextmanager
def run_folder(out: Path | None) -> Iterator[None]:
    """Keep other processes out of the folder of a run; none = nothing to keep them out of.

    Raises:
        InUseError: another process fits there.
    """
    if out is None:
        yield
    else:
        with locked(out / _LOCK, f"{out}: the folder"):
            yield


def check_free(out: Path) -> None:
    """Refuse a folder that already holds a run, finished or not.

    Raises:
        PromptsegError: it does.
    """
    if (out / RECORD).exists():
        raise PromptsegError(f"{out}: holds a finished run; choose another folder, delete it, or resume to reuse it")
    if (out / CHECKPOINT).exists():
        raise PromptsegError(
            f"{out}: holds an unfinished run; resume it (--resume), delete it, or choose another folder"
        )


def check_record(found: Any, wanted: dict[str, Any], where: Path) -> None:
    """Refuse to go on with a run of other settings.

    Raises:
        PromptsegError: a field of the two records differs.
    """
    for key, value in wanted.items():
        if not isinstance(found, dict) or found.get(key) != value:
            raise PromptsegError(f"{where}: belongs to a run with other {key}; choose another folder or delete it")


def save_checkpoint(path: Path, module: nn.Module, optimizer: torch.optim.Optimizer, header: dict[str, Any]) -> None:
    """Write the whole state atomically; `header` holds whatever else is needed to go on (step, settings)."""
    tensors = {f"module.{name}": tensor for name, tensor in module.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": torch.as_tensor(value) for name, value in state.items()}
    tensors = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
    write_safetensors(path, tensors, {_HEADER: json.dumps(header)})


def read_header(path: Path) -> dict[str, Any]:
    """The header of a checkpoint.

    Raises:
        PromptsegError: the file is not a checkpoint.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header: dict[str, Any] = json.loads((file.metadata() or {})[_HEADER])
    except (OSError, SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise PromptsegError(f"{path}: not a readable checkpoint ({error}); delete it to start anew") from None
    return header


def load_checkpoint(path: Path, module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Put the saved state into `module` and `optimizer`, built as they were; returns the header.

    Raises:
        PromptsegError: the file is not a checkpoint of such a module and optimiser.
    """
    header = read_header(path)
    tensors = read_safetensors(path)
    try:
        module.load_state_dict(_part(tensors, "module."))
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise PromptsegError(f"{path}: belongs to another run ({reason}); delete it to start anew") from None
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _part(tensors, "optimizer.").items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    return header


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
