"""Ridge, weighting and trust by cross-validation over whole shots; the model's own answer is one of the choices.

Pixels of one photo are never on both sides. What is compared is the mean IoU over the held-out pixels, so nothing is
encoded or decoded again. Solutions start from those of a neighbour, in the leading axes of some of the samples first,
which makes the comparison cost a second or two.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from promptseg.methods.pixel.solver import PixelProblem, Recipe, Solution
from promptseg.record import Setting

FOLDS = 3
FEW = 6
"""Up to so many shots, each is held out on its own."""
RIDGES = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3)
_FIRST = 1
"""Place of the ridge that is tried first."""
RIDGE_ALONE = 1.0
"""Of a single shot, of which nothing can be held out: stronger than any of those that had to prove themselves."""
BALANCES = (0.0, -0.5)
TRUSTS: tuple[float | str, ...] = ("learned", 1.0, 0.0)
PIXELS = 15_000
"""Most samples that recipes are compared on, all folds together."""
STEPS = 8
"""Of each solution: it need not be exact to be judged."""
SHORT_LIST = 3
"""Recipes that are compared in all axes."""
_RESAMPLES = 200


@dataclass(frozen=True, eq=False)
class Trial:
    """One recipe, and how it did on held-out shots.

    Attributes:
        recipe: none = the model's own answer.
        confusion: (S, C, C) pixels of each shot, truth by answer.
    """

    recipe: Recipe | None
    confusion: NDArray[np.float64]

    @property
    def miou(self) -> float:
        """Over the held-out pixels of all shots, 0..1."""
        return mean_iou(self.confusion.sum(0))


@dataclass(frozen=True, eq=False)
class Choice:
    """The outcome.

    Attributes:
        recipe: to solve all shots by; none where nothing beat the model's own answer.
        best: the best recipe all the same.
        trials: all that were compared, the model's own answer first; empty where there was a single shot.
        gain: of the best recipe's mean IoU over that of the model's own answer.
        deviation: standard error of the gain, over resampled shots.
    """

    recipe: Recipe | None
    best: Recipe
    trials: tuple[Trial, ...]
    gain: float
    deviation: float


def choose(problem: PixelProblem, shots: Tensor, seed: int, trusts: tuple[float | str, ...] = TRUSTS) -> Choice:
    """Compare recipes and the model's own answer on shots that they were not solved on.

    In the leading axes first ridges, upwards or downwards for as long as that helps; then the other weighting at the
    best of them and its neighbours; then the other kinds of trust. The few best of these are compared again in all
    axes. A recipe is taken only where it gains more than the standard error of the gain. A single shot leaves nothing
    to compare on: it gets a strong ridge, and no estimate.

    Args:
        problem: all samples.
        shots: (n,) int64, the photo of each sample, from 0.
        seed: of folds, samples and resampling.
        trusts: the kinds of trust to choose from, that for the comparison of ridges first.
    """
    count = int(shots.max()) + 1
    if count == 1:
        alone = Recipe(RIDGE_ALONE, trust=trusts[0])
        return Choice(alone, alone, (), math.nan, math.nan)
    rows = compared(shots, seed)
    split = list(folds(shots[rows], count, seed))
    coarse = _Trials(problem.leading(rows), shots[rows], count, split)
    fine = _Trials(problem, shots, count, [(rows[others], rows[held_out]) for others, held_out in split])
    best = coarse.climb(Recipe(RIDGES[_FIRST], trust=trusts[0]))
    at = RIDGES.index(best.ridge)
    for ridge in RIDGES[max(0, at - 1) : at + 2]:
        coarse.add(Recipe(ridge, BALANCES[1], trusts[0]), coarse.solutions(best))
    best = coarse.ranked()[0]
    for trust in trusts[1:]:
        coarse.add(replace(best, trust=trust), coarse.solutions(best))
    for recipe in coarse.ranked()[:SHORT_LIST]:
        fine.add(recipe, coarse.solutions(recipe))
    own, best = fine.own(), fine.ranked()[0]
    found = fine.found[best]
    gain, deviation = found.miou - own.miou, _deviation(found, own, seed)
    tried = (own, *(coarse.found | fine.found).values())
    return Choice(best if gain > deviation else None, best, tried, gain, deviation)


class _Trials:
    """Recipes on the same folds, each the samples to solve on and those held out, by index."""

    def __init__(
        self, problem: PixelProblem, shots: Tensor, count: int, split: Sequence[tuple[Tensor, Tensor]]
    ) -> None:
        self._problem, self._shots, self._count, self._folds = problem, shots, count, split
        self._solutions: dict[Recipe, list[Solution]] = {}
        self.found: dict[Recipe, Trial] = {}

    def own(self) -> Trial:
        """The model's own answer on the same pixels."""
        answers = self._problem.answers.argmax(0)
        return Trial(
            None, np.sum([self._confusion(held_out, answers[held_out]) for _, held_out in self._folds], axis=0)
        )

    def climb(self, recipe: Recipe) -> Recipe:
        """Try a recipe, then with ever smaller or ever larger ridges for as long as that helps; the best of them."""
        self.add(recipe, None)
        best, at = recipe, RIDGES.index(recipe.ridge)
        for ridges in (RIDGES[at + 1 :], RIDGES[:at][::-1]):
            for ridge in ridges if best == recipe else ():
                self.add(other := replace(recipe, ridge=ridge), self.solutions(best))
                if self.ranked()[0] != other:
                    break
                best = other
        return best

    def add(self, recipe: Recipe, starts: Sequence[Solution] | None) -> None:
        """Try a recipe; `starts` are solutions of the folds to start from."""
        confusion = np.zeros((self._count, self._problem.classes, self._problem.classes))
        found = []
        for fold, (others, held_out) in enumerate(self._folds):
            found.append(self._problem.at(others).solve(recipe, starts[fold] if starts else None, STEPS))
            confusion += self._confusion(held_out, self._problem.at(held_out).answered(found[-1]))
        self._solutions[recipe], self.found[recipe] = found, Trial(recipe, confusion)

    def solutions(self, recipe: Recipe) -> list[Solution]:
        """Those of the folds, of a recipe that was tried."""
        return self._solutions[recipe]

    def ranked(self) -> list[Recipe]:
        """By mean IoU, the best first; of equals the one tried first."""
        return sorted(self.found, key=lambda recipe: -self.found[recipe].miou)

    def _confusion(self, held_out: Tensor, answers: Tensor) -> NDArray[np.float64]:
        """Pixels of each shot, truth by answer, (S, C, C)."""
        problem = self._problem
        shape = (self._count, problem.classes, problem.classes)
        places = (self._shots[held_out] * problem.classes + problem.labels[held_out]) * problem.classes + answers
        counts = torch.bincount(places, problem.weights[held_out].double(), int(np.prod(shape)))
        return counts.view(shape).cpu().numpy()


