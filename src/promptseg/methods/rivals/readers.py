"""Readers of the frozen model: a linear map or class means over its dense maps, a linear map over its queries.

All but the last are pixel prompts of another making (models/evidence.py): a class mean of unit length, compared by
cosine, is a linear map too, since the length of a pixel's own features is the same for all classes.
"""

from dataclasses import dataclass

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn import functional

from promptseg.checks import check_flag, check_number
from promptseg.methods.module import Method, Solved
from promptseg.methods.pixel.choice import choose, compared, folds, table
from promptseg.methods.pixel.pixprompt import PixelPrompts, PixelSettings
from promptseg.methods.pixel.samples import PixelSamples
from promptseg.methods.pixel.solver import PixelProblem
from promptseg.methods.ssprompt import ZERO_SHOT, SSPrompt, SSPromptSettings
from promptseg.models.base import PromptableSegmenter
from promptseg.models.evidence import BIAS, EMBEDDING, FLOOR, TRUST
from promptseg.prompts import Prompts, Role

_LARGEST_SCALE = 100.0
_NEVER = -1e4
"""Bias of a class that no shot shows."""


class LinearReader(PixelPrompts):
    """Multinomial logistic regression on sampled pixels, the model's own answer left out (trust 0).

    Ridge and weighting are chosen as for pixel prompts.
    """

    def solve(self) -> Solved:
        """`pixel`, `pixel_bias`, and `pixel_trust` = 0, whether or not they beat the model's own answer."""
        samples = self._sampler.samples()
        problem = PixelProblem.of(samples)
        choice = choose(problem, samples.shots, self._seed, trusts=(0.0,))
        solution = problem.solve_from_leading(choice.best, self._settings.solver_steps)
        kinds = dict(zip((EMBEDDING, BIAS, TRUST), problem.folded(solution), strict=True))
        numbers = kinds[EMBEDDING].numel() + kinds[BIAS].numel()
        metrics = {"held_out_miou": choice.trials[0].miou + choice.gain} if choice.trials else {}
        return Solved(kinds, numbers, metrics, table(choice.trials))


@dataclass(frozen=True)
class PrototypeSettings(PixelSettings):
    """Settings of class means.

    Attributes:
        centred: take the mean over all pixels away first.
        scaled: divide each channel by its deviation first.
    """

    centred: bool = False
    scaled: bool = True

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        super().__post_init__()
        check_flag("centred", self.centred)
        check_flag("scaled", self.scaled)


class Prototypes(PixelPrompts):
    """The class of the nearest class mean by cosine; nothing is trained. A class without shots is never answered."""

    _settings: PrototypeSettings

    def solve(self) -> Solved:
        """`pixel`, `pixel_bias`, and `pixel_trust` = 0."""
        samples = self._sampler.samples()
        embeddings, bias = class_means(samples, self._classes, self._settings)
        seen = torch.bincount(samples.labels, minlength=self._classes)[:, None] > 0
        kinds = {EMBEDDING: embeddings, BIAS: torch.where(seen, bias, _NEVER), TRUST: torch.zeros_like(bias)}
        return Solved(kinds, embeddings.numel() + bias.numel(), {}, ())


class PrototypesAndText(PixelPrompts):
    """The model's own answer, which comes from texts, times e to the class means' scores times one learned scalar.

    The scalar has the least cross-entropy on held-out shots, with class means of the others; that is convex. It is 1
    where a single shot leaves nothing to hold out.
    """

    _settings: PrototypeSettings

    def solve(self) -> Solved:
        """`pixel`, `pixel_bias`, and `pixel_trust` = 1."""
        samples = self._sampler.samples()
        scale = self._scale(samples)
        embeddings, bias = (scale * part for part in class_means(samples, self._classes, self._settings))
        kinds = {EMBEDDING: embeddings, BIAS: bias, TRUST: torch.ones_like(bias)}
        return Solved(kinds, embeddings.numel() + bias.numel() + 1, {"prototype_scale": scale}, ())

    def _scale(self, samples: PixelSamples) -> float:
        if not (found := self._held_out(samples)):  # a single shot
            return 1.0
        scores, answers, labels, weights = (torch.cat(parts) for parts in zip(*found, strict=True))

        def loss(scale: float) -> float:
            entropy = functional.cross_entropy(answers + scale * scores, labels, reduction="none")
            return ((entropy * weights).sum() / weights.sum()).item()

        return float(minimize_scalar(loss, bounds=(0.0, _LARGEST_SCALE), method="bounded").x)

    def _held_out(self, samples: PixelSamples) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Of each fold: scores (n, C) by the means of the other shots, log of own answers, labels and weights."""
        found, samples = [], samples.at(compared(samples.shots, self._seed))
        for others, rows in folds(samples.shots, int(samples.shots.max()) + 1, self._seed):
            embeddings, bias = class_means(samples.at(others), self._classes, self._settings)
            scores = samples.features[rows] @ embeddings.mT + bias[:, 0]
            found.append((scores, (samples.answers[rows] + FLOOR).log(), samples.labels[rows], samples.weights[rows]))
        return found


def class_means(samples: PixelSamples, classes: int, settings: PrototypeSettings) -> tuple[Tensor, Tensor]:
    """Class means of unit length as a linear map: embeddings (C, D) and bias (C, 1); 0 for classes without a pixel."""
    features, weights = samples.features, samples.weights
    parts = weights / weights.sum()
    middle = parts @ features
    spread = (parts @ features.square() - middle.square()).clamp(min=0).sqrt()
    scale = torch.where(spread > 1e-6 * spread.max(), spread, torch.inf) if settings.scaled else torch.ones_like(spread)
    middle = middle if settings.centred else torch.zeros_like(middle)
    sums = features.new_zeros(classes, features.shape[1]).index_add_(0, samples.labels, features * weights[:, None])
    totals = weights.new_zeros(classes).index_add_(0, samples.labels, weights)[:, None]
    means = torch.where(totals > 0, (sums / totals.clamp(min=1e-12) - middle) / scale, 0.0)
    embeddings = functional.normalize(means, dim=1) / scale
    return embeddings, -(embeddings @ middle)[:, None]


@dataclass(frozen=True)
class QueryLinearSettings:
    """Settings of the linear class head.

    Attributes:
        head_rate: learning rate relative to the base rate.
    """

    head_rate: float = 1.0

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        check_number("head_rate", self.head_rate)


def _query_linear(model: PromptableSegmenter, defaults: Prompts, settings: QueryLinearSettings, seed: int) -> SSPrompt:
    """A linear class head on what the decoder says of its queries, from a random start: no text has a part in it."""
    has_void = bool(defaults.of_role("void"))
    own = SSPromptSettings(start="normal", weight=1.0, learn_background=has_void, semantic_rate=settings.head_rate)
    roles: tuple[Role, ...] = ("class",)
    return SSPrompt(defaults, own, seed, roles)


LINEAR = Method(PixelSettings, ZERO_SHOT.build, solver=LinearReader)
PROTOTYPE = Method(PrototypeSettings, ZERO_SHOT.build, solver=Prototypes)
PROTOTYPE_TEXT = Method(PrototypeSettings, ZERO_SHOT.build, solver=PrototypesAndText)
QUERY_LINEAR = Method(QueryLinearSettings, _query_linear)
