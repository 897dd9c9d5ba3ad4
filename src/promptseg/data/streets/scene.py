"""One generated street scene: photo and labels from a condition and a seed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from promptseg.data.formats.cityscapes import CITYSCAPES_19
from promptseg.data.sample import PanopticLabels, Segment
from promptseg.data.streets.canvas import Dice, Floats
from promptseg.data.streets.layout import paint_street
from promptseg.data.streets.photo import Photo, develop
from promptseg.data.streets.weather import CONDITIONS
from promptseg.errors import unknown_name
from promptseg.label_space import IGNORE

SMALLEST_THING = 12
"""Things that show fewer pixels (at 256 x 128; more in larger photos) are unlabelled."""
DEFAULT_SIZE = (128, 256)
_IS_STUFF = ~np.isin(np.arange(256), CITYSCAPES_19.thing_ids)


@dataclass(frozen=True, eq=False)
class Scene:
    """A photo (H, W, 3) uint8 RGB, class ids (H, W) uint8, panoptic labels, and depth in metres (H, W) float32."""

    image: NDArray[np.uint8]
    semantic: NDArray[np.uint8]
    panoptic: PanopticLabels
    depth: Floats


def generate_scene(condition: str, seed: str | int, size: tuple[int, int] = DEFAULT_SIZE) -> Scene:
    """Make the scene of a seed; a seed gives the same street in every condition, but another at another size.

    Args:
        condition: one of `CONDITIONS`.
        seed: any text or number.
        size: (height, width) in pixels.

    Raises:
        PromptsegError: unknown condition.
    """
    if condition not in CONDITIONS:
        raise unknown_name("condition", condition, CONDITIONS)
    photo = develop(paint_street(Dice(f"streets:{seed}:layout"), size), Dice(f"streets:{seed}:texture"))
    dice = Dice(f"streets:{seed}:{condition}")
    image = _expose(CONDITIONS[condition](photo, dice), dice)
    semantic, panoptic = _label(photo)
    return Scene(image, semantic, panoptic, photo.depth)


def _expose(color: Floats, dice: Dice) -> NDArray[np.uint8]:
    """A slight blur, sensor noise, and rounding to bytes."""
    soft = color.copy()
    soft[:, 1:-1] = color[:, 1:-1] * np.float32(0.6) + (color[:, :-2] + color[:, 2:]) * np.float32(0.2)
    noise = (dice.field(*color.shape) - np.float32(0.5)) * np.float32(dice.uniform(3.0, 8.0))
    return np.clip(soft + noise + np.float32(0.5), 0.0, 255.0).astype(np.uint8)


def _label(photo: Photo) -> tuple[NDArray[np.uint8], PanopticLabels]:
    """Class ids and segments: one per stuff class, one per thing."""
    semantic, things = photo.classes.copy(), photo.things.copy()
    counts = np.bincount(things.ravel())
    least = SMALLEST_THING * semantic.size // (DEFAULT_SIZE[0] * DEFAULT_SIZE[1])
    small = counts < max(least, 4)
    small[0] = False
    semantic[small[things]] = IGNORE
    key = np.where(_IS_STUFF[semantic], semantic.astype(np.int32), things + 256)
    owner = np.full(int(key.max()) + 1, IGNORE, dtype=np.uint8)
    owner[key] = semantic
    segments = tuple(Segment(i, int(owner[k])) for i, k in enumerate(np.flatnonzero(owner != IGNORE).tolist(), 1))
    numbers = np.zeros(len(owner), dtype=np.int32)
    numbers[owner != IGNORE] = np.arange(1, len(segments) + 1)
    return semantic, PanopticLabels(numbers[key], segments)
