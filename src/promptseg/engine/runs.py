"""The files of a run: a checkpoint while it goes on; `prompts/` and `run.json` when it is finished."""

import platform
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from promptseg.errors import PromptsegError
from promptseg.files import read_json, write_json
from promptseg.prompts import Prompts

CHECKPOINT = "checkpoint.safetensors"
PROMPTS = "prompts"
RECORD = "run.json"


@dataclass(frozen=True)
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
    def record(self) -> dict[str, Any]:
        """Method, settings, data and draw of the run."""
        return self.prompts.record

    def save(self, out: Path) -> "Run":
        """Write the run; its record comes last, so a folder with a record is complete."""
        self.prompts.save(out / PROMPTS)
        numbers = {"seconds": self.seconds, "parameters": self.parameters, "losses": self.losses}
        content = {"record": self.record, "environment": environment(), **numbers}
        write_json(out / RECORD, content)
        return replace(self, out=out)


def environment() -> dict[str, Any]:
    """What a measured time depends on beside the code."""
    return {"torch": torch.__version__, "threads": torch.get_num_threads(), "machine": platform.machine()}


def load_run(out: Path) -> Run:
    """Read a finished run.

    Raises:
        PromptsegError: a file is missing or malformed.
    """
    content = read_json(out / RECORD)
    if not isinstance(content, dict) or not {"losses", "seconds", "parameters"} <= set(content):
        raise PromptsegError(f"{out / RECORD}: not the record of a run; delete it to start anew")
    losses, seconds, parameters = list(content["losses"]), float(content["seconds"]), int(content["parameters"])
    return Run(Prompts.load(out / PROMPTS), losses, seconds, parameters, out)


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
