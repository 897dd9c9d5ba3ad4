"""The semantic loss and mIoU against plain formulas, hand-drawn maps and finite differences."""

import numpy as np
import pytest
import torch
from plain_way import map_cross_entropy, map_dice, plain_loss
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from promptseg.errors import PromptsegError
from promptseg.label_space import ClassInfo, LabelSpace
from promptseg.models.base import Prediction, Upsampling
from promptseg.tasks import semantic_loss
from promptseg.tasks.label_maps import label_map
from promptseg.tasks.masks import tiles
from promptseg.tasks.registry import build_task
from promptseg.tasks.semantic import MeanIoU, SemanticSettings, SemanticTask

SPACE = LabelSpace("abc", tuple(ClassInfo(name, (0, 0, 0)) for name in "abc"))


def test_cross_entropy_is_that_of_the_normalised_map() -> None:
    evidence = torch.rand(4, 5, 6) + 0.05
    target = torch.randint(4, (5, 6))
    target[0, :3] = 255
    share = evidence / evidence.sum(0)
    expected = F.nll_loss(share.log()[None], target[None], ignore_index=255)
    assert map_cross_entropy(evidence, target) == pytest.approx(expected.item(), rel=1e-5)


def test_a_map_without_labels_costs_nothing_and_has_a_gradient_of_zero() -> None:
    evidence = torch.rand(3, 4, 4, requires_grad=True)
    target = torch.full((4, 4), 255)
    loss = map_cross_entropy(evidence, target) + map_dice(evidence, target)
    loss.backward()
    assert loss == 0
    assert torch.equal(evidence.grad, torch.zeros(3, 4, 4))


