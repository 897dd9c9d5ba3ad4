"""A folder labelled in several parts: killed in the middle and started again, and what more processes cost.

    python benchmarks/large_folders.py --count 1000

Photos are small scenes of the drawn streets, each another; the model is the tests' tiny one of random weights, unless
it is named. Every process runs `promptseg predict`, is killed (SIGKILL) once about half of the photos are finished, and
the same commands run again. Files are compared byte by byte with those of one process that nobody disturbed. Seconds
are wall time; processor seconds add up those of all processes, which share what was imported before they were forked.
"""

import argparse
import hashlib
import os
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import redirect_stdout
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

WAIT = 0.05
"""Seconds between two looks at the records."""


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--model", help="name or folder (default: a tiny one)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        make_photos(root, given.count, given.model)
        about = f"{given.count} photos, {given.model or 'tiny model'}, semantic, one thread a process"
        print(f"{about}, load {os.getloadavg()[0]:.1f}")
        print("processes  seconds  processor seconds", flush=True)
        for count in (1, 2):
            seconds, processor = undisturbed(root, root / f"whole-{count}", count)
            print(f"{count:9d} {seconds:8.1f} {processor:18.1f}   load {os.getloadavg()[0]:.1f}", flush=True)
        expected = files(root / "whole-1")
        print("parts  finished when killed  begun twice  files  other than expected", flush=True)
        print(
            f"{2:5d} {0:21d} {0:12d} {len(expected):6d} {differing(files(root / 'whole-2'), expected):20d}", flush=True
        )
        for count in (1, 2, 4):
            out = root / f"killed-{count}"
            finished = killed(root, out, count, given.count // 2)
            undisturbed(root, out, count)
            found, twice = files(out), labelled_twice(out)
            print(f"{count:5d} {finished:21d} {twice:12d} {len(found):6d} {differing(found, expected):20d}", flush=True)


def make_photos(root: Path, count: int, name: str | None) -> None:
    """`photos` of 48 x 96 pixels, and `prompts`."""
    import numpy as np
    from PIL import Image

    import promptseg
    from promptseg.data.images import resize_image
    from promptseg.engine.defaults import default_prompts

    data = promptseg.load_dataset("streets:clear?train=1&val=20")
    if name is None:
        sys.path.insert(0, str(Path(__file__).parents[1] / "tests/support"))
        from tiny import tiny_folder

        name = str(tiny_folder(root / "model"))
    default_prompts(promptseg.load_model(name, device="cpu"), data.label_space).save(root / "prompts")
    scenes = [resize_image(sample.image(), (48, 96)) for sample in data.val]
    rng = np.random.default_rng(0)
    for number in range(count):
        scene = scenes[number % len(scenes)].astype(int) + rng.integers(-12, 13, (48, 96, 1))
        path = root / f"photos/{number // 100:02d}/{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(scene.clip(0, 255).astype(np.uint8)).save(path)


def start(root: Path, out: Path, count: int) -> list[BaseProcess]:
    """The processes of all parts."""
    given = ["predict", str(root / "photos"), "--prompts", str(root / "prompts"), "--out", str(out)]
    given += ["--threads", "1", "--no-overlays", "--quiet", "--shard"]
    context = get_context("fork")
    processes: list[BaseProcess] = [
        context.Process(target=label, args=([*given, f"{part}/{count}"],)) for part in range(1, count + 1)
    ]
    for process in processes:
        process.start()
    return processes


def label(given: Sequence[str]) -> None:
    """What one process does."""
    from promptseg.cli.main import run

    with open(os.devnull, "w") as nothing, redirect_stdout(nothing):
        code = run(list(given))
    sys.exit(code)


def undisturbed(root: Path, out: Path, count: int) -> tuple[float, float]:
    """Wall and processor seconds of a run to its end."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    for process in start(root, out, count):
        process.join()
        assert process.exitcode == 0, process.exitcode
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - began, processor


def killed(root: Path, out: Path, count: int, after: int) -> int:
    """Kill all processes when about so many photos are finished; how many were."""
    processes = start(root, out, count)
    while len(names(out)) < after:
        assert all(process.is_alive() for process in processes), "a process ended before it was to be killed"
        time.sleep(WAIT)
    for process in processes:
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    return len(names(out))


def names(out: Path) -> Sequence[bytes]:
    """The lines of all records."""
    return [line for path in (out / "records").glob("*.jsonl") for line in path.read_bytes().splitlines()]


def labelled_twice(out: Path) -> int:
    """Photos with more than one record, or with one that was cut short."""
    counts = Counter(line.partition(b'"path"')[0] for line in names(out))
    return sum(count > 1 for count in counts.values())


def files(out: Path) -> dict[str, str]:
    """SHA-256 of all files but the records, whose order tells which process was when, and what writers left."""
    found = [path for path in out.rglob("*") if path.is_file() and path.suffix != ".jsonl"]
    return {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in found
        if not path.name.startswith(".tmp-")
    }


def differing(found: dict[str, str], expected: dict[str, str]) -> int:
    """Files that are missing, too many, or of other content."""
    return sum(found.get(name) != expected.get(name) for name in found.keys() | expected.keys())


if __name__ == "__main__":
    main()
