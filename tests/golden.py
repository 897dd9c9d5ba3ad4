"""Golden files: outputs of the official code for small models, found and loaded for the tests.

They are looked for in the folders of the environment variable PROMPTSEG_GOLDEN (separated as in
PATH) or else in shared/seem/golden beside the repository, and always in tests/data/golden.
"""

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import pad

from promptseg.files import read_json
from promptseg.models.seem.backbone_config import BackboneConfig, DavitConfig, FocalConfig
from promptseg.models.seem.config import PIXEL_MEAN, PIXEL_STD, SeemConfig, TextConfig
from promptseg.models.seem.network import SeemNetwork

_ROOT = Path(__file__).resolve().parents[1]
_OWN = _ROOT / "tests/data/golden"
_SHARED = _ROOT.parent / "shared/seem/golden"
_DECODERS = {
    "seem_v1": {"prompting": "candidates"},
    "seem_v0": {"prompting": "copies"},
    "seem_demo": {"prompting": "shared"},
    "xdecoder": {"family": "x-decoder", "prompting": "choose"},
}
"""Our names for the official decoders."""
_PIXEL_DECODERS = {"transformer_encoder_fpn": "fpn", "transformer_encoder_deform": "deformable"}


@dataclass(frozen=True)
class GoldenCase:
    """One case: its tensors by name, its record, and the folder and name of its model's weights."""

    name: str
    tensors: dict[str, Tensor]
    record: dict[str, Any]
    folder: Path

    def network(self) -> tuple[SeemNetwork, dict[str, Any]]:
        """The network with the official weights, and the record beside them."""
        return golden_network(self.folder / self.record["model_weights"])


def golden_folders() -> list[Path]:
    """Folders to look in, the given ones first.

    Raises:
        FileNotFoundError: a folder named in PROMPTSEG_GOLDEN does not exist.
    """
    named = os.environ.get("PROMPTSEG_GOLDEN")
    if named:
        folders = [Path(part) for part in named.split(os.pathsep)]
        for folder in folders:
            if not folder.is_dir():
                raise FileNotFoundError(f"PROMPTSEG_GOLDEN names {folder}, which is not a folder")
        return [*folders, _OWN]
    return [folder for folder in (_SHARED, _OWN) if folder.is_dir()]


def golden_cases(pattern: str) -> list[Path]:
    """Case files `<pattern>.safetensors` of all folders, each name once."""
    found: dict[str, Path] = {}
    for folder in golden_folders():
        for path in sorted(folder.glob(f"{pattern}.safetensors")):
            found.setdefault(path.name, path)
    return list(found.values())


def load_case(path: Path) -> GoldenCase:
    """Read one case."""
    return GoldenCase(path.stem, load_file(path), read_json(path.with_suffix(".json")), path.parent)


@cache
def golden_network(weights: Path) -> tuple[SeemNetwork, dict[str, Any]]:
    """The network of a golden weights file, in evaluation mode, and the record beside the file."""
    record = read_json(weights.with_suffix(".json"))
    tensors = load_file(weights)
    network = SeemNetwork(seem_config_from_official(record["config"], tensors))
    network.load_state_dict(tensors)
    return network.eval().requires_grad_(False), record


def seem_config_from_official(official: dict[str, Any], weights: dict[str, Tensor]) -> SeemConfig:
    """Our config for an official one; the size of the vocabulary is only in the weights."""
    model, parts = official["MODEL"], official.get("ATTENTION_ARCH", {})
    encoder, decoder = model["ENCODER"], model["DECODER"]
    text = model["TEXT"]
    vocab = weights["sem_seg_head.predictor.lang_encoder.lang_encoder.token_embedding.weight"].shape[0]
    return SeemConfig(
        backbone=_backbone_from_official(model["BACKBONE"]),
        text=TextConfig(text["WIDTH"], text["HEADS"], text["LAYERS"], text["CONTEXT_LENGTH"], vocab),
        pixel_decoder=_PIXEL_DECODERS[encoder["NAME"]],
        hidden_dim=decoder["HIDDEN_DIM"],
        mask_dim=encoder["MASK_DIM"],
        text_dim=model["DIM_PROJ"],
        num_queries=decoder["NUM_OBJECT_QUERIES"],
        heads=decoder["NHEADS"],
        ffn_dim=decoder["DIM_FEEDFORWARD"],
        encoder_layers=encoder["TRANSFORMER_ENC_LAYERS"],
        decoder_layers=decoder["DEC_LAYERS"] - 1,
        spatial_memories=parts.get("SPATIAL_MEMORIES", 32),
        queries_per_candidate=parts.get("QUERY_NUMBER", 3),
        max_points=decoder.get("MAX_SPATIAL_LEN", [512])[0],
        num_classes=encoder["NUM_CLASSES"],
        size_divisor=decoder["SIZE_DIVISIBILITY"],
        **_DECODERS[decoder["NAME"]],
    )


def _backbone_from_official(official: dict[str, Any]) -> BackboneConfig:
    if official["NAME"] == "davit":
        davit = official["DAVIT"]
        names = ("DIM_EMBED", "DEPTHS", "NUM_HEADS", "NUM_GROUPS", "PATCH_SIZE")
        return DavitConfig("davit", *(tuple(davit[name]) for name in names))
    focal = official["FOCAL"]
    return FocalConfig(official["NAME"], focal["EMBED_DIM"], tuple(focal["DEPTHS"]), focal["FOCAL_LEVELS"][0])


def canvas(case: GoldenCase, divisor: int = 32) -> Tensor:
    """The case's images as the backbone takes them: normalised, then padded with 0 at right and bottom."""
    count = len(case.record["image_sizes_hw"])
    images = [case.tensors[f"input/{i}/image"] for i in range(count)]
    height, width = (-(-max(image.shape[axis] for image in images) // divisor) * divisor for axis in (1, 2))
    mean, std = (torch.tensor(values)[:, None, None] for values in (PIXEL_MEAN, PIXEL_STD))
    normal = [(image - mean) / std for image in images]
    return torch.stack([pad(image, (0, width - image.shape[2], 0, height - image.shape[1])) for image in normal])


def error(actual: Tensor, expected: Tensor) -> float:
    """Largest absolute difference, relative to the larger of 1 and the largest value expected."""
    assert actual.shape == expected.shape, f"shape {tuple(actual.shape)}, expected {tuple(expected.shape)}"
    assert torch.isfinite(actual).all()
    return float((actual - expected).abs().max() / expected.abs().max().clamp(min=1.0))
