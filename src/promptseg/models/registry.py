"""Models by name: which there are, where their weights come from, and `load_model`.

This module imports torch only when a model is loaded, so names can be listed at no cost.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from promptseg.errors import PromptsegError, unknown_name
from promptseg.files import cache_folder

if TYPE_CHECKING:
    import torch

    from promptseg.models.base import PromptableSegmenter

NANO_FOLDER = Path(__file__).parent / "seem" / "weights" / "seem-nano"
"""The model that comes with the package."""
_OFFICIAL_LICENCE = "code Apache-2.0, no licence stated for the weights"
_TOKENIZER_REPO = "openai/clip-vit-base-patch32"
_HUB_SECONDS = 5.0
_COMPLETE = "model.safetensors"
"""The file a model folder is finished with."""


@dataclass(frozen=True)
class ModelEntry:
    """One model that can be loaded by name.

    Attributes:
        name: what `load_model` takes.
        parameters: number of weights.
        licence: of the weights, as far as it is known.
        hub: repository and file of the official checkpoint; None for a model inside the package.
    """

    name: str
    parameters: int
    licence: str
    hub: tuple[str, str] | None = None

    @property
    def folder(self) -> Path:
        """Where the weights are, or will be."""
        return NANO_FOLDER if self.hub is None else cache_folder() / "models" / self.name

    @property
    def available(self) -> bool:
        """Whether the weights are on this machine."""
        return (self.folder / _COMPLETE).is_file()

    @property
    def about(self) -> str:
        """One line for `promptseg models list`."""
        place = "with the package" if self.hub is None else f"in {self.folder}"
        if not self.available:
            place = f"not here yet, {self.hub[1]} of {self.hub[0]}" if self.hub else "missing from the package"
        return f"{self.parameters / 1e6:.1f} M parameters; {place}; {self.licence}"


_ENTRIES = (
    ModelEntry("seem-nano", 5_683_045, "Apache-2.0"),
    ModelEntry("seem-focal-t-v1", 164_619_249, _OFFICIAL_LICENCE, ("xdecoder/SEEM", "seem_focalt_v1.pt")),
    ModelEntry("seem-focal-l-v1", 341_181_177, _OFFICIAL_LICENCE, ("xdecoder/SEEM", "seem_focall_v1.pt")),
)


def list_models() -> tuple[ModelEntry, ...]:
    """The models known by name."""
    return _ENTRIES


def load_model(name_or_folder: str | Path, device: "str | torch.device | None" = None) -> "PromptableSegmenter":
    """Load a frozen segmenter.

    Args:
        name_or_folder: a name of `list_models`, or a model folder.
        device: `cpu`, `cuda`, ...; None takes a GPU if there is one.

    Raises:
        PromptsegError: unknown name or device, weights that cannot be had, or a folder that is no model.
    """
    where = str(name_or_folder)
    entry = next((entry for entry in _ENTRIES if entry.name == where), None)
    if entry is None and not Path(where).is_dir():
        if Path(where).is_file():
            raise PromptsegError(f"{where} is a file, expected a model folder: run promptseg models import {where}")
        raise unknown_name("model", where, (*(entry.name for entry in _ENTRIES), "a model folder"))
    target = _checked_device(device)
    if entry is not None and entry.hub is not None and not entry.available:
        _fetch(entry, *entry.hub)
    return _load_folder(Path(where) if entry is None else entry.folder, where, target)


def model_words(name_or_folder: str | Path) -> tuple[str, ...] | None:
    """The words that a model of few words knows (`words.txt` in its folder); None for one that reads any text."""
    where = str(name_or_folder)
    folder = next((entry.folder for entry in _ENTRIES if entry.name == where), Path(where))
    file = folder / "words.txt"
    return tuple(file.read_text(encoding="utf-8").splitlines()) if file.is_file() else None


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


def _fetch(entry: ModelEntry, repo: str, file: str) -> None:
    """Download the official checkpoint and its tokenizer, and write them as a model folder."""
    from promptseg.models.seem.checkpoint import import_checkpoint

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