def test_dice_counts_the_classes_present_and_no_ignored_pixel() -> None:
    evidence = torch.zeros(3, 1, 4)
    evidence[:, 0] = torch.tensor([[1.0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    target = torch.tensor([[0, 0, 1, 255]])
    assert map_dice(evidence, target) == pytest.approx(0, abs=1e-6)
    wrong = torch.tensor([[1, 1, 0, 255]])
    # class 0: no overlap, 2 predicted + 1 true; class 1: no overlap, 1 + 2; each smoothed by one
    assert map_dice(evidence, wrong) == pytest.approx(1 - 1 / 4, rel=1e-5)


@pytest.mark.parametrize("loss", ["cross-entropy", "cross-entropy+dice"])
def test_the_loss_gradient_agrees_with_finite_differences(loss: str) -> None:
    generator = torch.Generator().manual_seed(0)
    classes = torch.randn(2, 3, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    masks = torch.randn(2, 3, 2, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    targets = [torch.randint(3, size, generator=generator).to(torch.uint8) for size in ((7, 11), (8, 12))]
    targets[1][:2] = 255
    task = SemanticTask(SemanticSettings(loss))

    def value(class_logits: torch.Tensor, mask_logits: torch.Tensor) -> torch.Tensor:
        return task.loss(Prediction(class_logits, mask_logits, (8, 12), ((7, 11), (8, 12))), targets)

    assert torch.autograd.gradcheck(value, (classes, masks), eps=1e-6, atol=1e-6)


@pytest.mark.parametrize("dice", [False, True])
@pytest.mark.parametrize("stride", [1, 4])
@pytest.mark.parametrize("tile_values", [100, 3000, 2**20])
def test_the_loss_by_tiles_is_the_plain_one(
    dice: bool, stride: int, tile_values: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(semantic_loss.TILE_VALUES, "cpu", tile_values)
    generator = torch.Generator().manual_seed(1)
    classes = torch.randn(3, 7, 13, generator=generator, requires_grad=True)
    masks = (3 * torch.randn(3, 7, 16, 24, generator=generator)).requires_grad_()
    sizes = (64, 96), (50, 96), (64, 61)
    targets = [torch.randint(9, size, generator=generator).to(torch.uint8) for size in sizes]
    targets[0][:20], targets[1][:] = 255, 255
    prediction = Prediction(classes, masks, (64, 96), sizes)
    task = SemanticTask(SemanticSettings("cross-entropy+dice" if dice else "cross-entropy"))
    losses = [task.loss(prediction, targets, stride), plain_loss(prediction, targets, dice, stride)]
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-5)
    gradients = [torch.autograd.grad(3 * loss, (classes, masks)) for loss in losses]
    for found, expected in zip(*gradients, strict=True):
        assert (found - expected).abs().max() < 1e-4 * expected.abs().max()


@pytest.mark.parametrize("size", [(8, 12), (32, 48), (27, 50)])
def test_tiles_enlarge_as_a_resize_of_the_whole_does(size: tuple[int, int]) -> None:
    maps = torch.randn(1, 3, 8, 12)
    whole = F.interpolate(maps, size, mode="bicubic", align_corners=False, antialias=True)
    for tile in tiles(maps, size, 200, "bicubic"):
        part = whole[..., tile.rows, tile.columns].flatten(2)
        assert torch.allclose(tile.enlarge(maps), part, atol=1e-5)


def test_the_loss_needs_memory_for_a_tile_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """No tensor along the way is larger than a tile or what came in."""
    monkeypatch.setitem(semantic_loss.TILE_VALUES, "cpu", 4096)
    classes, masks = torch.randn(1, 6, 200, requires_grad=True), torch.randn(1, 6, 64, 128, requires_grad=True)
    labels = torch.arange(199, dtype=torch.uint8).repeat(1000)[: 256 * 512].view(1, 256, 512)
    largest = 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            result = function(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                largest = max(largest, result.numel())
            return result

    with Watch():
        semantic_loss.semantic_loss(classes, masks, labels, dice=True).backward()
    assert 5 * largest < 6 * 256 * 512


def test_the_padding_of_the_canvas_has_no_say() -> None:
    task = SemanticTask()
    masks = torch.randn(1, 3, 8, 12)
    changed = masks.clone()
    changed[..., 6:, :] += 5
    target = [torch.randint(3, (5, 12))]
    losses = [
        task.loss(Prediction(torch.ones(1, 3, 4), m, (8, 12), ((5, 12),)), target).item() for m in (masks, changed)
    ]
    assert losses[0] == losses[1]


def test_label_map_takes_the_likeliest_class() -> None:
    left = torch.tensor([[9.0, -9], [9, -9]])
    prediction = Prediction(
        class_logits=torch.tensor([[[9.0, 0, 0, 0], [0, 0, 9.0, 0]]]),
        mask_logits=torch.stack([left, -left])[None],
        canvas=(2, 2),
        image_sizes=((2, 2),),
    )
    assert label_map(prediction, 0, (2, 2)).tolist() == [[0, 2], [0, 2]]
    assert label_map(prediction, 0, (4, 6)).shape == (4, 6)


def brute_force(truth: np.ndarray, predicted: np.ndarray, classes: int) -> list[float | None]:
    scores: list[float | None] = []
    for c in range(classes):
        true = {tuple(p) for p in np.argwhere(truth == c)}
        found = {tuple(p) for p in np.argwhere((predicted == c) & (truth != 255))}
        scores.append(len(true & found) / len(true | found) if true | found else None)
    return scores


@pytest.mark.parametrize("seed", range(5))
def test_miou_equals_counting_pixel_sets(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 4, (9, 13)).astype(np.uint8)
    truth[rng.random((9, 13)) < 0.2] = 255
    predicted = rng.integers(0, 4, (9, 13)).astype(np.uint8)
    metric = MeanIoU("abcde")
    metric.count(truth[:4], predicted[:4])
    metric.count(truth[4:], predicted[4:])
    scores = metric.compute()
    expected = brute_force(truth, predicted, 5)
    assert list(scores.per_class.values()) == pytest.approx(expected)
    assert scores.values["miou"] == pytest.approx(np.mean([s for s in expected if s is not None]))


def test_absent_classes_count_as_cityscapes_does() -> None:
    metric = MeanIoU("abc", thing_ids=(1,))
    metric.count(np.zeros((2, 2), np.uint8), np.array([[0, 0], [0, 1]], np.uint8))
    scores = metric.compute()
    assert scores.per_class == {"a": 0.75, "b": 0.0, "c": None}
    assert scores.values == {"miou": pytest.approx(0.375), "things": 0.0, "stuff": 0.75}


def test_names_are_checked() -> None:
    with pytest.raises(PromptsegError, match="unknown semantic loss 'mse': choose one of cross-entropy"):
        SemanticSettings("mse")
    with pytest.raises(PromptsegError, match="unknown task 'depth': choose one of instance, panoptic, semantic"):
        build_task("depth")
    with pytest.raises(PromptsegError, match="unknown setting of the task semantic 'points': choose one of loss"):
        build_task("semantic", {"points": 3})
    assert build_task("semantic").metric(SPACE).compute().values["miou"] is None


@pytest.mark.parametrize("upsampling", ["bilinear", "bicubic"])
@pytest.mark.parametrize("stride", [2, 3, 4, 5])
def test_a_stride_is_the_loss_of_labels_that_are_ignored_between(stride: int, upsampling: Upsampling) -> None:
    labels = torch.randint(3, (32, 48), dtype=torch.uint8)
    sparse = torch.full_like(labels, 255)
    sparse[stride // 2 :: stride, stride // 2 :: stride] = labels[stride // 2 :: stride, stride // 2 :: stride]
    prediction = Prediction(torch.randn(1, 5, 4), torch.randn(1, 5, 8, 12), (32, 48), ((32, 48),), upsampling)
    task = SemanticTask()
    assert task.loss(prediction, [labels], stride).item() == pytest.approx(task.loss(prediction, [sparse]).item())
