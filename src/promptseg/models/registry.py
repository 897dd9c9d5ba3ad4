"""Models by name: which there are, where their weights come from, and `load_model`.

This module imports torch only when a model is loaded, so names can be listed at no cost.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from promptseg.errors import PromptsegError, unknown_name
from promptseg.models.seem.names import ENTRIES, NANO_FOLDER, ModelEntry

__all__ = ["NANO_FOLDER", "ModelEntry", "find_entry", "list_models", "load_model"]

if TYPE_CHECKING:
    import torch

    from promptseg.models.base import PromptableSegmenter

_TOKENIZER_REPO = "openai/clip-vit-base-patch32"
_HUB_SECONDS = 5.0


def list_models() -> tuple[ModelEntry, ...]:
    """The models known by name."""
    return ENTRIES


def load_model(name_or_folder: str | Path, device: "str | torch.device | None" = None) -> "PromptableSegmenter":
    """Load a frozen segmenter.

    Args:
        name_or_folder: a name of `list_models`, or a model folder.
        device: `cpu`, `cuda`, ...; None takes a GPU if there is one.

    Raises:
        PromptsegError: unknown name or device, weights that cannot be had, or a folder that is no model.
    """
    where = str(name_or_folder)
    entry = find_entry(where)
    target = _checked_device(device)
    if entry is not None and not entry.available:
        _fetch(entry)
    return _load_folder(Path(where) if entry is None else entry.folder, where, target)


def find_entry(where: str) -> ModelEntry | None:
    """The entry of a name; None for a folder that exists.

    Raises:
        PromptsegError: neither a name nor a folder.
    """
    entry = next((entry for entry in ENTRIES if entry.name == where), None)
    if entry is None and not Path(where).is_dir():
        if Path(where).is_file():
            raise PromptsegError(f"{where} is a file, expected a model folder: run promptseg models import {where}")
        raise unknown_name("model", where, (*(entry.name for entry in ENTRIES), "a model folder"))
    return entry


def _load_folder(folder: Path, model_id: str, device: "torch.device") -> "PromptableSegmenter":
    from promptseg.models.seem.checkpoint import find_tokenizer, load_model_folder
    from promptseg.models.seem.segmenter import SeemSegmenter

    network, config = load_model_folder(folder)
    return SeemSegmenter(network.to(device), find_tokenizer(folder, config), model_id)


def _checked_device(device: "str | torch.device | None") -> "torch.device":
    import torch

    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError):
        raise PromptsegError(
            f"device {str(device)!r} cannot be used here: choose cpu, or cuda on a machine with a GPU"
        ) from None
    return found


def _fetch(entry: ModelEntry) -> None:
    """Download the official checkpoint and its tokenizer, and write them as a model folder."""
    from promptseg.models.seem.importing import import_checkpoint

    if entry.hub is None:
        raise PromptsegError(
            f"{entry.name}: no public file of it is known; if you have one, run: promptseg models import"
            f" YOUR_FILE --config {entry.name} --tokenizer tokenizer.json --out {entry.folder}"
        )
    repo, file = entry.hub
    try:
        checkpoint, tokenizer = _hub_file(repo, file), _hub_file(_TOKENIZER_REPO, "tokenizer.json")
    except Exception as error:  # no network, no such file, a full disk: the user's way out is the same
        raise PromptsegError(
            f"{entry.name}: its weights cannot be fetched ({type(error).__name__}); get {file} of {repo} and"
            f" tokenizer.json of {_TOKENIZER_REPO} from the model hub, then run: promptseg models import {file}"
            f" --config {entry.name} --tokenizer tokenizer.json --out {entry.folder}"
        ) from None
    import_checkpoint(checkpoint, entry.name, entry.folder, tokenizer)


def _hub_file(repo: str, file: str) -> Path:
    """A file of the model hub, from the hub's own cache or downloaded to it."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache

    cached = try_to_load_from_cache(repo, file)
    if isinstance(cached, str):
        return Path(cached)
    # Asked for once without retries, as the download itself tries for half a minute where there is no network.
    get_hf_file_metadata(hf_hub_url(repo, file), timeout=_HUB_SECONDS)
    return Path(hf_hub_download(repo, file))
