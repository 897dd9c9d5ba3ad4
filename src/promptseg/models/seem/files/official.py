"""The official configuration files of SEEM and X-Decoder, read to the last entry or refused.

An entry either shapes the network and is taken, or must have the one value that this package computes, or is known to
have no part in the answers (training, data, tests). Any other entry is refused: a network that ignored it would be
another one than the file describes.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from promptseg.errors import PromptsegError, unknown_name
from promptseg.models.seem.backbones import BackboneConfig, DavitConfig, FocalConfig
from promptseg.models.seem.backbones.common import PIXEL_MEAN, PIXEL_STD
from promptseg.models.seem.backbones.davit import STRIDES
from promptseg.models.seem.config import SeemConfig, TextConfig
from promptseg.models.seem.variants import CLASSES_ONLY, DEMO, V0, V1, X_DECODER, Variant

_VARIANTS = {"seem_v1": V1, "seem_v0": V0, "seem_demo": DEMO, "xdecoder": X_DECODER}
_PIXEL_DECODERS = {"transformer_encoder_fpn": "fpn", "transformer_encoder_deform": "deformable"}
_BACKBONES = {"focal": "FOCAL", "focal_dw": "FOCAL", "davit": "DAVIT"}
"""Sections of their numbers; those of SAM's transformer are not in official files, but in the official code."""
_MAPS = ["res2", "res3", "res4", "res5"]
_GROUPS = {
    "queries_object": "object",
    "queries_grounding": "grounding",
    "queries_spatial": "spatial",
    "memories_spatial": "memories",
    "tokens_grounding": "grounding_tokens",
    "tokens_spatial": "spatial_tokens",
}
"""Our names of the groups of rows; tokens of reference images and of sound are not offered here."""
_TRAINING = ("DROP_PATH_RATE", "DROP_RATE", "USE_CHECKPOINT", "ENABLE_CHECKPOINT", "PRETRAIN_IMG_SIZE")
_DECODER_TRAINING = (
    *("MASK", "SPATIAL", "GROUNDING", "VISUAL", "AUDIO", "RETRIEVAL", "LVIS", "OPENIMAGE", "CAPTION", "CAPTIONING"),
    *("DEEP_SUPERVISION", "DROPOUT", "TRAIN_NUM_POINTS", "OVERSAMPLE_RATIO", "IMPORTANCE_SAMPLE_RATIO", "TEST"),
)
"""Entries of the decoder that say what is trained, scored or printed, beside all `..._WEIGHT` and `TOP_..._LAYERS`."""


class _Section:
    """A part of an official file whose entries are crossed off one by one."""

    def __init__(self, content: Any, where: str) -> None:
        if not isinstance(content, Mapping):
            raise PromptsegError(f"{where} is {content!r}, expected a section of an official configuration")
        self._left, self._where = dict(content), where

    def part(self, name: str) -> "_Section":
        """A section inside this one."""
        return _Section(self.take(name), f"{self._where}.{name}")

    def take(self, name: str, default: Any = None) -> Any:
        """An entry; one without a default must be there."""
        if name not in self._left and default is None:
            raise PromptsegError(f"{self._where} lacks {name}: give a complete official configuration")
        return self._left.pop(name, default)

    def stages(self, name: str) -> tuple[int, ...]:
        """An entry that is a list of whole numbers, one for each stage."""
        value = self.take(name)
        if not isinstance(value, list | tuple) or not all(type(number) is int for number in value):
            raise PromptsegError(f"{self._where}.{name} is {value!r}, expected a whole number for each stage")
        return tuple(value)

    def must_be(self, **wanted: Any) -> None:
        """Refuse entries with other values than these; those that are left out have them by default."""
        for name, value in wanted.items():
            found = self._left.pop(name, value)
            if found != value:
                raise PromptsegError(f"{self._where}.{name} is {found!r}: this package computes {value!r} only")

    def skip(self, names: Iterable[str]) -> None:
        """Cross off entries that have no part in the answers."""
        for name in names:
            self._left.pop(name, None)

    def finish(self) -> None:
        """Refuse what is left."""
        for name, value in self._left.items():
            raise PromptsegError(
                f"{self._where}.{name} ({value!r}) is not known to this package: it may shape the network, so the"
                " weights cannot be read; leave it out if it does not"
            )

    def left(self) -> tuple[str, ...]:
        """Names of entries that are not crossed off."""
        return tuple(self._left)