def compared(shots: Tensor, seed: int) -> Tensor:
    """The samples that recipes are compared on, at most `PIXELS`, by index; `shots` (n,) is the photo of each."""
    order = torch.randperm(len(shots), generator=torch.Generator().manual_seed(seed))
    return order[:PIXELS].sort().values.to(shots.device)


def folds(shots: Tensor, count: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """For each fold the samples to solve on and those held out, by index.

    Args:
        shots: (n,) int64, the shot of each sample.
        count: shots.
        seed: of who is held out together.
    """
    number = count if count <= FEW else FOLDS
    fold = torch.empty(count, dtype=torch.long)
    fold[torch.randperm(count, generator=torch.Generator().manual_seed(seed))] = torch.arange(count) % number
    of_sample = fold.to(shots.device)[shots]
    for index in range(number):
        others, held_out = ((of_sample != index).nonzero()[:, 0], (of_sample == index).nonzero()[:, 0])
        if len(others) and len(held_out):
            yield others, held_out


def mean_iou(confusion: NDArray[np.float64]) -> float:
    """Mean IoU of a confusion matrix (C, C) over the classes that are there or answered, 0..1."""
    hit = np.diagonal(confusion, axis1=-2, axis2=-1)
    union = confusion.sum(-1) + confusion.sum(-2) - hit
    return float((hit[union > 0] / union[union > 0]).mean()) if (union > 0).any() else 0.0


def _deviation(trial: Trial, own: Trial, seed: int) -> float:
    """Standard error of the gain of a trial: its deviation over shots drawn with replacement."""
    random, shots = np.random.default_rng(seed), len(own.confusion)
    draws = random.multinomial(shots, np.full(shots, 1 / shots), _RESAMPLES).astype(np.float64)
    both = [np.tensordot(draws, one.confusion, axes=1) for one in (trial, own)]
    gains = [mean_iou(learned) - mean_iou(default) for learned, default in zip(*both, strict=True)]
    return float(np.std(gains))


def table(trials: Sequence[Trial]) -> tuple[Mapping[str, Setting], ...]:
    """The compared recipes as the record of a run keeps them."""
    rows: list[Mapping[str, Setting]] = []
    for trial in trials:
        recipe = trial.recipe
        about: dict[str, Setting] = {"ridge": None, "balance": None, "trust": 1.0} if recipe is None else asdict(recipe)
        rows.append({**about, "held_out_miou": trial.miou})
    return tuple(rows)
