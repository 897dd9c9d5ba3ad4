"""Memory, maps and open files of `predict` and `evaluate` over thousands of photos: what grows would end a long run.

python benchmarks/long_runs.py --photos 5000

Small photos and a small model of random numbers: what is looked for is what stays, not how long it takes. The
commands run in processes of their own, which are looked at from outside while they run.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent / "tests/support"))

from shapes import SHAPES
from tiny import tiny_folder, tiny_segmenter

import promptseg

WARM = 500
"""Photos after which memory must stay."""


@dataclass(frozen=True)
class Look:
    """A process at a moment: photos done, resident memory in MB, maps of memory, open files."""

    done: int
    megabytes: float
    maps: int
    files: int


def look(process: int, done: int) -> Look:
    """What the system says of a process."""
    home = Path(f"/proc/{process}")
    status = dict(line.split(":", 1) for line in (home / "status").read_text().splitlines())
    maps = len((home / "maps").read_text().splitlines())
    return Look(done, int(status["VmRSS"].split()[0]) / 1024, maps, len(os.listdir(home / "fd")))


def watch(words: list[object], folder: Path, pattern: str, cache: Path) -> list[Look]:
    """Run a command and look at it until it ends; it has done as many photos as there are files in a folder."""
    command = [sys.executable, "-m", "promptseg", *map(str, words), "--threads", "1", "--quiet"]
    variables = {**os.environ, "PROMPTSEG_CACHE": str(cache), "PYTHONPATH": os.pathsep.join(sys.path)}
    looks = []
    with subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            done = sum(1 for _ in folder.glob(pattern))
            try:
                looks.append(look(process.pid, done))
            except (OSError, KeyError):
                break
            time.sleep(1)
    if process.wait():
        sys.exit(f"{words[0]} ended with {process.returncode}")
    return looks


def main() -> None:
    """Print a line for each command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=5000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        tiny_folder(root / "model")
        run = promptseg.fit(tiny_segmenter(), SHAPES[:2], "ssprompt", steps=2, batch_size=1, progress=False)
        run.prompts.save(root / "prompts")
        dice = np.random.default_rng(0)
        for name in ("images/val", "labels/val"):
            (root / "data" / name).mkdir(parents=True)
        for number in range(options.photos):
            pixels = dice.integers(0, 256, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / f"data/images/val/{number:05}.png")
            Image.fromarray(pixels[..., 0] % len(run.prompts.class_names)).save(
                root / f"data/labels/val/{number:05}.png"
            )
        names = ", ".join(f'"{name}"' for name in run.prompts.class_names)
        (root / "data/classes.json").write_text(f"[{names}]")
        given = ["--prompts", root / "prompts", "--model", root / "model"]
        cache = root / "cache"
        cases: tuple[tuple[list[object], Path, str], ...] = (
            (["predict", root / "data/images", *given, "--out", root / "out"], root / "out", "labels/**/*.png"),
            (["evaluate", "--data", root / "data", *given, "--features", "disk"], cache, "**/*.safetensors"),
        )
        for words, place, pattern in cases:
            looks = watch(words, place, pattern, cache)
            warm = next((one for one in looks if one.done >= min(WARM, options.photos // 2)), looks[-1])
            last = looks[-1]
            print(
                f"{words[0]}: {warm.done} photos {warm.megabytes:.0f} MB, {warm.maps} maps, {warm.files} files; "
                f"{last.done} photos {last.megabytes:.0f} MB, {last.maps} maps, {last.files} files; "
                f"growth {last.megabytes - warm.megabytes:+.0f} MB",
                flush=True,
            )
        left = [str(path) for path in root.rglob(".tmp-promptseg-*")]
        print(f"temporary files left: {len(left)}")


if __name__ == "__main__":
    main()
