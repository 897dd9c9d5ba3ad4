"""Post-processing against the stored outputs of the official code; every stored output is compared."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden import GoldenCase, golden_cases, load_case
from torch import Tensor

from promptseg.data.sample import PanopticLabels
from promptseg.files import read_json
from promptseg.models.base import Prediction, Size
from promptseg.tasks.instance import instance_inference
from promptseg.tasks.masks import masks_at, semantic_map
from promptseg.tasks.panoptic import panoptic_inference

SEGMENTATION = golden_cases("*__seg_*")


def crafted() -> GoldenCase:
    """The case without a model; a copy of it is kept in the repository."""
    return load_case(golden_cases("postproc__crafted")[0])


def compare(computed: dict[str, Tensor], stored: dict[str, Tensor]) -> None:
    """Names, shapes and values: integers equal, floats within 1e-5 of the largest."""
    assert computed.keys() == stored.keys()
    for name, expected in stored.items():
        actual = computed[name]
        assert actual.shape == expected.shape, name
        if expected.is_floating_point():
            limit = 1e-5 * expected.abs().amax() if expected.numel() else 0.0
            assert ((actual - expected).abs() <= limit).all(), name
        else:
            assert torch.equal(actual, expected.to(actual.dtype)), name


def instances(prefix: str, case: tuple[Tensor, Tensor], things: Collection[int] | None, top: int) -> dict[str, Tensor]:
    """Instances of (class logits, mask logits) under the stored names."""
    found = instance_inference(*case, things, top)
    return {f"{prefix}/scores": found.scores, f"{prefix}/classes": found.class_ids, f"{prefix}/masks": found.masks}


def official_segments(labels: PanopticLabels, things: Collection[int]) -> list[dict[str, Any]]:
    """Segments as the official code records them."""
    return [{"id": s.id, "isthing": s.class_id in things, "category_id": s.class_id} for s in labels.segments]


def resized(logits: Tensor, image: Size, size: Size) -> Tensor:
    """Mask logits (N, H, W) of the canvas, cropped to the image and brought to an output size."""
    canvas = (logits.shape[1], logits.shape[2])
    return masks_at(Prediction(torch.zeros(1, len(logits), 2), logits[None], canvas, (image,)), 0, size)


def test_crafted_masks() -> None:
    case = crafted()
    things = case.record["thing_class_indices"]
    given = (case.tensors["input/class_logits"], case.tensors["input/mask_logits"])
    computed = {"semantic": semantic_map(*given)}
    for name in ("panoptic/thr0.8", "panoptic/thr0.4"):
        record = case.record[name]
        labels = panoptic_inference(*given, things, record["object_mask_threshold"], record["overlap_threshold"])
        assert official_segments(labels, things) == record["segments_info"]
        assert labels.map.dtype == np.int32
        computed[f"{name}/segments_map"] = torch.from_numpy(labels.map)
    for top in (10, 40):
        computed |= instances(f"instances/panoptic_on_top{top}", given, things, top)
        computed |= instances(f"instances/panoptic_off_top{top}", given, None, top)
    canvas = case.tensors["resize/input"]
    sizes: tuple[tuple[Size, Size], ...] = (
        ((20, 33), (45, 80)),
        ((20, 33), (10, 15)),
        ((24, 36), (24, 36)),
        ((17, 36), (17, 50)),
    )
    for (h, w), (height, width) in sizes:
        computed[f"resize/crop{h}x{w}_to_{height}x{width}"] = resized(canvas, (h, w), (height, width))
    prediction = Prediction(torch.zeros(1, 3, 2), canvas[None], (96, 144), ((96, 144),))
    computed["resize/bilinear_24x36_to_96x144"] = masks_at(prediction, 0, (96, 144))
    inputs = {"input/class_logits", "input/mask_logits", "resize/input"}
    compare(computed, {name: tensor for name, tensor in case.tensors.items() if name not in inputs})


def last_head(case: GoldenCase) -> Prediction:
    """The prediction of the last decoder head, as it is stored."""
    last = max(int(name.split("/")[1]) for name in case.tensors if name.startswith("decoder/"))
    logits, masks = case.tensors[f"decoder/{last}/logits"], case.tensors[f"decoder/{last}/masks"]
    height, width = case.tensors["stage/padded_normalized_image"].shape[-2:]
    sizes = tuple((h, w) for h, w in case.record["image_sizes_hw"])
    upsampling = "bicubic" if case.name.startswith("xdecoder") else "bilinear"
    return Prediction(logits, masks, (height, width), sizes, upsampling)


@pytest.mark.parametrize("path", SEGMENTATION, ids=lambda path: path.stem)
def test_final_outputs_of_the_last_head(path: Path) -> None:
    case = load_case(path)
    model = read_json((case.folder / case.record["model_weights"]).with_suffix(".json"))
    things, test = model["thing_class_indices"], model["config"]["MODEL"]["DECODER"]["TEST"]
    prediction = last_head(case)
    computed = {}
    for index, (height, width) in enumerate(case.record["output_sizes_hw"]):
        given = (prediction.class_logits[index], masks_at(prediction, index, (height, width)))
        labels = panoptic_inference(*given, things, test["OBJECT_MASK_THRESHOLD"], test["OVERLAP_THRESHOLD"])
        assert official_segments(labels, things) == case.record["segments"][index]
        scores = semantic_map(*given)
        computed[f"final/{index}/sem_seg"] = scores
        computed[f"final/{index}/sem_seg_argmax"] = scores.argmax(0)
        computed[f"final/{index}/panoptic_seg"] = torch.from_numpy(labels.map)
        computed |= instances(f"final/{index}/instances", given, things, test["DETECTIONS_PER_IMAGE"])
    compare(computed, {name: tensor for name, tensor in case.tensors.items() if name.startswith("final/")})
