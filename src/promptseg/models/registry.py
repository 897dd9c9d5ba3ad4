"""Models by name, folder or repository: which there are, and `load_model`.

This module imports torch only when a model is loaded, so names can be listed at no cost.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from promptseg.errors import PromptsegError, unknown_name
from promptseg.files import read_json
from promptseg.models.entry import ModelEntry
from promptseg.models.hub import HUB, hub_folder
from promptseg.models.sam.names import ENTRIES as SAM_ENTRIES
from promptseg.models.sam.names import SamEntry
from promptseg.models.seem.names import ENTRIES as SEEM_ENTRIES
from promptseg.models.seem.names import SeemEntry
from promptseg.spec import Spec, read_spec

if TYPE_CHECKING:
    import torch

    from promptseg.models.base import PromptableSegmenter


def list_models() -> tuple[ModelEntry, ...]:
    """The models known by name."""
    return SEEM_ENTRIES + SAM_ENTRIES


def load_model(name_or_folder: str | Path, device: "str | torch.device | None" = None) -> "PromptableSegmenter":
    """Load a frozen segmenter.

    Args:
        name_or_folder: a name of `list_models`, a model folder, or `hub:ORGANISATION/NAME` of a model of the SAM
            family; these take options, such as `models/sam?text=models/clip&chunk=4` (see docs/sam.md).
        device: `cpu`, `cuda`, ...; None takes a GPU if there is one.

    Raises:
        PromptsegError: unknown name, option or device, weights that cannot be had, or a folder that is no model.
    """
    spec = read_spec(str(name_or_folder))
    entry = find_entry(spec.where)
    target = _checked_device(device)
    if isinstance(entry, SeemEntry):
        from promptseg.models.seem.loading import load_seem

        return load_seem(entry.folder, spec, target, entry)
    return _load_folder(spec, entry, target)


def find_entry(where: str) -> SeemEntry | SamEntry | None:
    """The entry of a name; None for a repository of the hub, or a folder that exists.

    Raises:
        PromptsegError: none of these.
    """
    entries: tuple[SeemEntry | SamEntry, ...] = SEEM_ENTRIES + SAM_ENTRIES
    entry = next((entry for entry in entries if entry.name == where), None)
    if entry is None and not where.startswith(HUB) and not Path(where).is_dir():
        if Path(where).is_file():
            raise PromptsegError(f"{where} is a file, expected a model folder: run promptseg models import {where}")
        raise unknown_name(
            "model", where, (*(entry.name for entry in entries), "a model folder", "hub:ORGANISATION/NAME")
        )
    return entry


def model_words(name_or_folder: str | Path) -> tuple[str, ...] | None:
    """The words that a model of few words knows (`words.txt` in its folder); None for one that reads any text."""
    where = read_spec(str(name_or_folder)).where
    folder = next((entry.folder for entry in SEEM_ENTRIES if entry.name == where), Path(where))
    file = folder / "words.txt"
    return tuple(file.read_text(encoding="utf-8").splitlines()) if file.is_file() else None


def _load_folder(spec: Spec, entry: SamEntry | None, device: "torch.device") -> "PromptableSegmenter":
    """Load what a folder holds, or a repository of the hub."""
    if entry is not None:
        folder = hub_folder(entry.repo)
    else:
        folder = hub_folder(spec.where.removeprefix(HUB)) if spec.where.startswith(HUB) else Path(spec.where)
    content = read_json(folder / "config.json")
    # Ours say what they are by `architecture`, those of transformers by `model_type`.
    if isinstance(content, dict) and "model_type" in content:
        from promptseg.models.sam.loading import load_sam

        return load_sam(folder, spec, device, entry.text if entry else None)
    from promptseg.models.seem.loading import load_seem

    return load_seem(folder, spec, device)


def _checked_device(device: "str | torch.device | None") -> "torch.device":
    import torch

    if device is None:
        # torchrun tells each of its processes which GPU is its own.
        own = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        return torch.device(own if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError):
        raise PromptsegError(
            f"device {str(device)!r} cannot be used here: choose cpu, or cuda on a machine with a GPU"
        ) from None
    return found
