"""What tiles are worth: mIoU on photos that are larger than the model's scale, whole and in tiles.

    python benchmarks/tiles.py --side 4 --photos 3 --tiles 1024 512 256

Each photo is a mosaic of `side` x `side` generated street scenes, every scene in its own size: seen whole, each scene
is shrunk by `side` against what the model was trained on. Prompts are the model's own, zero-shot. Processor seconds are
of one thread, all photos together.
"""

import argparse
import time

import numpy as np
import torch

import promptseg
from promptseg.engine.defaults import default_prompts


class Mosaic:
    """Scenes beside each other as one sample."""

    def __init__(self, scenes: list, side: int, number: int) -> None:
        self.id, self.label_space = f"mosaic/{number}", scenes[0].label_space
        self._rows = [scenes[start : start + side] for start in range(0, side * side, side)]

    def image(self) -> np.ndarray:
        """(H, W, 3) uint8."""
        return np.concatenate([np.concatenate([scene.image() for scene in row], axis=1) for row in self._rows])

    def semantic(self) -> np.ndarray:
        """(H, W) uint8."""
        return np.concatenate([np.concatenate([scene.semantic() for scene in row], axis=1) for row in self._rows])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="seem-lite")
    parser.add_argument("--side", type=int, default=4)
    parser.add_argument("--photos", type=int, default=3)
    parser.add_argument("--tiles", type=int, nargs="*", default=[1024, 512, 256])
    given = parser.parse_args()
    torch.set_num_threads(1)
    each = given.side**2
    scenes = list(promptseg.load_dataset(f"streets:clear?size=512x256&train=1&val={each * given.photos}").val)
    photos = [Mosaic(scenes[i * each : (i + 1) * each], given.side, i) for i in range(given.photos)]
    model = promptseg.load_model(given.model, device="cpu")
    prompts = default_prompts(model, photos[0].label_space)
    height, width = photos[0].semantic().shape
    print(f"{given.model}, {given.photos} mosaics of {width} x {height} pixels, {each} scenes each")
    print("tile  overlap  mIoU  processor seconds", flush=True)
    tilings = [(0, None), *((side, part) for side in given.tiles for part in (0, side // 8, side // 4))]
    for tile, overlap in tilings:
        began = time.process_time()
        result = promptseg.evaluate(model, prompts, photos, tile=tile, overlap=overlap)
        seconds = time.process_time() - began
        print(f"{tile or 'none':>4} {overlap or 0:8d} {100 * (result.miou or 0):5.1f} {seconds:18.1f}", flush=True)


if __name__ == "__main__":
    main()
