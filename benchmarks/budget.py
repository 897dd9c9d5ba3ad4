"""What fit, evaluate and predict cost in encodings of one photo, and how far the encoder is from the machine's limit.

    python benchmarks/budget.py --models seem-lite --data 'streets:snow' --shots 4 --out budget.json
    python benchmarks/budget.py --models seem-focal-t-v1 --data 'streets:snow?size=1024x512' --shots 2 --rounds 2

Everything takes turns in one process, by processor seconds of one thread, so that other load on the machine meets all
alike; medians are told. Weights are random but for `seem-lite`. A fit of SSPrompt is too long to be repeated: it is its
encodings, with mirror images, and its steps, of which a few are timed.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode
from training_step import build_model, spread

from promptseg.data.few_shot import draw_shots
from promptseg.data.registry import load_dataset
from promptseg.data.sample import Sample
from promptseg.engine.defaults import default_prompts
from promptseg.engine.evaluate import evaluate
from promptseg.engine.fit import fit
from promptseg.engine.predict import predict
from promptseg.engine.settings import PRESETS
from promptseg.features.encode import image_tensor
from promptseg.features.features_cache import FeaturesCache, encode_images
from promptseg.features.memory import keep_freed_memory
from promptseg.files import write_json
from promptseg.models.seem.segmenter import SeemSegmenter
from promptseg.prompts import Prompts
from promptseg.record import PRECISIONS

Work = Callable[[], object]
STEPS = 4
"""Steps of the fit whose time is that of a few steps; it and a fit of none are subtracted."""


def works(model: SeemSegmenter, shots: list[Sample]) -> dict[str, Work]:
    """What takes turns: one encoding in each precision, and the verbs over all shots."""
    pixels = image_tensor(model, shots[0].image())
    prompts = default_prompts(model, shots[0].label_space)
    cache = FeaturesCache(model.device, "memory")
    learn = partial(fit, model, shots, progress=False)
    learn("ssprompt", steps=1, cache=cache)  # encodes all, mirrored too
    learned = learn("pixprompt").prompts
    return {
        **{f"encode, {p}": partial(encode_images, model, [pixels], p) for p in PRECISIONS},
        "predict": lambda: [predict(model, prompts, sample.image(), "semantic") for sample in shots],
        "predict, pixel prompts": lambda: [predict(model, learned, sample.image(), "semantic") for sample in shots],
        "evaluate": partial(evaluate, model, prompts, shots),
        "fit pixprompt": partial(learn, "pixprompt"),
        "first step": partial(learn, "ssprompt", steps=1, cache=cache),
        "steps": partial(learn, "ssprompt", steps=1 + STEPS, cache=cache),
    }


def take_turns(given: dict[str, Work], rounds: int) -> dict[str, list[float]]:
    """Processor seconds of each work in each round, after one that warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in given}
    for turn in range(rounds + 1):
        for name, work in given.items():
            began = time.process_time()
            work()
            if turn:
                seconds[name].append(time.process_time() - began)
    return seconds


def limits(model: SeemSegmenter, prompts: Prompts, image: Tensor) -> dict[str, Any]:
    """What one encoding and one decoding take at the rates that the machine reaches; 10^9 operations, and seconds."""
    one, maps, kernel = torch.randn(1024, 1024), torch.randn(1, 256, 64, 128), torch.randn(256, 256, 3, 3)
    maps = maps.to(memory_format=torch.channels_last)
    product_rate = 2 * 1024**3 / 1e9 / best(lambda: one @ one)
    convolution_rate = 2 * 256 * 256 * 9 * 64 * 128 / 1e9 / best(lambda: F.conv2d(maps, kernel, padding=1))
    features = encode_images(model, [image], "float32")
    counts = {
        "encode": operations(lambda: encode_images(model, [image], "float32")),
        "decode": operations(lambda: model.decode(features, prompts)),
    }
    least = {
        work: products / product_rate + convolutions / convolution_rate
        for work, (products, convolutions) in counts.items()
    }
    return {
        "products and convolutions": {work: [round(one, 1) for one in both] for work, both in counts.items()},
        "product rate": round(product_rate, 1),
        "convolution rate": round(convolution_rate, 1),
        "seconds at these rates": {work: round(seconds, 3) for work, seconds in least.items()},
        "encoded and decoded, in encodings": round(1 + least["decode"] / least["encode"], 2),
    }


@torch.inference_mode()
def operations(work: Work) -> tuple[float, float]:
    """10^9 operations of some work in products, and in convolutions."""
    with FlopCounterMode(display=False) as counter:
        work()
    counts = {str(kind): count / 1e9 for kind, count in counter.get_flop_counts()["Global"].items()}
    convolutions = sum(count for kind, count in counts.items() if "conv" in kind)
    return sum(counts.values()) - convolutions, convolutions


def best(work: Work, calls: int = 10) -> float:
    """The least processor seconds of some calls."""
    found = []
    for _ in range(calls):
        began = time.process_time()
        work()
        found.append(time.process_time() - began)
    return min(found)


def measure(name: str, shots: list[Sample], rounds: int) -> dict[str, Any]:
    """One model's row: seconds of an encoding, and all else in encodings of one photo."""
    model = build_model(name, "cpu")
    pixels = image_tensor(model, shots[0].image())
    seconds = take_turns(works(model, shots), rounds)
    encode = statistics.median(seconds["encode, float32"])
    per_photo = {
        verb: statistics.median(seconds[verb]) / len(shots) / encode
        for verb in ("predict", "predict, pixel prompts", "evaluate", "fit pixprompt")
    }
    tuned = PRESETS["tuned"]
    step = (statistics.median(seconds["steps"]) - statistics.median(seconds["first step"])) / STEPS / tuned.batch_size
    return {
        "model": name,
        "input": list(pixels.shape[1:]),
        "seconds": {name: spread(times) for name, times in seconds.items()},
        "in encodings, a photo": {verb: round(value, 2) for verb, value in per_photo.items()},
        "SSPrompt step, a photo, in encodings": round(step / encode, 3),
        "fit ssprompt with 16 shots, a photo, in encodings": round(
            2 + tuned.steps * tuned.batch_size * step / encode / 16, 2
        ),
        "limits": limits(model, default_prompts(model, shots[0].label_space), pixels),
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["seem-lite"])
    parser.add_argument("--data", default="streets:snow")
    parser.add_argument("--shots", type=int, default=4, help="photos that everything works on")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    shots = list(draw_shots(load_dataset(options.data).train, options.shots))[: options.shots]
    about = {"machine": platform.processor() or platform.machine(), "torch": torch.__version__, "data": options.data}
    rows = []
    for name in options.models:
        rows.append(measure(name, shots, options.rounds))
        print(rows[-1], flush=True)
    if options.out:
        write_json(options.out, about | {"photos": len(shots), "rows": rows})


if __name__ == "__main__":
    main()
