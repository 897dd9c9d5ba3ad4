"""SAM, SAM 2 and SAM 3 as a model family: the published checkpoints by name, and folders of the library's own form.

Torch and the library are imported when a model is loaded.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptseg.files import read_json
from promptseg.hub import HUB, cached_folder, hub_folder
from promptseg.models.family import Family, ModelEntry, ModelSource

if TYPE_CHECKING:
    import torch

    from promptseg.models.sam.points import PointSam
    from promptseg.models.sam.sam3 import Sam3

CLASSES = {
    "sam": "SamModel",
    "sam2": "Sam2Model",
    "sam2_video": "Sam2Model",
    "sam3": "Sam3Model",
    "sam3_video": "Sam3Model",
}
"""From `model_type` of a config.json to the class of the library that reads such a folder."""
CHUNK, CHUNK3, KEEP = 8, 1, 5
"""Classes decoded at once by SAM and SAM 2, and by SAM 3; queries of a class that SAM 3 keeps. See docs/sam.md."""
OWN_TEXT = "text"
"""A text source inside the model's folder: the folder is whole then."""
_CLIP = "hub:openai/clip-vit-base-patch32"
"""The text source of a named model, unless the user gives another."""
_APACHE, _SAM_LICENCE = "Apache-2.0", "SAM License (gated: to be accepted on its page)"
_PUBLISHED = {
    "sam-vit-base": 93_735_728,
    "sam-vit-large": 312_343_088,
    "sam-vit-huge": 641_090_864,
    "sam2.1-hiera-tiny": 31_440_721,
    "sam2.1-hiera-small": 38_538_577,
    "sam2.1-hiera-base-plus": 73_328_401,
    "sam2.1-hiera-large": 216_924_865,
    "sam3": 840_376_374,
}
"""Number of weights by name, without text source and without what follows objects through a video."""


def _repo(name: str) -> str:
    """The repository of the hub of a named model."""
    return f"facebook/{name}"


class SamFamily(Family):
    """SAM, SAM 2 and SAM 3."""

    folders = f"model_type is one of {', '.join(CLASSES)}"
    entries = tuple(
        ModelEntry(
            name=name,
            parameters=parameters,
            source=_repo(name) if name == "sam3" else f"{_repo(name)}, text by {_CLIP.removeprefix(HUB)}",
            licence=_SAM_LICENCE if name == "sam3" else _APACHE,
            code_licence="SAM License" if name == "sam3" else _APACHE,
            folder=partial(cached_folder, _repo(name)),
        )
        for name, parameters in _PUBLISHED.items()
    )

    def recognises(self, config: Mapping[str, Any]) -> bool:
        """Whether a folder is of the library's form and of one of these models."""
        return config.get("model_type") in CLASSES

    def load(self, source: ModelSource, device: "torch.device") -> "PointSam | Sam3":
        """The model in a folder, or in a repository of the hub.

        The options are `text` and `chunk`, for SAM 3 `chunk` and `keep`. The text source is that of the options, else
        the folder's own, else that of the name, else none.

        Raises:
            PromptsegError: an unknown option, a text source that cannot be read, or a folder that lacks weights.
        """
        from promptseg.models.sam.points import Sam, Sam2
        from promptseg.models.sam.text_sources import load_network, load_text

        spec, entry = source.spec, source.entry
        folder = source.folder or hub_folder(_repo(spec.where))
        kind = read_json(folder / "config.json").get("model_type")
        if CLASSES[kind] == "Sam3Model":
            return self._load_sam3(source, folder, device)
        spec.check_options(("text", "chunk"))
        own = str(folder / OWN_TEXT) if (folder / OWN_TEXT).is_dir() else _CLIP if entry else None
        chunk, text = spec.count("chunk", CHUNK), spec.options.get("text", own)
        network = load_network(CLASSES[kind], folder).to(device)
        return (Sam if kind == "sam" else Sam2)(
            network=network,
            model_id=spec.text,
            size=network.config.prompt_encoder_config.image_size,
            chunk=chunk,
            licence=_APACHE,
            text=None if text is None else load_text(text, device),
        )

    def _load_sam3(self, source: ModelSource, folder: Path, device: "torch.device") -> "Sam3":
        from promptseg.models.sam.sam3 import Sam3
        from promptseg.models.sam.text_sources import TOKENIZER, load_network
        from promptseg.models.tokenizer import Tokenizer

        source.spec.check_options(("chunk", "keep"))
        chunk, keep = source.spec.count("chunk", CHUNK3), source.spec.count("keep", KEEP)
        tokenizer = Tokenizer.from_file(folder / TOKENIZER)
        network = load_network("Sam3Model", folder).to(device)
        return Sam3(
            network=network,
            model_id=source.spec.text,
            size=network.config.image_size,
            chunk=chunk,
            licence=_SAM_LICENCE,
            tokenizer=tokenizer,
            keep=keep,
        )


FAMILY = SamFamily()
