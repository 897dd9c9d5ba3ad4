"""Photos and label maps per second at a short side of 512, against a plain Pillow loop in the same run.

python benchmarks/data_loading.py --threads 1 2 --out loading.json

Makes a Cityscapes tree of photos of 1024x2048 pixels in a temporary folder, as PNG, and as JPEG in a second pass.
The two loops take turns, so that other load on the machine meets both; the medians over the rounds are told.
The milliseconds are processor time for one photo and its labels, which other load hardly touches.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from promptseg.data.file_sample import FileSample
from promptseg.data.formats.cityscapes import CITYSCAPES_19, LABEL_ID_TABLE, LABEL_IDS
from promptseg.data.images import resize_image, resize_labels
from promptseg.files import write_json
from promptseg.models.images import short_side_size

SIZE = (1024, 2048)


def make_samples(folder: Path, count: int, suffix: str) -> list[FileSample]:
    """Photos of smooth colours with a little grain, and labels in patches: they pack about as real ones do."""
    rng = np.random.default_rng(0)
    samples = []
    for number in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (32, 64, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((SIZE[1], SIZE[0]), Image.Resampling.BICUBIC)).astype(np.int16)
        photo = (smooth + rng.integers(-4, 5, (*SIZE, 1))).clip(0, 255).astype(np.uint8)
        patches = Image.fromarray(np.array(LABEL_IDS, np.uint8)[rng.integers(0, 19, (32, 64))])
        paths = (folder / f"{number}{suffix}", folder / f"{number}_labelIds.png")
        Image.fromarray(photo).save(paths[0], quality=90)
        patches.resize((SIZE[1], SIZE[0]), Image.Resampling.NEAREST).save(paths[1])
        samples.append(FileSample(str(number), CITYSCAPES_19, *paths, LABEL_ID_TABLE))
    return samples


def load(sample: FileSample) -> None:
    """What a training step needs of a sample, with every check that promptseg makes."""
    photo, labels = sample.image(), sample.semantic()
    size = short_side_size((photo.shape[0], photo.shape[1]), 512)
    resize_image(photo, size)
    resize_labels(labels, size)


def load_plainly(sample: FileSample) -> None:
    """The same without orientation, tables of ids and checks."""
    np.asarray(Image.open(sample.image_path).convert("RGB").resize((1024, 512), Image.Resampling.BILINEAR))
    np.asarray(Image.open(sample.label_path).resize((1024, 512), Image.Resampling.NEAREST))


def rate(read: Callable[[FileSample], None], samples: list[FileSample], threads: int) -> tuple[float, float]:
    """Samples per second, and milliseconds of processor time for each."""
    with ThreadPoolExecutor(threads) as pool:
        began, worked = time.perf_counter(), time.process_time()
        list(pool.map(read, samples))
        seconds, work = time.perf_counter() - began, time.process_time() - worked
    return len(samples) / seconds, 1000 * work / len(samples)


def measure(folder: Path, suffix: str, threads: int, count: int, rounds: int) -> dict[str, object]:
    """One row of the result."""
    samples = make_samples(folder, count, suffix)
    loops = {"promptseg": load, "pillow": load_plainly}
    measured: dict[str, list[tuple[float, float]]] = {name: [] for name in loops}
    for _ in range(rounds):
        for name, loop in loops.items():
            measured[name].append(rate(loop, samples, threads))
    row: dict[str, object] = {"photos": suffix[1:], "threads": threads}
    for name, values in measured.items():
        row[f"{name}_per_second"] = round(statistics.median(v[0] for v in values), 1)
        row[f"{name}_cpu_ms"] = round(statistics.median(v[1] for v in values), 1)
    return row


def main() -> None:
    """Measure each kind of photo with each number of threads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--count", type=int, default=16, help="photos")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    rows = []
    for suffix in (".png", ".jpg"):
        for threads in args.threads:
            with tempfile.TemporaryDirectory() as folder:
                rows.append(measure(Path(folder), suffix, threads, args.count, args.rounds))
            print(rows[-1], flush=True)
    if args.out:
        write_json(args.out, {"size": SIZE, "short_side": 512, "count": args.count, "rows": rows})


if __name__ == "__main__":
    main()
