"""SEEM and X-Decoder as a model family: the published checkpoints by name, and the folders that are made of them.

Torch is imported when a model is loaded.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptseg.assets import LITE_FOLDER
from promptseg.errors import PromptsegError
from promptseg.files import cache_folder
from promptseg.hub import hub_file
from promptseg.models.family import Family, ModelEntry, ModelSource

if TYPE_CHECKING:
    import torch

    from promptseg.models.seem.segmenter import SeemSegmenter

_COMPLETE = "model.safetensors"
"""The file a model folder is finished with."""
_OPTIONS = ("maps", "resampling")
_TOKENIZER_REPO = "openai/clip-vit-base-patch32"
_SEEM, _X_DECODER = "xdecoder/SEEM", "xdecoder/X-Decoder"
_CODE = {_SEEM: "Apache-2.0", _X_DECODER: "Apache-2.0 or MIT"}
"""Licence of the authors' code; X-Decoder's depends on the branch: v2.0 has Apache-2.0, main has MIT."""
_PUBLISHED: dict[str, tuple[int, str, str | None]] = {
    "seem-focal-t-v0": (164_619_249, _SEEM, "seem_focalt_v0.pt"),
    "seem-focal-t-v1": (164_619_249, _SEEM, "seem_focalt_v1.pt"),
    # The authors' demo runs the v0 weights through its own decoder.
    "seem-focal-t-demo": (164_619_249, _SEEM, "seem_focalt_v0.pt"),
    "seem-focal-l-v0": (341_181_177, _SEEM, "seem_focall_v0.pt"),
    "seem-focal-l-v1": (341_181_177, _SEEM, "seem_focall_v1.pt"),
    "seem-focal-l-demo": (341_181_177, _SEEM, "seem_focall_v0.pt"),
    "seem-davit-d3-v1": (221_870_081, _SEEM, None),
    "seem-davit-d5-v1": (496_558_081, _SEEM, None),
    "seem-sam-vit-b-v1": (215_563_649, _SEEM, "seem_samvitb_v1.pt"),
    "seem-sam-vit-l-v1": (440_538_689, _SEEM, "seem_samvitl_v1.pt"),
    "xdecoder-focal-t": (164_493_809, _X_DECODER, "xdecoder_focalt_last.pt"),
    "xdecoder-focal-l": (341_551_353, _X_DECODER, "xdecoder_focall_last.pt"),
    "xdecoder-focal-l-oq101": (341_448_953, _X_DECODER, "xdecoder_focall_last_oq101.pt"),
}
"""Number of weights, repository of the hub and file in it (None: no public file is known), by name."""


class SeemFamily(Family):
    """SEEM and X-Decoder."""

    folders = "architecture is seem"

    def __init__(self) -> None:
        lite = ModelEntry(
            name=LITE_FOLDER.name,
            parameters=6_436_865,
            source="with the package",
            licence="Apache-2.0",
            code_licence="Apache-2.0",
            folder=lambda: LITE_FOLDER,
        )
        self.entries = (lite, *(_published(name, *about) for name, about in _PUBLISHED.items()))

    def recognises(self, config: Mapping[str, Any]) -> bool:
        """Whether a folder was written by this package."""
        return config.get("architecture") == "seem"

    def load(self, source: ModelSource, device: "torch.device") -> "SeemSegmenter":
        """The model in a folder; one that has a name is fetched to it first if it is not there.

        The option `maps` says which dense maps it offers to pixel prompts, `resampling` how photos are resized.
        """
        from promptseg.models.base import RESAMPLINGS, UNKNOWN_LICENCE
        from promptseg.models.seem.files.model_folder import find_tokenizer, load_model_folder
        from promptseg.models.seem.segmenter import MAPS, SeemSegmenter
        from promptseg.models.seem.training import read_training

        source.spec.check_options(_OPTIONS)
        maps = source.spec.choice("maps", MAPS, None)
        resampling = source.spec.choice("resampling", RESAMPLINGS, None)
        folder = source.folder or self._fetched(source)
        network, config = load_model_folder(folder)
        licence = source.entry.licence if source.entry else UNKNOWN_LICENCE
        tokenizer, training = find_tokenizer(folder, config), read_training(folder, self.words(source))
        return SeemSegmenter(network.to(device), tokenizer, source.spec.text, licence, maps, resampling, training)

    def describe(self, source: ModelSource) -> dict[str, str]:
        """With the cost of one image, which is counted on shapes alone."""
        from promptseg.models.seem.cost import description

        source.spec.check_options(_OPTIONS)
        return description(source)

    def import_checkpoint(self, file: Path, config: str | None, out: Path, tokenizer: Path | None) -> str:
        """Turn an official checkpoint into a model folder; the report names keys that were left out or filled in."""
        from promptseg.models.seem.files.importing import import_checkpoint

        return str(import_checkpoint(file, config, out, tokenizer))

    def _fetched(self, source: ModelSource) -> Path:
        """The folder of a name, made of the official checkpoint and its tokenizer, which are downloaded."""
        from promptseg.models.seem.files.importing import import_checkpoint

        assert source.entry is not None, "a folder is there"
        name = source.entry.name
        _, repo, file = _PUBLISHED[name]
        folder = model_folder(name)
        command = f"--config {name} --tokenizer tokenizer.json --out {folder}"
        if file is None:
            raise PromptsegError(
                f"{name}: no public file of it is known; if you have one, run: promptseg models import"
                f" YOUR_FILE {command}"
            )
        files = f"{file} of {repo} and tokenizer.json of {_TOKENIZER_REPO}"
        by_hand = f"or get {files} elsewhere, then run: promptseg models import {file} {command}"
        checkpoint, tokenizer = hub_file(repo, file, by_hand), hub_file(_TOKENIZER_REPO, "tokenizer.json", by_hand)
        import_checkpoint(checkpoint, name, folder, tokenizer)
        return folder


def model_folder(name: str) -> Path:
    """Where the weights of a published model are kept, once they are here."""
    return cache_folder() / "models" / name


def _published(name: str, parameters: int, repo: str, file: str | None) -> ModelEntry:
    return ModelEntry(
        name=name,
        parameters=parameters,
        source=f"{repo}: {file}" if file else "no public file known",
        licence="none stated",
        code_licence=_CODE[repo],
        folder=partial(_complete, name),
    )


def _complete(name: str) -> Path | None:
    folder = model_folder(name)
    return folder if (folder / _COMPLETE).is_file() else None


FAMILY = SeemFamily()
