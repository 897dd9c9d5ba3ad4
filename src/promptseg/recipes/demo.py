"""The demo: a small frozen model that knows clear days, before and after 16-shot prompt learning in bad weather."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from promptseg.data.few_shot import draw_shots
from promptseg.data.registry import load_dataset
from promptseg.data.sample import Sample
from promptseg.engine.evaluate import Result, evaluate
from promptseg.engine.fit import fit
from promptseg.engine.predict import predict
from promptseg.features.features_cache import FeaturesCache
from promptseg.models.base import PromptableSegmenter
from promptseg.models.registry import load_model
from promptseg.prompts import Prompts
from promptseg.reports.pictures import Picture, colorize, grid, legend, stack, write_picture
from promptseg.reports.tables import Table, change_table, percent

MODEL = "seem-lite"
LEARNED = "pixprompt"
STEPS = 100
"""Of SSPrompt: a third of the preset's, which would take minutes where the demo is to take one."""
METHODS = {"zero-shot": "zero-shot", "ssprompt": f"SSPrompt, {STEPS} steps", LEARNED: "pixel prompts"}
"""The methods compared, and how they are written in table and picture; the prompts of `LEARNED` are kept."""
SHOTS = 16
ROWS = 4
"""Rows of the picture: the first images of the split, whatever they show."""


@dataclass(frozen=True)
class Outcome:
    """What the demo found and wrote.

    Attributes:
        table: IoU per class and method, in percent.
        mious: mean IoU per method, as a fraction.
        picture: file of photos, truth and all answers.
        prompts: folder of the learned prompts.
        photos: folder of the photos in the picture.
    """

    table: Table
    mious: dict[str, float | None]
    picture: Path
    prompts: Path
    photos: Path


def run_demo(out: Path, condition: str = "snow", seed: int = 0, say: Callable[[str], None] = print) -> Outcome:
    """Learn prompts for `streets:CONDITION`, compare them with the defaults, and write `out`.

    Args:
        out: folder to write to; results of an earlier demo there are replaced.
        condition: a condition of the generated streets.
        seed: of the draw of shots and of the training.
        say: takes a line about what happens next.

    Raises:
        PromptsegError: unknown condition.
    """
    data = load_dataset(f"streets:{condition}")
    model = load_model(MODEL)
    say(f"drawing shots from {len(data.train)} scenes of streets:{condition} (generated on first use)")
    shots = draw_shots(data.train, k=SHOTS, seed=seed)
    say(f"learning prompts from {len(shots)} images: at least {SHOTS} of every class where there are")
    cache = FeaturesCache(model.device, "auto")
    prompts = {method: fit(model, shots, method, seed=seed, steps=STEPS, cache=cache).prompts for method in METHODS}
    folder = prompts[LEARNED].save(out / "prompts")
    say(f"evaluating on {len(data.val)} images that no prompt has seen")
    results = {method: evaluate(model, prompts[method], data.val, progress=True, cache=cache) for method in METHODS}
    shown = data.val[:ROWS]
    titles = [f"{METHODS[method]}, {percent(result.miou)} mIoU" for method, result in results.items()]
    write_picture(out / "grid.png", answers_picture(model, list(prompts.values()), shown, titles))
    for sample in shown:
        write_picture(out / "photos" / f"{sample.id.replace('/', '-')}.png", sample.image())
    table = _table(list(results.values()), f"{MODEL} on streets:{condition}, IoU in percent")
    mious = {method: result.miou for method, result in results.items()}
    return Outcome(table, mious, out / "grid.png", folder, out / "photos")


def answers_picture(
    model: PromptableSegmenter, prompts: Sequence[Prompts], samples: Sequence[Sample], names: Sequence[str]
) -> Picture:
    """A row for each sample: photo, truth, and the answer of each of the prompts; the classes' legend below."""
    space = samples[0].label_space
    rows = []
    for sample in samples:
        photo = sample.image()
        answers = [predict(model, one, photo) for one in prompts]
        rows.append([photo, *(colorize(labels, space.colors) for labels in (sample.semantic(), *answers))])
    picture = grid(rows, ("photo", "truth", *names))
    return stack([picture, legend(space.names, space.colors, picture.shape[1])])


def _table(results: Sequence[Result], title: str) -> Table:
    names = tuple(METHODS.values())
    return change_table(names, [one.per_class for one in results], [one.miou for one in results], title)
