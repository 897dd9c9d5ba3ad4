"""The demo alone and beside a core that is kept busy: how much longer it takes, by number of threads.

python benchmarks/busy_core.py --rounds 3

On a machine that does nothing else. Every round runs each way once, one after the other, so that what changes slowly
meets all of them; streets are drawn before the first. A small demo: the steps are those of the whole one.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from statistics import median

WAYS = {"default": (), "1 thread": ("--threads", "1")}


@contextmanager
def busy_core() -> Iterator[None]:
    """Keep a core busy."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def demo(condition: str, cache: Path, threads: tuple[str, ...]) -> float:
    """Seconds of a demo, with the interpreter's start."""
    variables = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "promptseg", "demo", "--condition", condition, "--out", out, "--quiet"]
        began = time.perf_counter()
        environment = variables | {"PROMPTSEG_CACHE": str(cache)}
        subprocess.run([*command, *threads], env=environment, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def main() -> None:
    """Print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--condition", default="snow?train=24&val=8", help="of the streets, with their numbers")
    options = parser.parse_args()
    load = os.getloadavg()[2]
    seconds = defaultdict[tuple[str, bool], list[float]](list)
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder)
        demo(options.condition, cache, ())
        for _ in range(options.rounds):
            for name, threads in WAYS.items():
                for busy in (False, True):
                    with busy_core() if busy else nullcontext():
                        seconds[name, busy].append(demo(options.condition, cache, threads))
    print(f"{'':10}{'alone':>9}{'beside':>9}{'times':>8}   load before: {load:.1f} in 15 minutes")
    for name in WAYS:
        alone, beside = (median(seconds[name, busy]) for busy in (False, True))
        print(f"{name:10}{alone:8.1f}s{beside:8.1f}s{beside / alone:8.2f}")


if __name__ == "__main__":
    main()
