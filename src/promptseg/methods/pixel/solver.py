"""The convex problem behind pixel prompts, and its solution.

With x the dense maps at a pixel, m_c the model's own evidence for class c there, and y its label:

    p_c proportional to (m_c + eps)^(t_c) exp(b_c + <P_c, x>)
    minimise over P, b, t: the weighted mean of -log p_y + ridge / 2 |P|^2 + hold / 2 |t - 1|^2

which is convex: p is a softmax of what is linear in P, b and t. Both penalties are on channels that are scaled to
variance 1. Solved by L-BFGS in the principal axes of the channels, each axis scaled by what the curvature along it is
about, which needs a third of the steps; the result is turned back into plain P, b and t.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from promptseg.methods.pixel.samples import PixelSamples
from promptseg.models.evidence import FLOOR

HOLD = 1e-3
"""How strongly a learned trust is held at 1; beside some data it is nothing, beside none it keeps the trust."""
_SPREAD = 0.05
"""p (1 - p) of a typical pixel: curvature along an axis is about this times the axis's variance."""
_MEMORY = 20
_ROWS = 4096


@dataclass(frozen=True)
class Recipe:
    """What of the problem is chosen from outside.

    Attributes:
        ridge: penalty on P.
        balance: power of a class's frequency by which its pixels are weighted: 0 or -1/2.
        trust: `learned`, or a fixed number: 1 takes the model's own answer as it is, 0 leaves it out.
    """

    ridge: float
    balance: float = 0.0
    trust: float | str = "learned"


@dataclass(frozen=True, eq=False)
class Solution:
    """Numbers of one solution in the axes of its problem.

    Attributes:
        axes: W (C, D).
        bias: (C,).
        trust: (C,).
        value: of what is minimised.
        evaluations: how often it was computed.
    """

    axes: Tensor
    bias: Tensor
    trust: Tensor
    value: float
    evaluations: int


