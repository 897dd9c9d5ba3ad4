"""From folders of the library's own form to segmenters."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from promptseg.errors import PromptsegError, unknown_name
from promptseg.extras import import_extra
from promptseg.files import read_json
from promptseg.models.hub import HUB, hub_folder
from promptseg.models.sam.names import APACHE, CLASSES, SAM_LICENCE
from promptseg.models.sam.points import PointSam, Sam, Sam2
from promptseg.models.sam.sam3 import Sam3
from promptseg.models.sam.text import ClipText, StoredText, TextSource
from promptseg.models.tokenizer import Tokenizer
from promptseg.spec import Spec

TEXT_CLASS = "CLIPTextModelWithProjection"
TOKENIZER = "tokenizer.json"
OWN_TEXT = "text"
"""A text source inside the model's folder: the folder is whole then."""
CHUNK, CHUNK3, KEEP = 8, 1, 5
"""Classes decoded at once by SAM and SAM 2, and by SAM 3; queries of a class that SAM 3 keeps. See docs/sam.md."""

Segmenter = PointSam | Sam3


def load_sam(folder: Path, spec: Spec, device: torch.device, text: str | None = None) -> Segmenter:
    """Load a SAM, SAM 2 or SAM 3.

    Args:
        folder: `config.json` and weights as the library writes them; for SAM 3 also `tokenizer.json`.
        spec: where the folder comes from, with the options `text` and `chunk`, for SAM 3 `chunk` and `keep`.
        device: where to put the weights.
        text: spec of the text source if neither the options name one nor the folder has its own.

    Raises:
        PromptsegError: a folder that is no such model, an unknown option, or a text source that cannot be read.
    """
    kind = read_json(folder / "config.json").get("model_type")
    if kind not in CLASSES:
        raise unknown_name(f"model_type in {folder / 'config.json'}:", str(kind), CLASSES)
    if CLASSES[kind] == "Sam3Model":
        return _load_sam3(folder, spec, device)
    spec.check_options(("text", "chunk"))
    own = str(folder / OWN_TEXT) if (folder / OWN_TEXT).is_dir() else text
    chunk, source = spec.count("chunk", CHUNK), spec.options.get("text", own)
    network = load_network(CLASSES[kind], folder).to(device)
    words = None if source is None else load_text(source, device)
    build = Sam if kind == "sam" else Sam2
    return build(network, spec.text, network.config.prompt_encoder_config.image_size, chunk, APACHE, words)


def _load_sam3(folder: Path, spec: Spec, device: torch.device) -> Sam3:
    spec.check_options(("chunk", "keep"))
    chunk, keep = spec.count("chunk", CHUNK3), spec.count("keep", KEEP)
    tokenizer = Tokenizer.from_file(folder / TOKENIZER)
    network = load_network("Sam3Model", folder).to(device)
    return Sam3(network, spec.text, network.config.image_size, chunk, SAM_LICENCE, tokenizer, keep)


def load_text(where: str, device: torch.device) -> TextSource:
    """A text source: a CLIP folder, `hub:ORGANISATION/NAME` of one, or a `.safetensors` file of class embeddings.

    Raises:
        PromptsegError: it is none of them, or cannot be read.
    """
    path = Path(where)
    if path.suffix == ".safetensors":
        return StoredText(path, device)
    folder = hub_folder(where.removeprefix(HUB)) if where.startswith(HUB) else path
    if not folder.is_dir():
        raise PromptsegError(
            f"text={where}: no such folder; give a CLIP folder, hub:ORGANISATION/NAME, or a .safetensors file"
        )
    tokenizer = Tokenizer.from_file(folder / TOKENIZER)
    return ClipText(load_network(TEXT_CLASS, folder).to(device), tokenizer, where)


def load_network(name: str, folder: Path) -> Any:
    """A network of the library in float32, on the CPU, with every weight from the folder.

    Raises:
        PromptsegError: the library is not installed, the folder lacks weights, or they do not fit its config.
    """
    kind = getattr(import_extra("transformers", "sam", "SAM"), name)
    try:
        with _quiet():
            # Pickles are read as plain tensors only, as is the library's own rule.
            network, found = kind.from_pretrained(
                folder, local_files_only=True, dtype=torch.float32, output_loading_info=True
            )
    except Exception as error:  # the library raises a dozen types here
        line = " ".join(str(error).split())[:200]
        raise PromptsegError(f"{folder}: cannot be read as {name} ({line}): fetch the folder again") from None
    missing = sorted(found["missing_keys"])
    if missing:
        raise PromptsegError(
            f"{folder}: {len(missing)} weights of {name} are missing ({missing[0]}, ...): give a complete checkpoint"
        )
    return network


@contextmanager
def _quiet() -> Iterator[None]:
    """No reports of the library about weights that are not asked for: what is missing is checked here."""
    logging = import_extra("transformers.utils.logging", "sam", "SAM")
    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
