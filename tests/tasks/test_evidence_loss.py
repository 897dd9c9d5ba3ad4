"""The loss of predictions with pixel prompts against the formulas written out, and its slopes against differences."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from promptseg.label_space import IGNORE
from promptseg.models.base import Prediction
from promptseg.models.evidence import FLOOR, Evidence
from promptseg.tasks.semantic import SemanticSettings, SemanticTask

CLASSES, QUERIES, CANVAS = 4, 5, (32, 48)


def prediction(taught: list[bool], images: int = 2) -> Prediction:
    torch.manual_seed(0)
    shapes = (images, QUERIES, CLASSES + 1), (images, QUERIES, 8, 12), (images, CLASSES, 8, 12), (images, CLASSES, 4, 6)
    classes, masks, *maps = (2 * torch.randn(shape, dtype=torch.float64) for shape in shapes)
    given = torch.tensor(taught)
    bias, trust = (torch.where(given, torch.randn(CLASSES).double(), left) for left in (0.0, 1.0))
    maps = [one * given[:, None, None] for one in maps]
    return Prediction(classes, masks, CANVAS, (CANVAS,) * images, evidence=Evidence(tuple(maps), bias, trust, given))


def written_out(found: Prediction, labels: Tensor, dice: bool) -> Tensor:
    """Pixel by pixel of maps that were enlarged whole."""
    assert found.evidence is not None
    evidence = found.evidence
    large = [F.interpolate(one, CANVAS, mode="bilinear", align_corners=False) for one in evidence.maps]
    masks = F.interpolate(found.mask_logits, CANVAS, mode="bilinear", align_corners=False).sigmoid()
    own = torch.einsum("bnc,bnhw->bchw", found.class_logits.softmax(-1)[..., :-1], masks) + FLOOR
    powers = own ** evidence.trust[:, None, None] * (sum(large) + evidence.bias[:, None, None]).exp()
    taught = evidence.taught
    if 0 < taught.sum() < CLASSES:  # both groups keep the share that the model gives them
        powers[:, taught] *= own[:, taught].sum(1, keepdim=True) / powers[:, taught].sum(1, keepdim=True)
    shares = powers / powers.sum(1, keepdim=True)
    losses = []
    for one, of_one in zip(shares, labels, strict=True):
        at = of_one != IGNORE
        true = of_one[at].long()
        loss = -one[:, at].gather(0, true[None]).log().mean()
        for c in true.unique() if dice else ():
            overlap, area, pixels = one[c][at & (of_one == c)].sum(), one[c][at].sum(), (true == c).sum()
            loss = loss + (1 - (2 * overlap + 1) / (area + pixels + 1)) / len(true.unique())
        losses.append(loss)
    return torch.stack(losses).mean()


def drawn_labels(images: int = 2) -> Tensor:
    labels = torch.randint(CLASSES - 1, (images, *CANVAS), generator=torch.Generator().manual_seed(1)).byte()
    labels[:, :5] = IGNORE
    return labels


@pytest.mark.parametrize("taught", [[True] * 4, [True, True, False, True]])
@pytest.mark.parametrize("loss", ["cross-entropy", "cross-entropy+dice"])
def test_loss_is_that_of_the_formulas(taught: list[bool], loss: str) -> None:
    found, labels = prediction(taught), drawn_labels()
    value = SemanticTask(SemanticSettings(loss)).loss(found, list(labels))
    torch.testing.assert_close(value, written_out(found, labels, "dice" in loss))


def test_a_stride_takes_every_so_manieth_pixel() -> None:
    found, labels = prediction([True] * 4), drawn_labels()
    thinned = torch.full_like(labels, IGNORE)
    thinned[:, 2::4, 2::4] = labels[:, 2::4, 2::4]
    value = SemanticTask().loss(found, list(labels), stride=4)
    torch.testing.assert_close(value, written_out(found, thinned, dice=True))


def test_slopes_are_those_of_differences() -> None:
    found, labels = prediction([True, True, False, True], images=1), drawn_labels(1)
    assert found.evidence is not None

    def loss(classes: Tensor, masks: Tensor, finest: Tensor, bias: Tensor, trust: Tensor) -> Tensor:
        evidence = Evidence((finest, found.evidence.maps[1]), bias, trust, found.evidence.taught)
        changed = replace(found, class_logits=classes, mask_logits=masks, evidence=evidence)
        return SemanticTask().loss(changed, list(labels), stride=4)

    evidence = found.evidence
    given = (found.class_logits, found.mask_logits, evidence.maps[0], evidence.bias, evidence.trust)
    leaves = [tensor.clone().requires_grad_() for tensor in given]
    assert torch.autograd.gradcheck(loss, leaves)


def test_an_image_without_labels_adds_nothing() -> None:
    found, labels = prediction([True] * 4), drawn_labels()
    labels[1] = IGNORE
    first = replace(
        found,
        class_logits=found.class_logits[:1],
        mask_logits=found.mask_logits[:1],
        image_sizes=(CANVAS,),
        evidence=found.evidence.image(0) if found.evidence else None,
    )
    alone = SemanticTask().loss(first, [labels[0]])
    torch.testing.assert_close(SemanticTask().loss(found, list(labels)), alone / 2)
