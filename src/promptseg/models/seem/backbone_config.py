"""The numbers that shape an image backbone: one class per family, told apart by `kind`."""

from dataclasses import dataclass
from typing import ClassVar

from promptseg.errors import PromptsegError, unknown_name

STAGES = 4
"""Maps that every backbone gives, at strides 4, 8, 16 and 32."""


@dataclass(frozen=True)
class FocalConfig:
    """A focal modulation backbone.

    Attributes:
        kind: `focal` as in Focal-L, or `focal_dw` as in Focal-T, with depthwise convolutions around each branch.
        embed_dim: channels of the first stage; each stage doubles them.
        depths: blocks per stage.
        focal_levels: depthwise convolutions per modulation, kernels 3, 5, 7, ...
    """

    KINDS: ClassVar = ("focal", "focal_dw")
    kind: str
    embed_dim: int
    depths: tuple[int, ...]
    focal_levels: int

    def __post_init__(self) -> None:
        """Refuse numbers that no network can be built from."""
        _check_kind(self.kind, self.KINDS)
        _check_stages("depths", self.depths)

    @property
    def dims(self) -> tuple[int, ...]:
        """Channels per stage."""
        return tuple(self.embed_dim * 2**stage for stage in range(STAGES))


@dataclass(frozen=True)
class DavitConfig:
    """A dual attention backbone: every unit attends over places, then over channels.

    Attributes:
        kind: `davit`.
        dims: channels per stage.
        depths: units per stage.
        heads: heads of the attention over places, per stage.
        groups: groups of the attention over channels, per stage.
        kernels: of the convolution that opens each stage.
        window: side of the windows within which places attend to each other.
    """

    KINDS: ClassVar = ("davit",)
    kind: str
    dims: tuple[int, ...]
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    groups: tuple[int, ...]
    kernels: tuple[int, ...]
    window: int = 7

    def __post_init__(self) -> None:
        """Refuse numbers that no network can be built from."""
        _check_kind(self.kind, self.KINDS)
        for name in ("dims", "depths", "heads", "groups", "kernels"):
            _check_stages(name, getattr(self, name))
        for stage in range(STAGES):
            for name, parts in (("heads", self.heads[stage]), ("groups", self.groups[stage])):
                if self.dims[stage] % parts:
                    raise PromptsegError(f"dims[{stage}] {self.dims[stage]} is not a multiple of its {parts} {name}")


@dataclass(frozen=True)
class SamVitConfig:
    """SAM's vision transformer, with a neck of four branches in place of SAM's own.

    Attributes:
        kind: `sam_vit`.
        dim: channels of the transformer.
        depth: its blocks; the last one of each quarter attends everywhere, the others within windows.
        heads: attention heads.
        canvas: height and width of the input, pixels; the table of positions fits no other size.
        window: side of the windows, in patches.
    """

    KINDS: ClassVar = ("sam_vit",)
    PATCH: ClassVar = 16
    kind: str
    dim: int
    depth: int
    heads: int
    canvas: int = 1024
    window: int = 14

    def __post_init__(self) -> None:
        """Refuse numbers that no network can be built from."""
        _check_kind(self.kind, self.KINDS)
        for name, value, divisor in (
            ("dim", self.dim, self.heads),
            ("depth", self.depth, 4),
            ("canvas", self.canvas, 32),
        ):
            if value % divisor:
                raise PromptsegError(f"backbone.{name} {value} is not a multiple of {divisor}")

    @property
    def dims(self) -> tuple[int, ...]:
        """Channels of the neck's maps."""
        return 128, 256, 512, 1024


BackboneConfig = FocalConfig | DavitConfig | SamVitConfig
"""The families; `kind` says which one a JSON object describes."""


def _check_kind(kind: str, kinds: tuple[str, ...]) -> None:
    if kind not in kinds:
        raise unknown_name("backbone", kind, kinds)


def _check_stages(name: str, values: tuple[int, ...]) -> None:
    if len(values) != STAGES:
        raise PromptsegError(f"{name} {list(values)} has not one entry for each of the {STAGES} stages")
