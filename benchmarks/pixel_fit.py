"""What a fit of pixel prompts costs beside encoding each shot once, in processor time and peak memory.

    python benchmarks/pixel_fit.py                          # the embedded model on generated streets
    python benchmarks/pixel_fit.py --config seem-focal-t-v1 # full size, random weights, noise of 512 x 1024: time alone

Each part runs in a process of its own, with one thread; memory is the largest resident set of the process.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

import promptseg
from promptseg.data.sample import Sample
from promptseg.features.encode import image_tensor
from promptseg.label_space import LabelSpace

SIZE = (512, 1024)


class Noise:
    """A photo of noise with labels in blocks."""

    def __init__(self, number: int, label_space: LabelSpace) -> None:
        self.id, self._number, self.label_space = f"noise/{number}", number, label_space

    def image(self) -> np.ndarray:
        """Noise, (H, W, 3) uint8."""
        return np.random.default_rng(self._number).integers(0, 256, (*SIZE, 3), dtype=np.uint8)

    def semantic(self) -> np.ndarray:
        """Blocks of 64 pixels of random classes."""
        blocks = np.random.default_rng(self._number).integers(
            0, len(self.label_space), (SIZE[0] // 64, SIZE[1] // 64), dtype=np.uint8
        )
        return blocks.repeat(64, 0).repeat(64, 1)


def model_and_shots(config: str | None, count: int) -> tuple[Any, Sequence[Sample]]:
    """The embedded model with shots of streets in fog, or one of random weights with noise."""
    streets = promptseg.load_dataset("streets:fog")
    if config is None:
        return promptseg.load_model("seem-lite", "cpu"), promptseg.draw_shots(streets.train, k=16, seed=0)
    from promptseg.models.seem.config import NAMED
    from promptseg.models.seem.network.seem_network import SeemNetwork
    from promptseg.models.seem.segmenter import SeemSegmenter
    from promptseg.models.tokenizer import Tokenizer

    torch.manual_seed(0)
    folder = promptseg.load_model("seem-lite", "cpu")
    tokenizer = folder.tokenizer
    assert isinstance(tokenizer, Tokenizer), "the embedded model reads words"
    model = SeemSegmenter(SeemNetwork(NAMED[config]), tokenizer, config)
    return model, [Noise(number, streets.label_space) for number in range(count)]


def measure(part: str, config: str | None, count: int) -> dict[str, float]:
    """One part: `one` photo encoded, all encoded (`encode`), or a whole `fit`."""
    torch.set_num_threads(1)
    model, shots = model_and_shots(config, count)
    model.encode_image([image_tensor(model, shots[0].image())])  # what only the first call costs
    before, began = time.process_time(), time.perf_counter()
    learned = 0.0
    if part == "fit":
        learned = promptseg.fit(model, shots, "pixprompt", progress=False).seconds
    else:
        for shot in shots[: 1 if part == "one" else None]:
            model.encode_image([image_tensor(model, shot.image())])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    used = {"cpu_s": time.process_time() - before, "wall_s": time.perf_counter() - began, "solve_s": learned}
    return {**used, "peak_mb": peak, "shots": float(len(shots))}


def main() -> None:
    """Measure the parts and print them side by side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", help="a named SEEM network, with random weights")
    parser.add_argument("--shots", type=int, default=16, help="photos of noise")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        print(json.dumps(measure(arguments.part, arguments.config, arguments.shots)))
        return
    found = {}
    for part in ("one", "encode", "fit"):
        config = ["--config", arguments.config] if arguments.config else []
        command = [sys.executable, __file__, "--part", part, "--shots", str(arguments.shots), *config]
        found[part] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(part, {name: round(value, 1) for name, value in found[part].items()}, flush=True)
    ratio = found["fit"]["cpu_s"] / found["encode"]["cpu_s"]
    print(f"fit / encoding each shot once: {ratio:.2f} in processor time")
    print(f"peak memory: {found['fit']['peak_mb'] / found['one']['peak_mb']:.2f} of encoding one photo")


if __name__ == "__main__":
    main()
