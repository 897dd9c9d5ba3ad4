"""The numbers that shape one SEEM network, and the named networks."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from promptseg.errors import PromptsegError, unknown_name
from promptseg.models.base import Resampling
from promptseg.models.seem.backbones import BackboneConfig, DavitConfig, EfficientNetConfig, FocalConfig, SamVitConfig
from promptseg.models.seem.variants import CLASSES_ONLY, DEMO, V0, V1, X_DECODER, Variant, find_variant

LEVELS = 3
"""Feature maps the decoder attends to, at strides 32, 16 and 8."""
BUFFERS = "cpu"
"""Where buffers are made, even in a network that is built for its shapes only: files may leave them out."""
PIXEL_DECODERS = ("fpn", "deformable")
"""`fpn`: a transformer on the stride-32 map, then a feature pyramid; `deformable`: a transformer over three maps."""


@dataclass(frozen=True)
class TextConfig:
    """A CLIP-style causal text encoder.

    Attributes:
        width: channels of its tokens.
        heads: attention heads.
        layers: residual blocks.
        context: length that token lists are padded and cut to.
        vocab: number of tokens.
    """

    width: int = 512
    heads: int = 8
    layers: int = 12
    context: int = 77
    vocab: int = 49408


@dataclass(frozen=True)
class SeemConfig:
    """One SEEM network.

    Attributes:
        backbone: the image backbone.
        text: the text encoder.
        pixel_decoder: one of `PIXEL_DECODERS`.
        hidden_dim: channels of the pixel decoder's maps and of the queries.
        mask_dim: channels of mask features and mask vectors.
        text_dim: channels in which queries and texts are compared.
        num_queries: learned object queries.
        heads: attention heads of pixel decoder and decoder.
        ffn_dim: hidden channels of their feed-forward parts (the deformable pixel decoder has its own number).
        encoder_layers: transformer layers of the pixel decoder.
        decoder_layers: decoder layers; there is one prediction head more.
        norm_groups: groups of the pixel decoder's group norms.
        spatial_memories: rows that carry a previous mask into the next round.
        queries_per_candidate: spatial queries for each object that is pointed at.
        max_points: points sampled from one spatial prompt at most.
        num_classes: classes of the official training data (shapes one buffer of the checkpoint).
        size_divisor: height and width of the padded input are multiples of it, pixels.
        short_side: shorter side that images are resized to by default, pixels.
        resampling: how they are resized; the default is that of the official scripts for single photos.
        variant: what this version of SEEM does differently from the others.
    """

    backbone: BackboneConfig
    text: TextConfig
    pixel_decoder: str = "fpn"
    hidden_dim: int = 512
    mask_dim: int = 512
    text_dim: int = 512
    num_queries: int = 101
    heads: int = 8
    ffn_dim: int = 2048
    encoder_layers: int = 6
    decoder_layers: int = 9
    norm_groups: int = 32
    spatial_memories: int = 32
    queries_per_candidate: int = 3
    max_points: int = 512
    num_classes: int = 133
    size_divisor: int = 32
    short_side: int = 512
    resampling: Resampling = "bicubic"
    variant: Variant = V1

    def __post_init__(self) -> None:
        """Refuse numbers that no network can be built from."""
        if self.pixel_decoder not in PIXEL_DECODERS:
            raise unknown_name("pixel decoder", self.pixel_decoder, PIXEL_DECODERS)
        if self.backbone.fixed_canvas not in (None, self.size_divisor):
            raise PromptsegError(f"size_divisor {self.size_divisor} is not the canvas {self.backbone.fixed_canvas}")
        if self.variant.sees_whom is not None and self.text_dim != self.hidden_dim:
            raise PromptsegError(
                f"text_dim {self.text_dim} is not hidden_dim {self.hidden_dim}: variant {self.variant.name} puts words"
                f" among the queries; make them equal, or take variant {CLASSES_ONLY.name}"
            )
        for name, value, divisor in (
            ("hidden_dim", self.hidden_dim, 4),
            ("hidden_dim", self.hidden_dim, self.heads),
            ("hidden_dim", self.hidden_dim, self.norm_groups),
            ("text.width", self.text.width, self.text.heads),
            ("size_divisor", self.size_divisor, 32),
        ):
            if value % divisor:
                raise PromptsegError(f"{name} {value} is not a multiple of {divisor}")

    def canvas(self, height: int, width: int) -> tuple[int, int]:
        """The least height and width, pixels, that hold an image and are multiples of the size divisor."""
        return -(-height // self.size_divisor) * self.size_divisor, -(-width // self.size_divisor) * self.size_divisor

    def to_json(self) -> dict[str, Any]:
        """The numbers as a JSON object."""
        return asdict(self) | {"variant": self.variant.name}

    @staticmethod
    def from_json(content: Any) -> "SeemConfig":
        """The config that `to_json` wrote.

        Raises:
            PromptsegError: a field is missing, unknown, of the wrong type, or the numbers do not fit together.
        """
        config: SeemConfig = _from_json(SeemConfig, content, "config")
        return config


_LARGEST = 100_000
"""Of any number of a config, so that a broken file is refused before a network of that size is built."""


def _from_json(cls: Any, content: Any, where: str) -> Any:
    """An instance of a dataclass from what `dataclasses.asdict` made of one.

    A field that is a union of dataclasses is told by its `kind`, one of the `KINDS` of a class.

    Args:
        cls: the dataclass.
        content: parsed JSON.
        where: what to call it in errors.

    Raises:
        PromptsegError: a field is missing, unknown or of the wrong type, or the class refuses the values.
    """
    if not isinstance(content, dict):
        raise PromptsegError(f"{where} is {content!r}, expected a JSON object")
    hints = get_type_hints(cls)
    wanted = {field.name: field for field in fields(cls)}
    for name in content:
        if name not in wanted:
            raise unknown_name(f"field in {where}", str(name), wanted)
    missing = [name for name in wanted if name not in content]
    if missing:
        raise PromptsegError(f"{where} lacks the field {missing[0]}: write it with to_json")
    least = {name: field.metadata.get("least", 1) for name, field in wanted.items()}
    values = {name: _value(hints[name], value, f"{where}.{name}", least[name]) for name, value in content.items()}
    return cls(**values)


def _value(kind: Any, value: Any, where: str, least: int) -> Any:
    """A value of a field, of which whole numbers are at least `least`."""
    if get_origin(kind) is tuple:
        if not isinstance(value, list | tuple):
            raise PromptsegError(f"{where} is {value!r}, expected a list of whole numbers")
        return tuple(_value(get_args(kind)[0], item, where, least) for item in value)
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise unknown_name(where, str(value), get_args(kind))
        return value
    if kind is str:
        if not isinstance(value, str):
            raise PromptsegError(f"{where} is {value!r}, expected text")
        return value
    if kind is int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= _LARGEST:
            raise PromptsegError(f"{where} is {value!r}, expected a whole number from {least} to {_LARGEST}")
        return value
    if kind is float:
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < float("inf"):
            raise PromptsegError(f"{where} is {value!r}, expected a number above 0")
        return float(value)
    if kind is Variant:
        return find_variant(str(value))
    if get_origin(kind) is UnionType:
        kind = _class_of(get_args(kind), value, where)
    return _from_json(kind, value, where)


def _class_of(classes: Sequence[Any], value: Any, where: str) -> Any:
    """The class whose kind the object names."""
    by_kind = {kind: cls for cls in classes for kind in cls.KINDS}
    name = value.get("kind") if isinstance(value, dict) else None
    if name not in by_kind:
        raise unknown_name(f"kind of {where}", str(name), by_kind)
    return by_kind[name]


_FOCAL_T = SeemConfig(FocalConfig("focal_dw", 96, (2, 2, 6, 2), (3, 3, 3, 3)), TextConfig())
_FOCAL_L = replace(_FOCAL_T, backbone=FocalConfig("focal", 192, (2, 2, 18, 2), (4, 4, 4, 4)))
_DAVIT_D3 = DavitConfig(
    kind="davit",
    dims=(128, 256, 512, 1024),
    depths=(1, 1, 9, 1),
    heads=(4, 8, 16, 32),
    groups=(4, 8, 16, 32),
    kernels=(7, 2, 2, 2),
    paddings=(3, 0, 0, 0),
)
_DAVIT_D5 = DavitConfig(
    kind="davit",
    dims=(256, 512, 1024, 2048),
    depths=(1, 1, 9, 1),
    heads=(8, 16, 32, 64),
    groups=(8, 16, 32, 64),
    kernels=(7, 3, 3, 3),
    paddings=(3, 1, 1, 1),
)
_VIT_B = SamVitConfig("sam_vit", dim=768, depth=12, heads=12, global_blocks=(2, 5, 8, 11))
_VIT_L = SamVitConfig("sam_vit", dim=1024, depth=24, heads=16, global_blocks=(5, 11, 17, 23))
_SAM_B = replace(_FOCAL_T, backbone=_VIT_B, pixel_decoder="deformable", size_divisor=1024)
NAMED: dict[str, SeemConfig] = {
    "seem-focal-t-v1": _FOCAL_T,
    "seem-focal-t-v0": replace(_FOCAL_T, variant=V0),
    "seem-focal-t-demo": replace(_FOCAL_T, variant=DEMO),
    "seem-focal-l-v1": _FOCAL_L,
    "seem-focal-l-v0": replace(_FOCAL_L, variant=V0),
    "seem-focal-l-demo": replace(_FOCAL_L, variant=DEMO),
    "seem-davit-d3-v1": replace(_FOCAL_T, backbone=_DAVIT_D3),
    "seem-davit-d5-v1": replace(_FOCAL_T, backbone=_DAVIT_D5),
    "seem-sam-vit-b-v1": _SAM_B,
    "seem-sam-vit-l-v1": replace(_SAM_B, backbone=_VIT_L),
    "xdecoder-focal-t": replace(_FOCAL_T, variant=X_DECODER),
    "xdecoder-focal-l": replace(_FOCAL_L, num_queries=201, variant=X_DECODER),
    "xdecoder-focal-l-oq101": replace(_FOCAL_L, variant=X_DECODER),
    "seem-lite": SeemConfig(
        backbone=EfficientNetConfig(),
        text=TextConfig(width=128, heads=4, layers=2, context=24, vocab=1024),
        hidden_dim=128,
        mask_dim=128,
        text_dim=128,
        heads=8,
        ffn_dim=512,
        encoder_layers=2,
        decoder_layers=6,
        spatial_memories=8,
        short_side=384,
        resampling="bilinear",
        variant=CLASSES_ONLY,
    ),
}
"""The networks that are known by name."""
