"""What prompts have learned: which words they came near, how far they moved, and where in a photo they look."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from promptseg.assets import WORDS_FILE
from promptseg.data.formats.cityscapes import CITYSCAPES_19
from promptseg.data.formats.classes_json import packaged
from promptseg.engine.defaults import default_prompts
from promptseg.engine.evaluate import input_short_side
from promptseg.features.encode import image_tensor
from promptseg.models.adapted import adapted
from promptseg.models.base import PromptableSegmenter
from promptseg.models.capabilities import dense_maps
from promptseg.models.evidence import EMBEDDING, TRUST, has_pixel_prompts
from promptseg.prompts import Prompts
from promptseg.tasks.masks import image_evidence

Near = tuple[tuple[str, float], ...]
"""Names with their cosine, nearest first."""


@dataclass(frozen=True)
class ClassChange:
    """One semantic prompt, before and after.

    Attributes:
        name: of the class.
        cosine: between its default and what it is now.
        default_share: 1 - w, or none if nothing was fused.
        words: nearest words, before and after.
        classes: nearest default prompts of the classes, before and after.
    """

    name: str
    cosine: float
    default_share: float | None
    words: tuple[Near, Near]
    classes: tuple[Near, Near]


@dataclass(frozen=True)
class PixelReading:
    """The pixel prompt of one class.

    Attributes:
        name: of the class.
        trust: in the model's own answer, 1 as it is.
        lengths: of the part of the embedding over each dense map, by the map's name.
    """

    name: str
    trust: float
    lengths: Mapping[str, float]


def pixel_readings(model: PromptableSegmenter, prompts: Prompts) -> list[PixelReading]:
    """Every class's pixel prompt, in the order of the classes; empty where the prompts have none."""
    if not has_pixel_prompts(prompts):
        return []
    specs = dense_maps(model).dense_map_specs
    parts = prompts.kinds[EMBEDDING].split([spec.dim for spec in specs], dim=1)
    columns = {spec.name: torch.linalg.vector_norm(part, dim=1) for spec, part in zip(specs, parts, strict=True)}
    return [
        PixelReading(name, prompts.kinds[TRUST][i].item(), {one: column[i].item() for one, column in columns.items()})
        for i, name in enumerate(prompts.class_names)
    ]


@torch.no_grad()
def evidence_maps(model: PromptableSegmenter, prompts: Prompts, photo: NDArray[np.uint8]) -> Tensor:
    """What pixel prompts alone say of a photo (H, W, 3): softmax of their evidence over the classes, (C, h, w)."""
    used = adapted(model, prompts.to(model.device))
    features = used.encoder.encode_image([image_tensor(model, photo, input_short_side(prompts))])
    return image_evidence(used.decoder.decode(features, used.prompts), 0).softmax(0).float().cpu()


def starting_prompts(model: PromptableSegmenter, prompts: Prompts) -> Prompts:
    """The default prompts that `prompts` were learned from: same classes, spatial prompts and templates."""
    settings = None if prompts.record is None else prompts.record.settings
    spatial, templates = (settings.spatial, settings.templates) if settings else (None, None)
    return default_prompts(model, prompts.label_space, spatial, templates).detached()


def vocabulary() -> tuple[str, ...]:
    """A few hundred words of streets and rooms, and the class names of label spaces that this package lists."""
    spaces = (CITYSCAPES_19, packaged("ade20k")[0], packaged("pascal_context")[0])
    words = WORDS_FILE.read_text(encoding="utf-8").splitlines()
    return tuple(dict.fromkeys((*words, *(name for space in spaces for name in space.names))))


@torch.no_grad()
def class_changes(
    model: PromptableSegmenter, prompts: Prompts, before: Prompts, words: Sequence[str], count: int = 5
) -> list[ClassChange]:
    """Every class with the `count` nearest words and the 3 nearest classes of its prompt; most moved first.

    Args:
        model: its text encoder places the words, in the template of the prompts.
        prompts: what was learned.
        before: what it started from.
        words: what to look among.
        count: of words.
    """
    templates = None if prompts.record is None else prompts.record.settings.templates
    places = model.encode_text(list(words), templates).detach().float().cpu()
    sides = (before.rows("class"), prompts.rows("class"))
    near_words = [_nearest(side, places, words, count) for side in sides]
    near_classes = [_nearest(side, sides[0], prompts.class_names, 3) for side in sides]
    cosines = F.cosine_similarity(sides[1], sides[0]).tolist()
    shares = prompts.default_share("class")
    changes = [
        ClassChange(
            name,
            cosines[i],
            None if shares is None else float(shares[i]),
            (near_words[0][i], near_words[1][i]),
            (near_classes[0][i], near_classes[1][i]),
        )
        for i, name in enumerate(prompts.class_names)
    ]
    return sorted(changes, key=lambda change: change.cosine)


def _nearest(prompts: Tensor, places: Tensor, names: Sequence[str], count: int) -> list[Near]:
    cosines = F.normalize(prompts, dim=-1) @ F.normalize(places, dim=-1).T
    best = cosines.topk(min(count, len(names)))
    return [
        tuple((names[i], value) for i, value in zip(row, values, strict=True))
        for row, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]


def relative_distances(prompts: Tensor, before: Tensor) -> list[float]:
    """How far each prompt (N, D) is from what it was, in lengths of what it was."""
    lengths = torch.linalg.vector_norm(before, dim=-1).clamp(min=1e-12)
    found: list[float] = (torch.linalg.vector_norm(prompts - before, dim=-1) / lengths).tolist()
    return found


@torch.no_grad()
def attention_maps(model: PromptableSegmenter, prompts: Prompts, photo: NDArray[np.uint8]) -> Tensor:
    """Where spatial prompts look in a photo (H, W, 3): (N, h, w) in 0..1, over the photo alone.

    In a decoder with masked attention a prompt attends inside the mask it predicts itself, so this is the sigmoid of
    its mask logits, at the decoder's own stride.
    """
    used = adapted(model, prompts.to(model.device))
    features = used.encoder.encode_image([image_tensor(model, photo, input_short_side(prompts))])
    prediction = used.decoder.decode(features, used.prompts)
    masks = prediction.mask_logits[0].sigmoid().float().cpu()
    height, width = (
        max(1, round(size * image / canvas))
        for size, image, canvas in zip(masks.shape[1:], prediction.image_sizes[0], prediction.canvas, strict=True)
    )
    return masks[:, :height, :width]
