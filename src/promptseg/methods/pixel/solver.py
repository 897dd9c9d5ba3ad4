"""The convex problem behind pixel prompts, and its solution.

With x the dense maps at a pixel, m_c the model's own evidence for class c there, and y its label:

    p_c proportional to (m_c + eps)^(t_c) exp(b_c + <P_c, x>)
    minimise over P, b, t: the weighted mean of -log p_y + ridge / 2 |P|^2 + hold / 2 |t - 1|^2

which is convex: p is a softmax of what is linear in P, b and t. Both penalties are on channels that are scaled to
variance 1. Solved by L-BFGS in the principal axes of the channels, each axis scaled by what the curvature along it is
about, which needs a third of the steps; the result is turned back into plain P, b and t.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor
from torch.nn import functional

from promptseg.methods.pixel.samples import PixelSamples
from promptseg.models.evidence import FLOOR

HOLD = 1e-3
"""How strongly a learned trust is held at 1; beside some data it is nothing, beside none it keeps the trust."""
_SPREAD = 0.05
"""p (1 - p) of a typical pixel: curvature along an axis is about this times the axis's variance."""
_MEMORY = 20
_VALUES = 2**19
"""Values that a CPU works on together: few enough that its cache still holds them on the way back."""
_FEW = 4096
"""Samples that are scaled together."""
AXES = 256
"""Most axes in which solutions are compared and started: the ridge leaves little of what lies along the others."""
_LEADING_ROWS, _LEADING_STEPS = 16_384, 24
"""Samples, at most, and steps of the solution that the last one starts from."""
_AXES_ROWS = 8192
"""Samples that the axes come from, at most. Any axes give the same solution; these only save steps."""


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
        axes: W (C, K).
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


