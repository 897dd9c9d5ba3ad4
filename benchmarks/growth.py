"""What fit and predict cost as photos, classes and size grow.

    python benchmarks/growth.py --out growth.json
    python benchmarks/growth.py --model seem-focal-t-v1 --photos 2 --classes 19 150 --sides 512 --out growth.json

One of the three grows at a time, the others stay at the middle one of what is given. Processor seconds of one thread,
the least of some calls; photos and labels are random patches, so nothing is learned. Of a fit of SSPrompt the steps
alone are timed.
"""

import argparse
import platform
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from budget import STEPS, best
from numpy.typing import NDArray
from training_step import build_model

from promptseg.data.sample import ObjectLabels, PanopticLabels
from promptseg.engine.fit import fit
from promptseg.engine.predict import predict
from promptseg.errors import PromptsegError
from promptseg.features.encode import image_tensor
from promptseg.features.features_cache import FeaturesCache, encode_images
from promptseg.features.memory import keep_freed_memory
from promptseg.files import write_json
from promptseg.label_space import ClassInfo, LabelSpace
from promptseg.models.seem.segmenter import SeemSegmenter

PATCH = 16
"""Side of a patch, pixels."""
SHOWN = 12
"""Most classes of one photo."""
CALLS = 2


@dataclass(frozen=True)
class Patches:
    """A photo, twice as wide as high, of patches of some of the classes."""

    number: int
    side: int
    space: LabelSpace

    @property
    def id(self) -> str:
        """Its number."""
        return str(self.number)

    @property
    def label_space(self) -> LabelSpace:
        """All classes."""
        return self.space

    def image(self) -> NDArray[np.uint8]:
        """(side, 2 side, 3)."""
        random = np.random.default_rng(self.number)
        return random.integers(0, 256, (self.side, 2 * self.side, 3), dtype=np.uint8)

    def semantic(self) -> NDArray[np.uint8]:
        """Class ids (side, 2 side)."""
        random = np.random.default_rng(self.number)
        shown = random.permutation(len(self.space))[:SHOWN].astype(np.uint8)
        rows, columns = -(-self.side // PATCH), -(-2 * self.side // PATCH)
        patches = shown[random.integers(0, len(shown), (rows, columns))]
        return patches.repeat(PATCH, 0).repeat(PATCH, 1)[: self.side, : 2 * self.side]

    def panoptic(self) -> PanopticLabels:
        """There are none."""
        raise PromptsegError(f"{self.id}: patches have class ids alone: choose task=semantic")

    def objects(self) -> ObjectLabels:
        """There are none."""
        return ObjectLabels.of(self.panoptic())


def measure(model: SeemSegmenter, photos: int, classes: int, side: int) -> dict[str, float]:
    """One row: processor seconds, and MB that are kept of a photo."""
    timed = partial(best, calls=CALLS)
    space = LabelSpace("benchmark", tuple(ClassInfo(f"thing {i}", (0, 0, 0)) for i in range(classes)))
    shots = [Patches(number, side, space) for number in range(photos)]
    pixels = image_tensor(model, shots[0].image(), side)
    cache = FeaturesCache(model.device, "memory")
    learn = partial(fit, model, shots, progress=False, short_side=side)
    fitted = learn("pixprompt").prompts
    learn("ssprompt", steps=1, cache=cache)  # encodes all, mirrored too
    few, more = (timed(partial(learn, "ssprompt", steps=1 + steps, cache=cache)) for steps in (0, STEPS))
    row = {
        "photos": photos,
        "classes": classes,
        "side": side,
        "encode a photo, s": timed(partial(encode_images, model, [pixels], "float32")),
        "predict a photo, s": timed(lambda: predict(model, fitted, shots[0].image(), "semantic")),
        "fit of pixel prompts, s": timed(partial(learn, "pixprompt")),
        "step of SSPrompt, s": (more - few) / STEPS,
        "features of a photo, MB": model.encode_image([pixels]).nbytes / 1e6,
    }
    return {name: round(value, 3) for name, value in row.items()}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="seem-lite")
    parser.add_argument("--photos", type=int, nargs="+", default=[4, 16, 64])
    parser.add_argument("--classes", type=int, nargs="+", default=[2, 19, 150])
    parser.add_argument("--sides", type=int, nargs="+", default=[128, 256, 512], help="shorter sides, pixels")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    model = build_model(options.model, "cpu")
    grown = [options.photos, options.classes, options.sides]
    middle = [values[len(values) // 2] for values in grown]
    chosen = {
        (*middle[:place], value, *middle[place + 1 :]): None for place, values in enumerate(grown) for value in values
    }
    rows = []
    for photos, classes, side in chosen:
        rows.append(measure(model, photos, classes, side))
        print(rows[-1], flush=True)
    if options.out:
        machine = platform.processor() or platform.machine()
        write_json(options.out, {"machine": machine, "torch": torch.__version__, "model": options.model, "rows": rows})


if __name__ == "__main__":
    main()
