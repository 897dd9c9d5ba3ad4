"""Semantic prompts that look like the shots: for each class the mean of what the decoder says of its pixels.

With logit_qc = s <v_q, T_c> for query q, and a_qc the share of the pixels of class c that lies under its mask, the
gradient of sum_q a_qc logit_qc in T_c is s sum_q a_qc v_q: the mean embedding of the class's pixels, up to its length.
So it can be had of any model that is differentiable in its semantic prompts, whatever it calls its embeddings.
"""

import torch
from torch import Tensor
from torch.nn import functional

from promptseg.methods.module import PromptSolver, Solved
from promptseg.models.base import ImageFeatures, Prediction, PromptableSegmenter
from promptseg.prompts import Prompts


class SemanticPrototypes(PromptSolver):
    """Mean embeddings of classes, as long as the default semantic prompts."""

    def __init__(self, model: PromptableSegmenter, defaults: Prompts) -> None:
        """Start without a pixel.

        Args:
            model: decodes.
            defaults: what a class that no shot shows keeps.
        """
        self._model, self._defaults = model, defaults
        self._kinds = defaults.of_role("class")
        self._sums = {name: torch.zeros_like(tensor) for name, tensor in self._kinds.items()}

    def show(self, shot: int, features: ImageFeatures, prediction: Prediction, labels: Tensor) -> None:
        """Add up the gradients of a shot."""
        with torch.enable_grad():
            leaves = {name: tensor.detach().requires_grad_() for name, tensor in self._kinds.items()}
            decoded = self._model.decode(features, self._defaults.updated(leaves))
            shares = class_shares(decoded, labels, len(self._defaults.label_space))
            aim = (decoded.class_logits[0, :, :-1] * shares).sum()
            gradients = torch.autograd.grad(aim, list(leaves.values()))
        for name, gradient in zip(leaves, gradients, strict=True):
            self._sums[name] += gradient

    def solve(self) -> Solved:
        """The kinds of role `class`."""
        kinds = {}
        for name, default in self._kinds.items():
            length = torch.linalg.vector_norm(default, dim=1, keepdim=True)
            shown = self._sums[name].abs().amax(dim=1, keepdim=True) > 0
            kinds[name] = torch.where(shown, functional.normalize(self._sums[name], dim=1) * length, default)
        return Solved(kinds, 0, {}, ())


def class_shares(prediction: Prediction, labels: Tensor, classes: int) -> Tensor:
    """For each query, how many pixels of each class lie under its mask, in cells of the masks: (N, C), no gradient.

    Args:
        prediction: of one image.
        labels: (H, W) uint8, 255 = ignored.
        classes: C.
    """
    masks = prediction.mask_logits[0].detach().float().sigmoid()
    rows, columns = (
        ((torch.arange(cells) + 0.5) * canvas / cells).long()
        for cells, canvas in zip(masks.shape[1:], prediction.canvas, strict=True)
    )
    inside = labels[rows[rows < labels.shape[0]]][:, columns[columns < labels.shape[1]]].to(masks.device).long()
    masks = masks[:, : inside.shape[0], : inside.shape[1]]
    one_hot = functional.one_hot(inside.clamp(max=classes), classes + 1)[..., :classes].to(masks)
    return masks.flatten(1) @ one_hot.flatten(0, 1)
