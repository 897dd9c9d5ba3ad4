"""Ridge, weighting and trust by cross-validation over whole shots; the model's own answer is one of the choices.

Pixels of one photo are never on both sides. What is compared is the mean IoU over the held-out pixels, so nothing is
encoded or decoded again. A solution starts from that of its neighbour, which makes the comparison cost seconds.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from promptseg.methods.pixel.samples import PixelSamples
from promptseg.methods.pixel.solver import PixelProblem, Recipe, Solution
from promptseg.record import Setting

FOLDS = 3
FEW = 6
"""Up to so many shots, each is held out on its own."""
RIDGES = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3)
BALANCES = (0.0, -0.5)
TRUSTS: tuple[float | str, ...] = ("learned", 1.0, 0.0)
FOLD_PIXELS = 10_000
"""Most pixels of a fold that are solved on, and most that are held out."""
STEPS = 12
"""Of each solution: it need not be exact to be judged."""
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
        trials: all that were compared, the model's own answer first.
        gain: of the best recipe's mean IoU over that of the model's own answer.
        deviation: standard error of the gain, over resampled shots.
    """

    recipe: Recipe | None
    best: Recipe
    trials: tuple[Trial, ...]
    gain: float
    deviation: float


def choose(
    problem: PixelProblem,
    samples: PixelSamples,
    classes: int,
    seed: int,
    trusts: tuple[float | str, ...] = TRUSTS,
) -> Choice:
    """Compare recipes and the model's own answer on shots that they were not solved on.

    First ridges, from the strongest down; then the other weighting at the best of them and its neighbours; then the
    other kinds of trust. A recipe is taken only where it gains more than the standard error of the gain.

    Args:
        problem: the samples as the solver sees them.
        samples: whose labels, weights and shots count.
        classes: C.
        seed: of folds and resampling.
        trusts: the kinds of trust to choose from, that for the comparison of ridges first.
    """
    trials = _Trials(problem, samples, classes, seed)
    own = trials.own()
    previous = None
    for ridge in RIDGES:
        trials.add(recipe := Recipe(ridge, trust=trusts[0]), previous)
        previous = recipe
    at = RIDGES.index(trials.best().ridge)
    for ridge in RIDGES[max(0, at - 1) : at + 2]:
        trials.add(Recipe(ridge, BALANCES[1], trusts[0]), Recipe(ridge, trust=trusts[0]))
    start = trials.best()
    for trust in trusts[1:]:
        trials.add(Recipe(start.ridge, start.balance, trust), start)
    best = trials.best()
    found = trials.found[best]
    gain, deviation = found.miou - own.miou, _deviation(found, own, seed)
    return Choice(best if gain > deviation else None, best, (own, *trials.found.values()), gain, deviation)


class _Trials:
    """Recipes on the same folds."""

    def __init__(self, problem: PixelProblem, samples: PixelSamples, classes: int, seed: int) -> None:
        self._problem, self._samples, self._classes = problem, samples, classes
        self._count = int(samples.shots.max()) + 1
        self._folds = list(folds(samples.shots, self._count, seed))
        self._solutions: list[dict[Recipe, Solution]] = [{} for _ in self._folds]
        self.found: dict[Recipe, Trial] = {}

    def own(self) -> Trial:
        """The model's own answer on the same pixels."""
        confusion = self._empty()
        for _, held_out in self._folds:
            self._add_up(confusion, held_out, self._samples.answers[held_out].argmax(1))
        return Trial(None, confusion)

    def add(self, recipe: Recipe, start: Recipe | None) -> None:
        """Try a recipe, starting from the solutions of another."""
        confusion = self._empty()
        for (rows, held_out), known in zip(self._folds, self._solutions, strict=True):
            known[recipe] = self._problem.solve(recipe, rows, known[start] if start else None, STEPS)
            self._add_up(confusion, held_out, self._problem.classes_at(known[recipe], held_out))
        self.found[recipe] = Trial(recipe, confusion)

    def best(self) -> Recipe:
        """That of the largest mean IoU; of equals the first."""
        return max(self.found, key=lambda recipe: self.found[recipe].miou)

    def _empty(self) -> NDArray[np.float64]:
        return np.zeros((self._count, self._classes, self._classes))

    def _add_up(self, confusion: NDArray[np.float64], rows: Tensor, answers: Tensor) -> None:
        samples, size = self._samples, confusion.size
        places = (samples.shots[rows] * self._classes + samples.labels[rows]) * self._classes + answers
        confusion += torch.bincount(places, samples.weights[rows].double(), size).view(confusion.shape).cpu().numpy()


def folds(shots: Tensor, count: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """For each fold the samples to solve on and those held out, at most `FOLD_PIXELS` of each, by index.

    Args:
        shots: (n,) int64, the shot of each sample.
        count: shots.
        seed: of who is held out together, and of the samples.
    """
    generator = torch.Generator().manual_seed(seed)
    number = count if count <= FEW else FOLDS
    fold = torch.empty(count, dtype=torch.long)
    fold[torch.randperm(count, generator=generator)] = torch.arange(count) % number
    order = torch.randperm(len(shots), generator=generator).to(shots.device)
    of_sample = fold.to(shots.device)[shots]
    for index in range(number):
        others, held_out = order[of_sample[order] != index], order[of_sample[order] == index]
        if len(others) and len(held_out):
            yield others[:FOLD_PIXELS].sort().values, held_out[:FOLD_PIXELS].sort().values


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
