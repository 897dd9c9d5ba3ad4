"""Resizing of masks, semantic map, panoptic and instance inference on masks drawn by hand."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from promptseg.data.sample import Segment
from promptseg.models.base import Prediction
from promptseg.tasks.instance import instance_inference
from promptseg.tasks.masks import masks_at, resize_bilinear, semantic_map
from promptseg.tasks.panoptic import panoptic_inference

INK = {"#": 4.0, "+": float(np.log(3)), "~": -1.0, ".": -4.0}  # "+" has a sigmoid of 3/4
THING, STUFF, OTHER = 0, 1, 2


def draw(*rows: str) -> Tensor:
    """Mask logits (H, W) of a drawing."""
    return torch.tensor([[INK[ink] for ink in row] for row in rows])


def class_logits(*rows: tuple[float, ...]) -> Tensor:
    """Logits whose softmax is the given probabilities."""
    return torch.tensor(rows).log()


def sure(class_id: int, probability: float) -> tuple[float, ...]:
    """Probabilities of three classes and background; what is left is shared by the others."""
    rest = (1 - probability) / 3
    return tuple(probability if column == class_id else rest for column in range(4))


def one_image(mask_logits: Tensor, canvas: tuple[int, int], image: tuple[int, int]) -> Prediction:
    """A prediction of mask logits (N, h, w) for a single image."""
    return Prediction(torch.zeros(1, len(mask_logits), 2), mask_logits[None], canvas, (image,))


def test_masks_at_the_canvas_size_interpolate_between_pixel_centres() -> None:
    ramp = torch.arange(4.0).expand(1, 2, 4)
    on_canvas = masks_at(one_image(ramp, (4, 8), (4, 8)), 0, (4, 8))
    expected = torch.tensor([0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]).expand(1, 4, 8)
    torch.testing.assert_close(on_canvas, expected)


def test_masks_at_the_image_size_is_a_crop_of_the_canvas() -> None:
    ramp = torch.arange(4.0).expand(1, 2, 4)
    cropped = masks_at(one_image(ramp, (4, 8), (3, 5)), 0, (3, 5))
    torch.testing.assert_close(cropped, torch.tensor([0, 0.25, 0.75, 1.25, 1.75]).expand(1, 3, 5))


def test_masks_at_takes_the_asked_image_and_its_own_size() -> None:
    maps = torch.stack([torch.zeros(1, 4, 4), torch.ones(1, 4, 4)])
    batch = Prediction(torch.zeros(2, 1, 2), maps, (4, 4), ((4, 4), (2, 3)))
    assert torch.equal(masks_at(batch, 1, (2, 3)), torch.ones(1, 2, 3))
    assert torch.equal(masks_at(batch, 0, (4, 4)), torch.zeros(1, 4, 4))


@pytest.mark.parametrize("size", [(5, 7), (31, 40), (12, 33), (20, 9)])
def test_masks_at_another_size_equals_pillows_bicubic(size: tuple[int, int]) -> None:
    logits = torch.randn(1, 16, 24, generator=torch.Generator().manual_seed(0))
    resized = masks_at(one_image(logits, (16, 24), (12, 20)), 0, size)
    image = Image.fromarray(logits[0, :12, :20].numpy())
    expected = np.asarray(image.resize((size[1], size[0]), Image.Resampling.BICUBIC))
    np.testing.assert_allclose(resized[0].numpy(), expected, atol=1e-5)


def test_padding_does_not_reach_the_output() -> None:
    logits = torch.zeros(1, 8, 8)
    logits[:, 6:] = logits[:, :, 5:] = 1e6
    assert torch.equal(masks_at(one_image(logits, (8, 8), (6, 5)), 0, (11, 3)), torch.zeros(1, 11, 3))


def test_semantic_map_by_hand() -> None:
    left, right = draw("++..", "++..", "++..", "++.."), draw("..++", "..++", "..++", "..++")
    masks = torch.stack([left, right]).where(torch.stack([left, right]) > 0, -INK["+"])  # 3/4 inside, 1/4 outside
    scores = semantic_map(class_logits((0.5, 0.25, 0.25), (0.1, 0.8, 0.1)), masks)
    assert scores.shape == (2, 4, 4)
    row = torch.tensor([[0.4, 0.4, 0.2, 0.2], [0.3875, 0.3875, 0.6625, 0.6625]])
    torch.testing.assert_close(scores, row[:, None].expand(2, 4, 4))


def test_semantic_map_of_a_batch_is_that_of_its_images() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, masks = torch.randn(2, 5, 4, generator=generator), torch.randn(2, 5, 3, 6, generator=generator)
    batch = semantic_map(logits, masks)
    for index in range(2):
        torch.testing.assert_close(batch[index], semantic_map(logits[index], masks[index]))


def test_gradients_equal_finite_differences() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 4, dtype=torch.float64, generator=generator).requires_grad_()
    masks = torch.randn(3, 4, 4, dtype=torch.float64, generator=generator).requires_grad_()
    assert torch.autograd.gradcheck(semantic_map, (logits, masks))
    assert torch.autograd.gradcheck(lambda m: masks_at(one_image(m, (8, 8), (7, 6)), 0, (5, 9)), (masks,))


def test_things_stay_apart_and_stuff_is_joined() -> None:
    rows = (sure(THING, 0.9), sure(STUFF, 0.9), sure(THING, 0.9), sure(STUFF, 0.9))
    corners = (
        draw("##..", "##..", "....", "...."),
        draw("..##", "..##", "....", "...."),
        draw("....", "....", "##..", "##.."),
        draw("....", "....", "..##", "..##"),
    )
    labels = panoptic_inference(class_logits(*rows), torch.stack(corners), thing_ids=(THING,))
    assert labels.map.tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 2, 2], [3, 3, 2, 2]]
    assert labels.map.dtype == np.int32
    assert labels.segments == (Segment(1, THING), Segment(2, STUFF), Segment(3, THING))


def test_unsure_and_background_queries_claim_nothing() -> None:
    rows = (sure(THING, 0.79), sure(3, 0.99), sure(OTHER, 0.81))
    masks = torch.stack([draw("####", "....", "....", "....")] * 2 + [draw("##..", "##..", "....", "....")])
    labels = panoptic_inference(class_logits(*rows), masks, thing_ids=(THING,))
    assert labels.map.tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert labels.segments == (Segment(1, OTHER),)


def test_the_object_threshold_itself_is_too_low() -> None:
    half = torch.tensor([[0.0, 0.0, -torch.inf]])  # exactly one half each
    mask = draw("####", "####", "####", "####")[None]
    assert panoptic_inference(half, mask, (), object_threshold=0.5).segments == ()
    assert panoptic_inference(half, mask, (), object_threshold=0.49).segments == (Segment(1, 0),)


def test_no_query_left_is_an_empty_map() -> None:
    labels = panoptic_inference(class_logits(sure(3, 0.99)), draw("####", "####", "####", "####")[None], (THING,))
    assert labels.map.shape == (4, 4) and labels.map.dtype == np.int32 and not labels.map.any()
    assert labels.segments == ()


def test_a_mostly_covered_query_leaves_its_pixels_unassigned() -> None:
    rows = class_logits(sure(THING, 0.9), sure(OTHER, 0.95))
    masks = torch.stack([draw("####", "####", "....", "...."), draw("####", "....", "....", "....")])
    strict = panoptic_inference(rows, masks, (THING,))
    assert strict.map.tolist() == [[1] * 4, [0] * 4, [0] * 4, [0] * 4]
    assert strict.segments == (Segment(1, OTHER),)
    half = panoptic_inference(rows, masks, (THING,), overlap_threshold=0.5)
    assert half.map.tolist() == [[2] * 4, [1] * 4, [0] * 4, [0] * 4]
    assert half.segments == (Segment(1, THING), Segment(2, OTHER))


def test_pixels_won_outside_the_own_mask_count_but_are_not_assigned() -> None:
    rows = class_logits(sure(THING, 0.9), sure(OTHER, 0.95))
    masks = torch.stack([draw("####", "####", "~~~~", "...."), draw("####", "....", "....", "....")])
    labels = panoptic_inference(rows, masks, (THING,))  # won 8 of 8, of them 4 inside
    assert labels.map.tolist() == [[2] * 4, [1] * 4, [0] * 4, [0] * 4]


def test_a_query_that_wins_only_outside_its_mask_is_no_segment() -> None:
    rows = class_logits(sure(THING, 0.9), sure(OTHER, 0.95))
    masks = torch.stack([draw("####", "~~~~", "~~~~", "~~~~"), draw("####", "....", "....", "....")])
    labels = panoptic_inference(rows, masks, (THING,))
    assert labels.map.tolist() == [[1] * 4, [0] * 4, [0] * 4, [0] * 4]
    assert labels.segments == (Segment(1, OTHER),)


def test_instances_by_hand() -> None:
    rows = class_logits((0.6, 0.3, 0.1), (0.2, 0.7, 0.1))
    masks = torch.stack([draw("++..", "++..", "....", "...."), draw("....", "....", "####", "....")])
    found = instance_inference(rows, masks, thing_ids=None)
    full = 1 / (1 + np.exp(-4))
    assert found.class_ids.tolist() == [1, 0, 1, 0]
    expected = [0.7 * full, 0.6 * 0.75, 0.3 * 0.75, 0.2 * full]
    np.testing.assert_allclose(found.scores.numpy(), expected, rtol=2e-6)
    assert torch.equal(found.masks, masks[[1, 0, 0, 1]] > 0)


def test_stuff_is_dropped_after_the_best_detections_were_taken() -> None:
    rows = class_logits((0.6, 0.3, 0.1), (0.2, 0.7, 0.1))
    masks = torch.stack([draw("++..", "++..", "....", "...."), draw("....", "....", "####", "....")])
    assert instance_inference(rows, masks, thing_ids=(0,), max_detections=2).class_ids.tolist() == [0]
    assert instance_inference(rows, masks, thing_ids=(0,), max_detections=1).masks.shape == (0, 4, 4)
    assert len(instance_inference(rows, masks, thing_ids=())) == 0


def test_an_empty_mask_scores_zero_and_comes_last() -> None:
    rows = class_logits((0.9, 0.1), (0.6, 0.4))
    masks = torch.stack([draw("....", "....", "....", "...."), draw("+...", "....", "....", "....")])
    found = instance_inference(rows, masks, thing_ids=(0,))
    assert found.scores[1] == 0 and found.scores[0] > 0.44
    assert found.masks.sum((1, 2)).tolist() == [1, 0]


def test_a_logit_of_zero_is_inside_a_panoptic_mask_and_outside_an_instance() -> None:
    row, mask = class_logits((0.9, 0.1)), torch.tensor([[[2.0, 0.0, -0.01]]])
    assert panoptic_inference(row, mask, (0,)).map.tolist() == [[1, 1, 0]]
    assert instance_inference(row, mask, None).masks.tolist() == [[[True, False, False]]]


def test_equally_likely_detections_are_taken_in_query_order() -> None:
    masks = torch.stack([draw("#...", "...."), draw(".#..", "...."), draw("..#.", "....")])
    found = instance_inference(torch.zeros(3, 3), masks, None, max_detections=3)
    assert found.class_ids.tolist() == [0, 1, 0]
    assert torch.equal(found.masks, masks[[0, 0, 1]] > 0)


@pytest.mark.parametrize(("old", "new"), [((5, 7), (20, 28)), ((6, 9), (13, 31)), ((8, 8), (5, 3)), ((4, 6), (4, 6))])
def test_bilinear_resize_equals_that_of_torch(old: tuple[int, int], new: tuple[int, int]) -> None:
    maps = torch.randn(2, 3, *old, dtype=torch.float64, requires_grad=True)
    expected = torch.nn.functional.interpolate(maps, new, mode="bilinear", align_corners=False)
    weights = torch.randn_like(expected)
    resized = resize_bilinear(maps, new)
    assert torch.allclose(resized, expected, atol=1e-12)
    gradients = [torch.autograd.grad((answer * weights).sum(), maps)[0] for answer in (resized, expected)]
    assert torch.allclose(*gradients, atol=1e-12)
