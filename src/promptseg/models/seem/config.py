"""The numbers that shape one SEEM network, and the named networks."""

from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

from promptseg.errors import PromptsegError, unknown_name
from promptseg.models.seem.backbone_config import BackboneConfig, DavitConfig, FocalConfig, SamVitConfig
from promptseg.models.seem.json_config import from_json

PIXEL_MEAN = (123.675, 116.280, 103.530)
"""Mean of red, green and blue, for values 0..255."""
PIXEL_STD = (58.395, 57.120, 57.375)
"""Standard deviation of red, green and blue, for values 0..255."""
LEVELS = 3
"""Feature maps the decoder attends to, at strides 32, 16 and 8."""
BUFFERS = "cpu"
"""Where buffers are made, even in a network that is built for its shapes only: files may leave them out."""
PIXEL_DECODERS = ("fpn", "deformable")
"""`fpn`: a transformer on the stride-32 map, then a feature pyramid; `deformable`: a transformer over three maps."""
FAMILIES = ("seem", "x-decoder")
"""`x-decoder`: the last query sums up the image and keeps apart from the others, masks are resized bicubically with
antialias, and parameters of a captioner stand in for those of spatial prompts."""
PROMPTING = ("candidates", "copies", "shared", "choose")
"""Which rows of the decoder answer what is pointed at or named, and whether they see the prompt.

`candidates` (SEEM v1): a few copies of queries for each object; `copies` (SEEM v0): a copy of all queries for each
kind of prompt; `shared` (SEEM demo): the object queries themselves, which see the prompt; `choose`: the object queries,
which do not (X-Decoder, and weights trained on classes alone): prompts choose among their masks."""


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
        family: one of `FAMILIES`.
        prompting: one of `PROMPTING`.
    """

    ADDED_LATER: ClassVar = ("pixel_decoder", "family", "prompting")
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
    family: str = "seem"
    prompting: str = "candidates"

    def __post_init__(self) -> None:
        """Refuse numbers that no network can be built from."""
        if self.pixel_decoder not in PIXEL_DECODERS:
            raise unknown_name("pixel decoder", self.pixel_decoder, PIXEL_DECODERS)
        if isinstance(self.backbone, SamVitConfig) and self.backbone.canvas != self.size_divisor:
            raise PromptsegError(f"size_divisor {self.size_divisor} is not backbone.canvas {self.backbone.canvas}")
        if self.family not in FAMILIES:
            raise unknown_name("family", self.family, FAMILIES)
        prompting = PROMPTING if self.family == "seem" else ("choose",)
        if self.prompting not in prompting:
            raise unknown_name(f"prompting of family {self.family}", self.prompting, prompting)
        if self.prompting != "choose" and self.text_dim != self.hidden_dim:
            raise PromptsegError(
                f"text_dim {self.text_dim} is not hidden_dim {self.hidden_dim}: prompting {self.prompting} puts words"
                " among the queries; make them equal, or take prompting choose"
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

    @property
    def largest_side(self) -> int | None:
        """Longest side of an image that the backbone takes, pixels; None without a limit."""
        return self.backbone.canvas if isinstance(self.backbone, SamVitConfig) else None

    def to_json(self) -> dict[str, Any]:
        """The numbers as a JSON object."""
        return asdict(self)

    @staticmethod
    def from_json(content: Any) -> "SeemConfig":
        """The config that `to_json` wrote.

        Raises:
            PromptsegError: a field is missing, unknown, of the wrong type, or the numbers do not fit together.
        """
        config: SeemConfig = from_json(SeemConfig, content, "config")
        return config


_FOCAL_T = SeemConfig(FocalConfig("focal_dw", 96, (2, 2, 6, 2), 3), TextConfig())
_FOCAL_L = replace(_FOCAL_T, backbone=FocalConfig("focal", 192, (2, 2, 18, 2), 4))
_DAVIT_D3 = DavitConfig("davit", (128, 256, 512, 1024), (1, 1, 9, 1), (4, 8, 16, 32), (4, 8, 16, 32), (7, 2, 2, 2))
_DAVIT_D5 = DavitConfig("davit", (256, 512, 1024, 2048), (1, 1, 9, 1), (8, 16, 32, 64), (8, 16, 32, 64), (7, 3, 3, 3))
_SAM_B = replace(_FOCAL_T, backbone=SamVitConfig("sam_vit", 768, 12, 12), pixel_decoder="deformable", size_divisor=1024)
_X_DECODER: dict[str, Any] = {"family": "x-decoder", "prompting": "choose"}
NAMED: dict[str, SeemConfig] = {
    "seem-focal-t-v1": _FOCAL_T,
    "seem-focal-t-v0": replace(_FOCAL_T, prompting="copies"),
    "seem-focal-t-demo": replace(_FOCAL_T, prompting="shared"),
    "seem-focal-l-v1": _FOCAL_L,
    "seem-focal-l-v0": replace(_FOCAL_L, prompting="copies"),
    "seem-focal-l-demo": replace(_FOCAL_L, prompting="shared"),
    "seem-davit-d3-v1": replace(_FOCAL_T, backbone=_DAVIT_D3),
    "seem-davit-d5-v1": replace(_FOCAL_T, backbone=_DAVIT_D5),
    "seem-sam-vit-b-v1": _SAM_B,
    "seem-sam-vit-l-v1": replace(_SAM_B, backbone=SamVitConfig("sam_vit", 1024, 24, 16)),
    "xdecoder-focal-t": replace(_FOCAL_T, **_X_DECODER),
    "xdecoder-focal-l": replace(_FOCAL_L, num_queries=201, **_X_DECODER),
    "xdecoder-focal-l-oq101": replace(_FOCAL_L, **_X_DECODER),
    "seem-nano": SeemConfig(
        backbone=FocalConfig("focal_dw", 32, (2, 2, 4, 1), 3),
        text=TextConfig(width=128, heads=4, layers=2, context=24, vocab=1024),
        hidden_dim=128,
        mask_dim=128,
        text_dim=128,
        heads=8,
        ffn_dim=512,
        encoder_layers=2,
        decoder_layers=6,
        spatial_memories=8,
        short_side=128,
        prompting="choose",
    ),
}
"""The networks that are known by name."""