@dataclass(frozen=True, eq=False)
class PixelProblem:
    """n samples over scaled channels, and the axes that solutions are found in.

    Attributes:
        x: (n, D) channels scaled to mean 0 and variance 1, or (n, K) places along the axes.
        labels: (n,) int64.
        weights: (n,), how many labelled pixels each stands for.
        answers: (C, n), log of the model's own evidence.
        mean: (D,), of the channels before they were scaled.
        scale: (D,), what they were divided by.
        variances: (K,), of the axes, ascending.
        turn: (D, K), the axes as columns.
        turned: whether `x` is along the axes. Samples solved on once stay channels: turning them costs more than
            turning the weights to them and the slopes back at every step.
    """

    x: Tensor
    labels: Tensor
    weights: Tensor
    answers: Tensor
    mean: Tensor
    scale: Tensor
    variances: Tensor
    turn: Tensor
    turned: bool = False

    @staticmethod
    def of(samples: PixelSamples) -> "PixelProblem":
        """The problem of samples; takes the memory of the features over and leaves them scaled."""
        x, parts = samples.features, samples.weights / samples.weights.sum()
        mean = parts @ x
        variance = x.new_zeros(x.shape[1])
        for rows, some in zip(x.split(_FEW), parts.split(_FEW), strict=True):
            variance += some @ rows.sub_(mean).square()
        scale = variance.sqrt()
        scale = torch.where(scale > 1e-6 * scale.max(), scale, torch.inf)
        for rows in x.split(_FEW):
            rows.div_(scale)
        answers = (samples.answers.mT + FLOOR).log()
        return PixelProblem(x, samples.labels, samples.weights, answers, mean, scale, *_principal(x, parts))

    @property
    def classes(self) -> int:
        """C."""
        return len(self.answers)

    def at(self, rows: Tensor) -> "PixelProblem":
        """Some of the samples, by index."""
        return replace(
            self,
            x=self.x[rows],
            labels=self.labels[rows],
            weights=self.weights[rows],
            answers=self.answers[:, rows].contiguous(),
        )

    def leading(self, rows: Tensor) -> "PixelProblem":
        """Some of the samples, by index, in the `AXES` of largest variance alone."""
        turn = self.turn[:, -AXES:]
        x = torch.cat([self.x[some] @ turn for some in rows.split(_FEW)])
        others = replace(self, x=self.x[:, :0]).at(rows)
        return replace(others, x=x, variances=self.variances[-AXES:], turn=turn, turned=True)

    def solve(self, recipe: Recipe, start: Solution | None = None, steps: int = 60) -> Solution:
        """The minimum.

        Args:
            recipe: penalty, weighting and trust.
            start: where to begin, of this problem or of one of its leading axes; none = the model's own answer.
            steps: of L-BFGS at most; it stops earlier where nothing is gained any more.
        """
        descent = _Descent(self, recipe)
        found = minimize(
            descent.value_and_slope,
            descent.packed(start),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": steps, "maxcor": _MEMORY, "ftol": 1e-6, "gtol": 1e-7},
        )
        return Solution(*descent.unpacked(found.x), float(found.fun), int(found.nfev))

    def solve_from_leading(self, recipe: Recipe, steps: int) -> Solution:
        """As `solve`, from the solution in the leading axes of some of the samples, at a small part of the price."""
        some = torch.arange(0, len(self.x), -(-len(self.x) // _LEADING_ROWS), device=self.x.device)
        return self.solve(recipe, self.leading(some).solve(recipe, steps=_LEADING_STEPS), steps)

    def answered(self, solution: Solution) -> Tensor:
        """The likeliest class of each sample: (n,) int64."""
        channels = self.to_x(solution.axes)
        scores = ((channels @ x.mT).addcmul_(answers, solution.trust[:, None]) for x, answers in self._chunks())
        return torch.cat([one.add_(solution.bias[:, None]).argmax(0) for one in scores])

    def folded(self, solution: Solution) -> tuple[Tensor, Tensor, Tensor]:
        """P (C, D), b (C, 1) and t (C, 1) over the dense maps as they are."""
        embeddings: Tensor = (solution.axes @ self.turn.mT) / self.scale
        bias = solution.bias - embeddings @ self.mean
        return embeddings, bias[:, None], solution.trust[:, None]

    def to_x(self, axes: Tensor) -> Tensor:
        """Weights (C, K) of axes as weights of what `x` holds."""
        return axes if self.turned else axes @ self.turn.mT

    def to_axes(self, slopes: Tensor) -> Tensor:
        """Slopes along what `x` holds as slopes along the axes (C, K)."""
        return slopes if self.turned else slopes @ self.turn

    def parts(self, balance: float) -> Tensor:
        """Weights of the samples (n,), which add up to 1."""
        totals = self.weights.new_zeros(self.classes).index_add_(0, self.labels, self.weights)
        weights = self.weights * (totals / totals.sum()).clamp(min=1e-12).pow(balance)[self.labels]
        parts: Tensor = weights / weights.sum()
        return parts

    def _chunks(self) -> Iterator[tuple[Tensor, Tensor]]:
        rows = chunk_rows(self.x)
        return zip(self.x.split(rows), self.answers.split(rows, dim=1), strict=True)


def chunk_rows(x: Tensor) -> int:
    """How many samples are worked on together."""
    return max(1, _VALUES // x.shape[1] if x.device.type == "cpu" else len(x))


def _principal(x: Tensor, parts: Tensor) -> tuple[Tensor, Tensor]:
    """Variances (D,), ascending, and directions (D, D) of the principal axes of some of the samples."""
    some = slice(None, None, -(-len(x) // _AXES_ROWS))
    x, parts = x[some], parts[some] / parts[some].sum()
    variances, turn = torch.linalg.eigh(((x * parts[:, None]).mT @ x).double())
    return variances.clamp(min=0).float(), turn.float()


class _Descent:
    """Value and slope of the problem in scaled numbers: W, b and t - 1, one after the other."""

    def __init__(self, problem: PixelProblem, recipe: Recipe) -> None:
        self._problem, self._recipe = problem, recipe
        self._parts = problem.parts(recipe.balance)
        self._middle = problem.answers @ self._parts
        self._answers = problem.answers - self._middle[:, None]
        self._learns_trust = recipe.trust == "learned"
        spread = self._answers.square() @ self._parts
        self._by_axis = (_SPREAD * problem.variances + recipe.ridge).rsqrt()
        self._by_bias = _SPREAD**-0.5
        self._by_trust = (_SPREAD * spread + HOLD).rsqrt()
        self._shape = (problem.classes, len(problem.variances))

    def packed(self, start: Solution | None) -> NDArray[np.float64]:
        """Scaled numbers of a solution, or of the model's own answer."""
        classes, dim = self._shape
        if start is None:
            numbers = [self._parts.new_zeros(classes * dim), self._middle / self._by_bias * self._fixed()]
            trust = self._parts.new_zeros(classes)
        else:
            axes = functional.pad(start.axes, (dim - start.axes.shape[1], 0))
            bias = start.bias + self._middle * start.trust
            numbers = [(axes / self._by_axis).flatten(), bias / self._by_bias]
            trust = (start.trust - 1) / self._by_trust
        packed = torch.cat([*numbers, trust] if self._learns_trust else numbers)
        return np.asarray(packed.double().cpu().numpy(), np.float64)

    def unpacked(self, packed: NDArray[np.float64]) -> tuple[Tensor, Tensor, Tensor]:
        """W (C, K), b (C,) and t (C,)."""
        axes, bias, trust = self._numbers(packed)
        return axes, bias - self._middle * trust, trust

    def _fixed(self) -> float:
        return 1.0 if self._learns_trust else float(self._recipe.trust)

    def _numbers(self, packed: NDArray[np.float64]) -> tuple[Tensor, Tensor, Tensor]:
        classes, dim = self._shape
        numbers = torch.from_numpy(packed).to(self._parts)
        axes, bias, trust = numbers.split((classes * dim, classes, len(numbers) - classes * (dim + 1)))
        fixed = bias.new_full((classes,), self._fixed())
        trust = fixed + self._by_trust * trust if self._learns_trust else fixed
        return axes.view(classes, dim) * self._by_axis, bias * self._by_bias, trust

    def value_and_slope(self, packed: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """What is minimised, and its gradient."""
        axes, bias, trust = self._numbers(packed)
        value, by_x, by_bias, by_trust = self._entropy(self._problem.to_x(axes), bias, trust)
        value = value + self._recipe.ridge / 2 * axes.square().sum()
        by_axes = self._problem.to_axes(by_x) + self._recipe.ridge * axes
        slopes = [(by_axes * self._by_axis).flatten(), by_bias * self._by_bias]
        if self._learns_trust:
            value = value + HOLD / 2 * (trust - 1).square().sum()
            slopes.append((by_trust + HOLD * (trust - 1)) * self._by_trust)
        return value.item(), np.asarray(torch.cat(slopes).double().cpu().numpy(), np.float64)

    def _entropy(self, weights: Tensor, bias: Tensor, trust: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Cross-entropy, and its slopes along weights, bias and trust.

        Classes come first in all that is (C, n): that is the fast way round for products with so few of them.
        """
        problem, rows = self._problem, chunk_rows(self._problem.x)
        columns = (problem.x, problem.labels, self._parts)
        value, by_weights = self._parts.new_zeros(()), torch.zeros_like(weights)
        by_bias, by_trust = torch.zeros_like(bias), torch.zeros_like(trust)
        chunks = zip(*(one.split(rows) for one in columns), self._answers.split(rows, dim=1), strict=True)
        for x, labels, parts, answers in chunks:
            scores = (weights @ x.mT).addcmul_(answers, trust[:, None]).add_(bias[:, None])
            scores -= scores.amax(0)
            at = scores.gather(0, labels[None])[0]
            total = scores.exp_().sum(0)
            value += parts @ (total.log() - at)
            slopes = scores.mul_(parts / total)
            slopes.scatter_add_(0, labels[None], -parts[None])
            by_weights.addmm_(slopes, x)
            by_bias += slopes.sum(1)
            if self._learns_trust:
                by_trust += (slopes * answers).sum(1)
        return value, by_weights, by_bias, by_trust
