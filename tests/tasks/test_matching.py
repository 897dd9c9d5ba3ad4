"""Hungarian matching and its losses against brute force and plain formulas."""

from itertools import permutations

import pytest
import torch
from torch.nn import functional as F

from promptseg.tasks.matched_loss import Matching, MatchingWeights, Segments, dice_loss, match, matched_loss


def random_case(seed: int, n: int = 5, t: int = 3, classes: int = 4, pixels: int = 30):
    generator = torch.Generator().manual_seed(seed)
    target = Segments(
        torch.randint(classes, (t,), generator=generator), (torch.rand(t, pixels, generator=generator) > 0.6).float()
    )
    class_logits = torch.randn(n, classes + 1, generator=generator) * 2
    return class_logits, torch.randn(n, pixels, generator=generator) * 3, target


def pair_cost(class_logits, mask_logits, target, prediction: int, segment: int, weights: MatchingWeights) -> float:
    probability = class_logits[prediction].softmax(0)[target.classes[segment]]
    bce = F.binary_cross_entropy_with_logits(mask_logits[prediction], target.masks[segment])
    soft = mask_logits[prediction].sigmoid()
    dice = 1 - (2 * (soft * target.masks[segment]).sum() + 1) / (soft.sum() + target.masks[segment].sum() + 1)
    return float(-weights.classes * probability + weights.mask * bce + weights.dice * dice)


@pytest.mark.parametrize("seed", range(6))
def test_the_matching_is_the_cheapest_of_all(seed: int) -> None:
    class_logits, mask_logits, target = random_case(seed)
    weights = MatchingWeights()

    def total(choice: tuple[int, ...]) -> float:
        return sum(pair_cost(class_logits, mask_logits, target, p, s, weights) for s, p in enumerate(choice))

    best = min(permutations(range(5), 3), key=total)
    found = match(class_logits, mask_logits, target, weights)
    assert dict(zip(found.segments.tolist(), found.predictions.tolist(), strict=True)) == dict(enumerate(best))


def test_perfect_predictions_cost_almost_nothing_and_swapped_ones_a_lot() -> None:
    masks = torch.eye(2).repeat_interleave(50, dim=1)
    target = Segments(torch.tensor([0, 1]), masks)
    class_logits = 40 * torch.tensor([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]])
    mask_logits = torch.cat([masks * 80 - 40, torch.full((1, 100), -40.0)])
    order = torch.arange(2)
    weights = MatchingWeights()
    right = matched_loss(class_logits[None], [mask_logits[:2]], [target], [Matching(order, order)], weights)
    wrong = matched_loss(class_logits[None], [mask_logits[:2]], [target], [Matching(order, order.flip(0))], weights)
    assert right < 1e-6
    assert wrong > 50


def test_an_image_without_segments_teaches_background_only() -> None:
    class_logits = torch.zeros(1, 3, 3, requires_grad=True)
    mask_logits = torch.zeros(1, 3, 10, requires_grad=True)
    empty = Segments(torch.zeros(0, dtype=torch.long), torch.zeros(0, 10))
    matching = match(class_logits[0], mask_logits[0], empty, MatchingWeights())
    loss = matched_loss(class_logits, [mask_logits[0, matching.predictions]], [empty], [matching], MatchingWeights())
    assert loss.item() == pytest.approx(2 * torch.tensor(3.0).log().item())
    loss.backward()
    assert mask_logits.grad is None
    assert (class_logits.grad[..., :2] > 0).all()


def test_dice_loss_by_hand() -> None:
    assert dice_loss(torch.tensor([1.0, 1, 0, 0]), torch.tensor([1.0, 0, 0, 0])) == pytest.approx(1 - 3 / 4)
    assert dice_loss(torch.zeros(4), torch.zeros(4)) == pytest.approx(0)