class PixelProblem:
    """Samples in their principal axes; takes the memory of the features over and leaves them changed."""

    def __init__(self, samples: PixelSamples, classes: int) -> None:
        self._labels, self._weights, self._classes = samples.labels, samples.weights, classes
        self._axes = samples.features
        parts = samples.weights / samples.weights.sum()
        self._mean = parts @ samples.features
        self._scale = (parts @ samples.features.square() - self._mean.square()).clamp(min=0).sqrt()
        self._scale = torch.where(self._scale > 1e-6 * self._scale.max(), self._scale, torch.inf)
        covariance = torch.zeros_like(self._scale.diag())
        for rows in self._chunks():
            rows.sub_(self._mean).div_(self._scale)
        for rows, some in zip(self._chunks(), parts.split(_ROWS), strict=True):
            covariance += (rows * some[:, None]).mT @ rows
        variances, self._turn = torch.linalg.eigh(covariance.double())
        self._turn = self._turn.float()
        self.variances: Tensor = variances.clamp(min=0).float()
        """Of the axes, (D,)."""
        for rows in self._chunks():
            rows.copy_(rows @ self._turn)
        self._answers = (samples.answers + FLOOR).log()

    def solve(
        self, recipe: Recipe, rows: Tensor | None = None, start: Solution | None = None, steps: int = 60
    ) -> Solution:
        """The minimum over some of the samples.

        Args:
            recipe: penalty, weighting and trust.
            rows: indices of the samples; none = all.
            start: where to begin; none = the model's own answer.
            steps: of L-BFGS at most; it stops earlier where nothing is gained any more.
        """
        part = self._all() if rows is None else rows
        descent = _Descent(self._axes[part] if rows is not None else self._axes, self, recipe, part)
        found = minimize(
            descent.value_and_slope,
            descent.packed(start),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": steps, "maxcor": _MEMORY, "ftol": 1e-6, "gtol": 1e-7},
        )
        return Solution(*descent.unpacked(found.x), float(found.fun), int(found.nfev))

    def classes_at(self, solution: Solution, rows: Tensor) -> Tensor:
        """The likeliest class of some of the samples: (n,) int64."""
        return (self._axes[rows] @ solution.axes.mT + solution.bias + solution.trust * self._answers[rows]).argmax(1)

    def folded(self, solution: Solution) -> tuple[Tensor, Tensor, Tensor]:
        """P (C, D), b (C, 1) and t (C, 1) over the dense maps as they are."""
        embeddings: Tensor = (solution.axes @ self._turn.mT) / self._scale
        bias = solution.bias - embeddings @ self._mean
        return embeddings, bias[:, None], solution.trust[:, None]

    def _chunks(self) -> tuple[Tensor, ...]:
        chunks: tuple[Tensor, ...] = self._axes.split(_ROWS)
        return chunks

    def _all(self) -> Tensor:
        return torch.arange(len(self._labels), device=self._labels.device)

    def parts_of(self, rows: Tensor, balance: float) -> Tensor:
        """Weights of some samples (n,), which add up to 1."""
        labels, weights = self._labels[rows], self._weights[rows]
        totals = weights.new_zeros(self._classes).index_add_(0, labels, weights)
        weights = weights * (totals / totals.sum()).clamp(min=1e-12).pow(balance)[labels]
        parts: Tensor = weights / weights.sum()
        return parts

    def of(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Labels (n,) and log evidence (n, C) of some samples."""
        return self._labels[rows], self._answers[rows]


class _Descent:
    """Value and slope of the problem in scaled numbers: W, b and t - 1, one after the other."""

    def __init__(self, axes: Tensor, problem: PixelProblem, recipe: Recipe, rows: Tensor) -> None:
        self._x, self._recipe = axes, recipe
        self._labels, answers = problem.of(rows)
        self._parts = problem.parts_of(rows, recipe.balance)
        self._middle = self._parts @ answers
        self._answers = answers - self._middle
        self._learns_trust = recipe.trust == "learned"
        spread = self._parts @ self._answers.square()
        self._by_axis = (_SPREAD * problem.variances + recipe.ridge).rsqrt()
        self._by_bias = _SPREAD**-0.5
        self._by_trust = (_SPREAD * spread + HOLD).rsqrt()
        self._shape = (answers.shape[1], axes.shape[1])

    def packed(self, start: Solution | None) -> NDArray[np.float64]:
        """Scaled numbers of a solution, or of the model's own answer."""
        classes, dim = self._shape
        if start is None:
            numbers = [self._x.new_zeros(classes * dim), self._x.new_zeros(classes)]
            numbers[1] = self._middle / self._by_bias * self._fixed()
            trust = self._x.new_zeros(classes)
        else:
            bias = start.bias + self._middle * start.trust
            numbers = [(start.axes / self._by_axis).flatten(), bias / self._by_bias]
            trust = (start.trust - 1) / self._by_trust
        packed = torch.cat([*numbers, trust] if self._learns_trust else numbers)
        return np.asarray(packed.double().cpu().numpy(), np.float64)

    def unpacked(self, packed: NDArray[np.float64]) -> tuple[Tensor, Tensor, Tensor]:
        """W (C, D), b (C,) and t (C,)."""
        axes, bias, trust = self._numbers(packed)
        return axes, bias - self._middle * trust, trust

    def _fixed(self) -> float:
        return 1.0 if self._learns_trust else float(self._recipe.trust)

    def _numbers(self, packed: NDArray[np.float64]) -> tuple[Tensor, Tensor, Tensor]:
        classes, dim = self._shape
        numbers = torch.from_numpy(packed).to(self._x)
        axes, bias, trust = numbers.split((classes * dim, classes, len(numbers) - classes * (dim + 1)))
        fixed = bias.new_full((classes,), self._fixed())
        trust = fixed + self._by_trust * trust if self._learns_trust else fixed
        return axes.view(classes, dim) * self._by_axis, bias * self._by_bias, trust

    def value_and_slope(self, packed: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """What is minimised, and its gradient."""
        axes, bias, trust = self._numbers(packed)
        scores = torch.addmm(bias, self._x, axes.mT).addcmul_(self._answers, trust)
        logs = scores.log_softmax(1)
        value = -(self._parts @ logs.gather(1, self._labels[:, None])[:, 0])
        value += (
            self._recipe.ridge / 2 * axes.square().sum() + HOLD / 2 * self._learns_trust * (trust - 1).square().sum()
        )
        slope = logs.exp_()
        slope.scatter_add_(1, self._labels[:, None], slope.new_full((len(slope), 1), -1.0)).mul_(self._parts[:, None])
        by_axes = ((slope.mT @ self._x) + self._recipe.ridge * axes) * self._by_axis
        slopes = [by_axes.flatten(), slope.sum(0) * self._by_bias]
        if self._learns_trust:
            slopes.append(((slope * self._answers).sum(0) + HOLD * (trust - 1)) * self._by_trust)
        return value.item(), np.asarray(torch.cat(slopes).double().cpu().numpy(), np.float64)
