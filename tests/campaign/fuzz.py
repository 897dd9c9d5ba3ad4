"""Broken files: seeded changes of every kind of file that is read: `python tests/campaign/fuzz.py [--count N]`.

Each reader gives an answer or one line of a `PromptsegError`: no other exception, nothing over 20 seconds, no more than
4 GB, no file outside its folder. A table says how many inputs were tried and held; those that fell are listed.
"""

import argparse
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # loaded before seconds are counted

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "support")]

from targets import TARGETS, Target  # noqa: E402

import promptseg  # noqa: E402

SECONDS, GIGABYTES = 20, 4
"""Of the processor, as other programs may be busy; ten times as long by the clock."""
STRANGE = (
    None,
    True,
    -1,
    0,
    2**63,
    1e300,
    "",
    ".",
    "../../x",
    "a" * 40_000,
    "\x1b[2J\u202e",
    [],
    {},
    [[]] * 3,
    {"a": None},
)
"""Values in place of those of a JSON file."""


def changed(content: bytes, dice: random.Random) -> bytes:
    """A file with a few bytes, a piece, or a value of its JSON changed."""
    try:
        tree = json.loads(content) if dice.random() < 0.6 else None
    except ValueError:
        tree = None
    if isinstance(tree, dict | list) and tree:
        change_value(tree, dice)
        return json.dumps(tree).encode()
    found = bytearray(content)
    head = min(len(found), 2000) if dice.random() < 0.5 else len(found)  # headers are where it hurts
    for _ in range(dice.randint(1, 4)):
        at, size = dice.randrange(max(1, head)), dice.choice((1, 1, 4, 64, 1000))
        piece = dice.choice((dice.randbytes(size), bytes(size), b"\xff" * size, bytes(found[at : at + size]) * 2))
        kind = dice.randrange(4)
        found[at : at + (0 if kind == 0 else size)] = b"" if kind == 1 else piece
        if kind == 2 and dice.random() < 0.3:
            del found[at:]
    return bytes(found)


def change_value(tree: Any, dice: random.Random) -> None:
    """Replace, remove or double one value, anywhere."""
    while True:
        key = dice.choice(list(tree)) if isinstance(tree, dict) else dice.randrange(len(tree))
        inner = tree[key]
        if isinstance(inner, dict | list) and inner and dice.random() < 0.8:
            tree = inner
            continue
        kind = dice.randrange(5)
        if kind == 0:
            del tree[key]
        elif kind == 1 and isinstance(tree, list):
            tree.append(inner)
        elif kind == 2 and isinstance(tree, dict):
            tree[f"{key}x"] = inner
        else:
            tree[key] = dice.choice(STRANGE)
        return


def verdict(target: Target, root: Path) -> str:
    """What is wrong with how a file was read; empty if nothing."""
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.alarm(10 * SECONDS)
    try:
        target.read(root)
    except promptseg.PromptsegError as error:
        if len(str(error).splitlines()) != 1:
            return f"not one line: {str(error)[:200]!r}"
    except BaseException as error:
        return f"{type(error).__name__}: {str(error)[:160]}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
    return ""


def too_long(number: int, frame: object) -> None:
    """End what takes too long."""
    raise TimeoutError("too long")


def fuzz(target: Target, count: int, seed: int, home: Path) -> tuple[int, list[str]]:
    """Try `count` changed files; how many held, and what fell."""
    good, dice, fallen = home / "good", random.Random(f"{seed} {target.name}"), []
    target.make(good)
    names = sorted(path.relative_to(good) for path in good.glob(target.files) if path.is_file())
    place = home / "place"
    for index in range(count):
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(good, place)
        name = dice.choice(names)
        (place / name).write_bytes(changed((good / name).read_bytes(), dice))
        wrong = verdict(target, place)
        if wrong:
            fallen.append(f"{target.name} {index} ({name}): {wrong}")
    if left := {path.name for path in home.iterdir()} - {"good", "place"}:
        fallen.append(f"{target.name}: wrote {left} beside its folder")
    return count - len(fallen), fallen


def main() -> int:
    """Try all kinds; 1 if one fell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000, help="inputs in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="kinds whose name holds this, such as COCO")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # of Pillow, about odd photos
    for alarm in (signal.SIGALRM, signal.SIGPROF):
        signal.signal(alarm, too_long)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + GIGABYTES * 2**30,) * 2)
    held, tried, each, fell = Counter[str](), Counter[str](), -(-options.count // len(TARGETS)), 0
    for target in (target for target in TARGETS if options.only in target.name):
        with tempfile.TemporaryDirectory() as home:
            held[target.name], fallen = fuzz(target, each, options.seed, Path(home))
        tried[target.name], fell = each, fell + len(fallen)
        print(f"{target.name:24}{each:7}{held[target.name]:7}", flush=True)
        for line in fallen[:5]:
            print(f"  fell: {line}", flush=True)
    print(f"{'all':24}{tried.total():7}{held.total():7}")
    return int(fell > 0)


if __name__ == "__main__":
    sys.exit(main())
