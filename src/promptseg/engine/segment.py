"""One object of a photo that is pointed at or named."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from promptseg.data.photo_pixels import Photo, photo_pixels
from promptseg.data.tiles import tile_around
from promptseg.errors import PromptsegError
from promptseg.features.encode import image_tensor
from promptseg.models.base import PromptableSegmenter, Size
from promptseg.models.capabilities import Box, ObjectPrompt, Place, interactive_prompts
from promptseg.tasks.masks import masks_at


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The object that was found.

    Attributes:
        mask: (H, W) bool, at the photo's own size.
        score: mean probability of the mask's pixels, 0..1, as the model sees it; 0 for an empty mask.
        logits: (1, 1, h, w), the mask as the model gave it; what `previous` of a next round takes.
        seen: rows and columns of the photo that were looked at; a next round looks at the same.
    """

    mask: NDArray[np.bool_]
    score: float
    logits: Tensor
    seen: tuple[slice, slice]


@torch.no_grad()
def segment(
    model: PromptableSegmenter,
    image: Photo,
    text: str | None = None,
    points: Sequence[Place] = (),
    boxes: Sequence[Box] = (),
    strokes: Sequence[Sequence[Place]] = (),
    negative: Sequence[Place] = (),
    previous: Segmentation | None = None,
    seed: int = 0,
    tile: int | None = None,
) -> Segmentation:
    """Find one object of a photo.

    All that is given is about the same object. Places are (x, y) in pixels of the photo, from its top left corner.

    Args:
        model: a model that takes such prompts; which ones, its `object_prompts` say.
        image: a file, a PIL image, or (H, W, 3) uint8 RGB.
        text: what it is, in words.
        points: places on it.
        boxes: (x0, y0, x1, y1), around it or its parts.
        strokes: lines on it, each a list of places.
        negative: places that are not on it.
        previous: the answer of the round before on this photo, to be mended.
        seed: of whatever the model draws on the way; the same seed gives the same mask.
        tile: look at a tile of that height and width alone, pixels, with what is pointed at in its middle: an object
            that is small in a large photo is then seen at the photo's own scale. None or 0 = the whole photo.

    Raises:
        PromptsegError: nothing to find, a place outside the photo, a box that is none, a kind of prompt that the
            model does not take, an image that cannot be read, or a tile that does not hold what is pointed at.
    """
    finder, pixels = interactive_prompts(model), photo_pixels(image)
    size = (pixels.shape[0], pixels.shape[1])
    prompt = ObjectPrompt(
        text,
        tuple((x, y) for x, y in points),
        tuple((x, y) for x, y in negative),
        tuple((x0, y0, x1, y1) for x0, y0, x1, y1 in boxes),
        tuple(tuple((x, y) for x, y in stroke) for stroke in strokes),
        None if previous is None else previous.logits,
    )
    check_prompt(prompt, size)
    for kind, value in vars(prompt).items():
        if value is not None and len(value) and kind not in finder.object_prompts:
            raise PromptsegError(f"{model.id} takes no {kind}: give it {' or '.join(finder.object_prompts)}")
    seen = _seen(prompt, size, tile, previous)
    part = pixels[seen]
    encoded = image_tensor(model, part)
    features = model.encode_image([encoded])
    prediction = finder.segment(features, _scaled(prompt, seen, (encoded.shape[1], encoded.shape[2])), seed)
    logits = masks_at(prediction, 0, (part.shape[0], part.shape[1]))[0]
    found = logits > 0
    score = float(logits.sigmoid()[found].mean()) if found.any() else 0.0
    mask = np.zeros(size, bool)
    mask[seen] = found.cpu().numpy()
    return Segmentation(mask, score, prediction.mask_logits, seen)


def _seen(prompt: ObjectPrompt, size: Size, tile: int | None, previous: Segmentation | None) -> tuple[slice, slice]:
    """Rows and columns of a photo of `size` (H, W) to look at."""
    corners = [place for box in prompt.boxes for place in (box[:2], box[2:])]
    places = [*prompt.points, *prompt.negative, *corners, *(place for stroke in prompt.strokes for place in stroke)]
    if previous is not None:
        rows, columns = previous.seen
        for x, y in places:
            if not (columns.start <= x <= columns.stop and rows.start <= y <= rows.stop):
                raise PromptsegError(
                    f"{_shown((x, y))} is outside the tile of the round before: start without previous"
                )
        return previous.seen
    if not tile:
        return slice(0, size[0]), slice(0, size[1])
    if not places:
        raise PromptsegError(f"tile is {tile}, but words do not say where: give a point or a box too, or no tile")
    across, down = zip(*places, strict=True)
    return tile_around(size, tile, (min(across), min(down), max(across), max(down)))


def check_prompt(prompt: ObjectPrompt, size: Size) -> None:
    """Refuse prompts that find nothing, in pixels of a photo of `size` = (H, W).

    Raises:
        PromptsegError: no prompt that says where or what the object is, an empty text, a place outside the photo,
            an empty stroke, or a box without area.
    """
    if prompt.text is None and not (prompt.points or prompt.boxes or prompt.strokes):
        raise PromptsegError("nothing to find: give a text, a point, a box or a stroke")
    if prompt.text is not None and not prompt.text.strip():
        raise PromptsegError("the text is empty: say what to find, such as 'red car'")
    for kind, places in (("point", prompt.points), ("negative point", prompt.negative)):
        for place in places:
            _check_place(kind, place, size)
    for stroke in prompt.strokes:
        if not stroke:
            raise PromptsegError("a stroke has no place: give it at least one x,y")
        for place in stroke:
            _check_place("stroke", place, size)
    for box in prompt.boxes:
        _check_place("box", box[:2], size)
        _check_place("box", box[2:], size)
        if not (box[0] < box[2] and box[1] < box[3]):
            raise PromptsegError(f"box {_shown(box)} has no area: give x0,y0,x1,y1 with x0 < x1 and y0 < y1")


def _check_place(kind: str, place: Place, size: Size) -> None:
    height, width = size
    x, y = place
    # The right and bottom edges count as inside, as boxes end there.
    if not (isfinite(x) and isfinite(y) and 0 <= x <= width and 0 <= y <= height):
        raise PromptsegError(f"{kind} {_shown(place)} is outside the photo, which is {width} wide and {height} high")


def _shown(values: Sequence[float]) -> str:
    return ",".join(f"{value:g}" for value in values)


def _scaled(prompt: ObjectPrompt, seen: tuple[slice, slice], encoded: Size) -> ObjectPrompt:
    """The prompt in pixels of the encoded part of the photo, every place inside it."""
    (height, width), (rows, columns) = encoded, seen

    def moved(place: Place) -> Place:
        x = (place[0] - columns.start) * width / (columns.stop - columns.start)
        y = (place[1] - rows.start) * height / (rows.stop - rows.start)
        return min(max(x, 0.0), width - 1.0), min(max(y, 0.0), height - 1.0)

    return ObjectPrompt(
        prompt.text,
        tuple(moved(place) for place in prompt.points),
        tuple(moved(place) for place in prompt.negative),
        tuple((*moved(box[:2]), *moved(box[2:])) for box in prompt.boxes),
        tuple(tuple(moved(place) for place in stroke) for stroke in prompt.strokes),
        prompt.previous,
    )
