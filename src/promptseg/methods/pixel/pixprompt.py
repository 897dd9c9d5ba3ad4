"""PixPrompt: the default spatial and semantic prompts, and pixel prompts solved over them."""

from dataclasses import dataclass

from torch import Tensor

from promptseg.checks import check_whole
from promptseg.methods.module import Method, PromptSolver, Solved
from promptseg.methods.pixel.choice import Choice, choose, table
from promptseg.methods.pixel.samples import PixelSampler
from promptseg.methods.pixel.solver import PixelProblem
from promptseg.methods.ssprompt import ZERO_SHOT
from promptseg.models.base import ImageFeatures, Prediction, PromptableSegmenter
from promptseg.models.capabilities import dense_maps
from promptseg.models.evidence import BIAS, EMBEDDING, TRUST
from promptseg.prompts import Prompts


@dataclass(frozen=True)
class PixelSettings:
    """Settings of the solver.

    Attributes:
        pixels: labelled pixels that are sampled of all shots together. They take this times the channels of all dense
            maps times 4 bytes.
        solver_steps: of the last solution, at most, which starts from one in few axes.
    """

    pixels: int = 48_000
    solver_steps: int = 10

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        check_whole("pixels", self.pixels)
        check_whole("solver_steps", self.solver_steps)


class PixelPrompts(PromptSolver):
    """Samples pixels of every shot, chooses a recipe by cross-validation over shots, and solves for all of them."""

    def __init__(
        self,
        model: PromptableSegmenter,
        classes: int,
        shots: int,
        settings: PixelSettings,
        seed: int,
        cross_fit: int = 0,
    ) -> None:
        """Start without a pixel.

        Args:
            model: offers dense maps.
            classes: C.
            shots: how many will be shown.
            settings: of the solver.
            seed: of samples and folds.
            cross_fit: see `PromptSolver`.

        Raises:
            PromptsegError: the model offers no dense maps.
        """
        self.cross_fit = cross_fit
        self._maps, self._settings, self._classes, self._seed = dense_maps(model), settings, classes, seed
        self._sampler = PixelSampler(settings.pixels, shots, classes, seed)

    def show(self, shot: int, features: ImageFeatures, prediction: Prediction, labels: Tensor) -> None:
        """Sample the shot's pixels."""
        self._sampler.take(shot, self._maps.dense_maps(features), prediction, labels)

    def solve(self) -> Solved:
        """`pixel` (C, sum of D_l), `pixel_bias` (C, 1), `pixel_trust` (C, 1); nothing if nothing beat the model's own.

        What is learned tells the classes that the shots show from each other; the others are left to the model. Metrics
        are of held-out shots: the mean IoU of what was chosen and of the model's own answer, both among the classes
        shown, the difference, and the standard error of the difference over shots.
        """
        samples = self._sampler.samples()
        shown = samples.classes()
        problem = PixelProblem.of(samples.among(shown))
        choice = choose(problem, samples.shots, self._seed)
        kinds: dict[str, Tensor] = {}
        numbers = 0
        if choice.recipe is not None:
            solved = problem.folded(problem.solve_from_leading(choice.recipe, self._settings.solver_steps))
            numbers = sum(one.numel() for one in solved)
            for name, rows, left in zip((EMBEDDING, BIAS, TRUST), solved, (0.0, 0.0, 1.0), strict=True):
                kinds[name] = rows.new_full((self._classes, rows.shape[1]), left).index_copy(0, shown, rows)
        return Solved(kinds, numbers, _measured(choice), table(choice.trials))


def _measured(choice: Choice) -> dict[str, float]:
    """Scores on held-out shots, by name; none where no shot could be held out."""
    if not choice.trials:
        return {}
    own = choice.trials[0].miou
    return {
        "held_out_miou": own + choice.gain,
        "held_out_own_miou": own,
        "held_out_gain": choice.gain,
        "held_out_gain_error": choice.deviation,
    }


def starting_prompts(
    model: PromptableSegmenter, defaults: Prompts, shots: int, settings: PixelSettings, seed: int
) -> PixelPrompts:
    """What makes the pixel prompts that changes of weights are learned with."""
    return PixelPrompts(model, len(defaults.label_space), shots, settings, seed)


PIXPROMPT = Method(PixelSettings, ZERO_SHOT.build, solver=PixelPrompts)