def read_official_file(path: Path, vocab: int) -> SeemConfig:
    """Our config for an official configuration file (YAML or JSON).

    Args:
        path: the file.
        vocab: tokens of the text encoder; only the weights say how many.

    Raises:
        PromptsegError: the file cannot be read, or as `read_official`.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PromptsegError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise PromptsegError(f"{path}: cannot be read as YAML ({' '.join(str(error).split())})") from None
    try:
        return read_official(content, vocab)
    except PromptsegError as error:
        raise PromptsegError(f"{path}: {error}") from None


def read_official(content: Any, vocab: int) -> SeemConfig:
    """Our config for the content of an official configuration file.

    Raises:
        PromptsegError: an entry is missing, has a value that this package does not compute, or is not known.
    """
    whole = _Section(content, "configuration")
    model, decoder_rows = whole.part("MODEL"), _Section(whole.take("ATTENTION_ARCH", {}), "ATTENTION_ARCH")
    _Section(whole.take("INPUT", {}), "INPUT").must_be(PIXEL_MEAN=list(PIXEL_MEAN), PIXEL_STD=list(PIXEL_STD))
    encoder, decoder = model.part("ENCODER"), model.part("DECODER")
    variant = _named(_VARIANTS, decoder.take("NAME"), "MODEL.DECODER.NAME")
    backbone, hidden_dim = _backbone(model.part("BACKBONE")), decoder.take("HIDDEN_DIM")
    config = SeemConfig(
        backbone=backbone,
        text=_text(model.part("TEXT"), vocab),
        pixel_decoder=_named(_PIXEL_DECODERS, encoder.take("NAME"), "MODEL.ENCODER.NAME"),
        hidden_dim=hidden_dim,
        mask_dim=encoder.take("MASK_DIM"),
        text_dim=model.take("DIM_PROJ"),
        num_queries=decoder.take("NUM_OBJECT_QUERIES"),
        heads=decoder.take("NHEADS"),
        ffn_dim=decoder.take("DIM_FEEDFORWARD"),
        encoder_layers=encoder.take("TRANSFORMER_ENC_LAYERS"),
        decoder_layers=decoder.take("DEC_LAYERS") - 1,
        spatial_memories=decoder_rows.take("SPATIAL_MEMORIES", 32),
        queries_per_candidate=decoder_rows.take("QUERY_NUMBER", 3),
        max_points=decoder.take("MAX_SPATIAL_LEN", [512])[0],
        num_classes=encoder.take("NUM_CLASSES"),
        size_divisor=decoder.take("SIZE_DIVISIBILITY"),
        variant=variant,
    )
    encoder.must_be(CONVS_DIM=hidden_dim, NORM="GN", COMMON_STRIDE=4, IN_FEATURES=_MAPS)
    encoder.must_be(DEFORMABLE_TRANSFORMER_ENCODER_IN_FEATURES=_MAPS[1:])
    encoder.skip(("IGNORE_VALUE", "LOSS_WEIGHT"))
    decoder.must_be(PRE_NORM=False, ENFORCE_INPUT_PROJ=False, DETECTION=False)
    decoder.must_be(TRANSFORMER_IN_FEATURE="multi_scale_pixel_decoder")
    decoder.skip(_DECODER_TRAINING)
    decoder.skip(name for name in decoder.left() if name.endswith("_WEIGHT") or name.startswith(("TOP_", "COST_")))
    model.must_be(HEAD="xdecoder_head", BACKBONE_DIM=backbone.channels[-1])
    model.skip(("NAME", "MASK_ON", "KEYPOINT_ON", "LOAD_PROPOSALS", "LOSS"))
    _check_attention(decoder_rows, variant)
    for section in (encoder, decoder, decoder_rows, model):
        section.finish()
    return config


def _named(choices: Mapping[str, Any], name: Any, where: str) -> Any:
    if name not in choices:
        raise unknown_name(where, str(name), choices)
    return choices[name]


def _text(text: _Section, vocab: int) -> TextConfig:
    text.must_be(ARCH="vlpencoder", NAME="transformer", TOKENIZER="clip", AUTOGRESSIVE=True)
    config = TextConfig(
        width=text.take("WIDTH"),
        heads=text.take("HEADS"),
        layers=text.take("LAYERS"),
        context=text.take("CONTEXT_LENGTH"),
        vocab=vocab,
    )
    text.finish()
    return config


def _backbone(section: _Section) -> BackboneConfig:
    name = section.take("NAME")
    section.skip(("PRETRAINED", "LOAD_PRETRAINED", "PRETRAINED_LAYERS"))
    own = section.part(_named(_BACKBONES, name, "backbone MODEL.BACKBONE.NAME"))
    own.must_be(OUT_FEATURES=_MAPS, OUT_INDICES=[0, 1, 2, 3])
    own.skip(_TRAINING)
    config = _davit(name, own) if name == "davit" else _focal(name, own)
    own.finish()
    section.finish()
    return config


def _focal(kind: str, focal: _Section) -> FocalConfig:
    focal.must_be(PATCH_SIZE=4, PATCH_NORM=True, USE_CONV_EMBED=True, SCALING_MODULATOR=True)
    focal.must_be(USE_POSTLN=True, USE_POSTLN_IN_MODULATION=False, USE_LAYERSCALE=True)
    return FocalConfig(
        kind=kind,
        embed_dim=focal.take("EMBED_DIM"),
        depths=focal.stages("DEPTHS"),
        focal_levels=focal.stages("FOCAL_LEVELS"),
        focal_windows=focal.stages("FOCAL_WINDOWS"),
        mlp_ratio=float(focal.take("MLP_RATIO", 4.0)),
    )


def _davit(kind: str, davit: _Section) -> DavitConfig:
    davit.must_be(PATCH_STRIDE=list(STRIDES), PATCH_PRENORM=[False, True, True, True], QKV_BIAS=True)
    return DavitConfig(
        kind=kind,
        dims=davit.stages("DIM_EMBED"),
        depths=davit.stages("DEPTHS"),
        heads=davit.stages("NUM_HEADS"),
        groups=davit.stages("NUM_GROUPS"),
        kernels=davit.stages("PATCH_SIZE"),
        paddings=davit.stages("PATCH_PADDING"),
        window=davit.take("WINDOW_SIZE", 7),
        mlp_ratio=float(davit.take("MLP_RATIO", 4.0)),
    )


def _check_attention(rows: _Section, variant: Variant) -> None:
    """Refuse a table of who sees whom, or of who looks at the image, that is not the variant's own."""
    if variant is X_DECODER:
        return
    assert variant.sees_whom is not None, f"official files name no {CLASSES_ONLY.name}"
    seen = {
        _GROUPS.get(f"{kind}_{group}"): {_GROUPS[other] for other in others if other in _GROUPS}
        for kind, groups in rows.take("SELF_ATTENTION").items()
        for group, others in groups.items()
    }
    for name in {*seen, *variant.sees_whom} - {None}:
        theirs, ours = seen.get(name, set()), set(variant.sees_whom.get(str(name), ()))
        if theirs != ours:
            raise PromptsegError(
                f"ATTENTION_ARCH.SELF_ATTENTION lets {name} see {', '.join(sorted(theirs)) or 'nothing'}: in"
                f" {variant.name} they see {', '.join(sorted(ours)) or 'nothing'}"
            )
    looking = rows.take("CROSS_ATTENTION")
    for kind, groups in looking.items():
        for group, looks in groups.items():
            if looks != (kind != "tokens"):
                raise PromptsegError(f"ATTENTION_ARCH.CROSS_ATTENTION.{kind}.{group} is {looks}: this package differs")
    rows.must_be(DUPLICATION={"queries": {"grounding": "queries_object", "spatial": "queries_object"}})
    rows.skip(("VARIABLE", "MASKING"))
