"""SEEM and X-Decoder models from their folders, fetched first where a published file is to be had."""

from pathlib import Path

import torch

from promptseg.errors import PromptsegError
from promptseg.models.base import UNKNOWN_LICENCE
from promptseg.models.hub import hub_file
from promptseg.models.seem.files.importing import import_checkpoint
from promptseg.models.seem.files.model_folder import find_tokenizer, load_model_folder
from promptseg.models.seem.names import SeemEntry
from promptseg.models.seem.segmenter import SeemSegmenter
from promptseg.spec import Spec

_TOKENIZER_REPO = "openai/clip-vit-base-patch32"


def load_seem(folder: Path, spec: Spec, device: torch.device, entry: SeemEntry | None = None) -> SeemSegmenter:
    """The model in a folder; one with an `entry` is fetched to it first if it is not there.

    Raises:
        PromptsegError: options in the spec, weights that cannot be had, or a folder that is no model.
    """
    spec.check_options(())
    if entry is not None and not entry.available:
        _fetch(entry)
    network, config = load_model_folder(folder)
    licence = entry.licence if entry else UNKNOWN_LICENCE
    return SeemSegmenter(network.to(device), find_tokenizer(folder, config), spec.text, licence)


def _fetch(entry: SeemEntry) -> None:
    """Download the official checkpoint and its tokenizer, and write them as a model folder."""
    if entry.hub is None:
        raise PromptsegError(
            f"{entry.name}: no public file of it is known; if you have one, run: promptseg models import"
            f" YOUR_FILE --config {entry.name} --tokenizer tokenizer.json --out {entry.folder}"
        )
    repo, file = entry.hub
    try:
        checkpoint, tokenizer = hub_file(repo, file), hub_file(_TOKENIZER_REPO, "tokenizer.json")
    except Exception as error:  # no network, no such file, a full disk: the user's way out is the same
        raise PromptsegError(
            f"{entry.name}: its weights cannot be fetched ({type(error).__name__}); get {file} of {repo} and"
            f" tokenizer.json of {_TOKENIZER_REPO} from the model hub, then run: promptseg models import {file}"
            f" --config {entry.name} --tokenizer tokenizer.json --out {entry.folder}"
        ) from None
    import_checkpoint(checkpoint, entry.name, entry.folder, tokenizer)
