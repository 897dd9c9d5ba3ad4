"""The SEEM and X-Decoder checkpoints by name: size, licence and where the file comes from; costs no import of torch."""

from dataclasses import dataclass
from pathlib import Path

from promptseg.files import cache_folder

NANO_FOLDER = Path(__file__).parent / "weights" / "seem-nano"
"""The model that comes with the package."""
_COMPLETE = "model.safetensors"
"""The file a model folder is finished with."""


@dataclass(frozen=True)
class SeemEntry:
    """One model that can be loaded by name.

    Attributes:
        name: what `load_model` takes, and what an import calls the architecture.
        parameters: number of weights.
        hub: repository and file of the published checkpoint; None where there is none.
        licence: of the weights, as far as it is known.
        code_licence: of the authors' own code.
    """

    name: str
    parameters: int
    hub: tuple[str, str] | None
    licence: str = "none stated"
    code_licence: str = "Apache-2.0"

    @property
    def folder(self) -> Path:
        """Where the weights are, or will be."""
        return NANO_FOLDER if self.name == NANO_FOLDER.name else cache_folder() / "models" / self.name

    @property
    def available(self) -> bool:
        """Whether the weights are on this machine."""
        return (self.folder / _COMPLETE).is_file()

    @property
    def source(self) -> str:
        """Where the weights come from."""
        if self.folder == NANO_FOLDER:
            return "with the package"
        return f"{self.hub[0]}: {self.hub[1]}" if self.hub else "no public file known"


_SEEM, _X_DECODER = "xdecoder/SEEM", "xdecoder/X-Decoder"
ENTRIES = (
    SeemEntry("seem-nano", 5_683_045, None, "Apache-2.0"),
    SeemEntry("seem-focal-t-v0", 164_619_249, (_SEEM, "seem_focalt_v0.pt")),
    SeemEntry("seem-focal-t-v1", 164_619_249, (_SEEM, "seem_focalt_v1.pt")),
    # The authors' demo runs the v0 weights through its own decoder.
    SeemEntry("seem-focal-t-demo", 164_619_249, (_SEEM, "seem_focalt_v0.pt")),
    SeemEntry("seem-focal-l-v0", 341_181_177, (_SEEM, "seem_focall_v0.pt")),
    SeemEntry("seem-focal-l-v1", 341_181_177, (_SEEM, "seem_focall_v1.pt")),
    SeemEntry("seem-focal-l-demo", 341_181_177, (_SEEM, "seem_focall_v0.pt")),
    SeemEntry("seem-davit-d3-v1", 221_870_081, None),
    SeemEntry("seem-davit-d5-v1", 496_558_081, None),
    SeemEntry("seem-sam-vit-b-v1", 215_563_649, (_SEEM, "seem_samvitb_v1.pt")),
    SeemEntry("seem-sam-vit-l-v1", 440_538_689, (_SEEM, "seem_samvitl_v1.pt")),
    *(
        # The licence of the authors' code depends on the branch: v2.0 has Apache-2.0, main has MIT.
        SeemEntry(name, parameters, (_X_DECODER, file), code_licence="Apache-2.0 or MIT")
        for name, parameters, file in (
            ("xdecoder-focal-t", 164_493_809, "xdecoder_focalt_last.pt"),
            ("xdecoder-focal-l", 341_551_353, "xdecoder_focall_last.pt"),
            ("xdecoder-focal-l-oq101", 341_448_953, "xdecoder_focall_last_oq101.pt"),
        )
    ),
)
