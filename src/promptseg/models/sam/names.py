"""The published checkpoints of the family by name, and what kinds of folder are read; costs no import of torch."""

from dataclasses import dataclass

from promptseg.models.hub import HUB, cached_folder

CLIP = "hub:openai/clip-vit-base-patch32"
"""The text source of a named model, unless the user gives another."""
APACHE, SAM_LICENCE = "Apache-2.0", "SAM License (gated: to be accepted on its page)"

CLASSES = {
    "sam": "SamModel",
    "sam2": "Sam2Model",
    "sam2_video": "Sam2Model",
    "sam3": "Sam3Model",
    "sam3_video": "Sam3Model",
}
"""From `model_type` of a config.json to the class of the library that reads such a folder."""


@dataclass(frozen=True)
class SamEntry:
    """One checkpoint that can be loaded by name.

    Attributes:
        name: what `load_model` takes.
        parameters: number of weights, without text source and without what follows objects through a video.
        licence: of the weights.
        repo: repository of the model hub.
        text: spec of its text source; none where the model has its own text encoder.
        code_licence: of the authors' own code.
    """

    name: str
    parameters: int
    licence: str
    repo: str
    text: str | None = CLIP
    code_licence: str = APACHE

    @property
    def source(self) -> str:
        """Where the weights come from, and what reads class names."""
        return f"{self.repo}, text by {self.text.removeprefix(HUB)}" if self.text else self.repo

    @property
    def available(self) -> bool:
        """Whether the weights are on this machine."""
        return cached_folder(self.repo) is not None


ENTRIES = (
    SamEntry("sam-vit-base", 93_735_728, APACHE, "facebook/sam-vit-base"),
    SamEntry("sam-vit-large", 312_343_088, APACHE, "facebook/sam-vit-large"),
    SamEntry("sam-vit-huge", 641_090_864, APACHE, "facebook/sam-vit-huge"),
    SamEntry("sam2.1-hiera-tiny", 31_440_721, APACHE, "facebook/sam2.1-hiera-tiny"),
    SamEntry("sam2.1-hiera-small", 38_538_577, APACHE, "facebook/sam2.1-hiera-small"),
    SamEntry("sam2.1-hiera-base-plus", 73_328_401, APACHE, "facebook/sam2.1-hiera-base-plus"),
    SamEntry("sam2.1-hiera-large", 216_924_865, APACHE, "facebook/sam2.1-hiera-large"),
    SamEntry("sam3", 840_376_374, SAM_LICENCE, "facebook/sam3", None, "SAM License"),
)
