"""Golden files: outputs of the official code for small models, found and loaded for the tests.

They are looked for in the folders of the environment variable PROMPTSEG_GOLDEN (separated as in
PATH) or else in shared/seem/golden beside the repository, and always in tests/golden/seem.
"""

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from places import GOLDEN, SHARED
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import pad

from promptseg.files import read_json
from promptseg.models.seem.backbones.common import PIXEL_MEAN, PIXEL_STD
from promptseg.models.seem.files.official import read_official
from promptseg.models.seem.network.seem_network import SeemNetwork

_OWN = GOLDEN / "seem"
_SHARED = SHARED / "seem/golden"


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
    vocab = len(tensors["sem_seg_head.predictor.lang_encoder.lang_encoder.token_embedding.weight"])
    network = SeemNetwork(read_official(record["config"], vocab))
    network.load_state_dict(tensors)
    return network.eval().requires_grad_(False), record


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
