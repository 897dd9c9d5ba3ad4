"""What happens to promptseg when it is killed, interrupted, crowded and starved: `python tests/campaign [--long]`.

Each case ends with the same files as the undisturbed run, or with one line that says what to do, and with nothing left
behind. A table says how many cases of each kind were tried and held; those that fell are listed.
"""

import argparse
import importlib
import itertools
import os
import pkgutil
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import promptseg

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "support")]

from tiny import tiny_folder  # noqa: E402
from victim import (  # noqa: E402
    End,
    Fault,
    after_seconds,
    at_rename,
    clock_backwards,
    closed,
    finish,
    in_update,
    limited,
    run,
    start,
    without_home,
)

METHODS = ("ssprompt", "semprompt", "spaprompt", "coop", "locn", "zero-shot")
TIMED = ("run.json", "table.json", "table.csv", "table.md")
"""Files that hold times beside results."""


@dataclass
class Place:
    """The folders of a campaign, and its counts."""

    root: Path
    seed: int
    tried: Counter[str] = field(default_factory=Counter)
    held: Counter[str] = field(default_factory=Counter)
    fallen: list[str] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def out(self) -> Path:
        """A new folder."""
        return self.root / f"out{next(self.numbers)}"

    def count(self, kind: str, case: str, wrong: str) -> None:
        """Count a case; `wrong` says what did not hold, if anything."""
        self.tried[kind] += 1
        self.held[kind] += not wrong
        if wrong:
            self.fallen.append(f"{kind}, {case}: {wrong}")
            print(f"fell: {self.fallen[-1]}", flush=True)


@dataclass(frozen=True)
class Command:
    """A command that writes a folder; run again with `again`, it goes on after an interruption."""

    name: str
    words: tuple[object, ...]
    again: tuple[object, ...] = ()
    renames: int = 8
    """How many finished files take their place, about."""

    def into(self, out: Path, again: bool = False) -> list[object]:
        """The command line."""
        return [*self.words, "--out", out, *(self.again if again else ())]


def make_data(root: Path) -> None:
    """Six photos of two classes that are easy to tell apart, from fixed random numbers."""
    dice = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        for number in range(count):
            labels = np.zeros((64, 64), np.uint8)
            labels[: int(dice.integers(20, 44))] = 1
            pixels = np.where(labels[..., None] == 1, (90, 140, 220), (90, 160, 60)) + dice.integers(
                -20, 20, (64, 64, 3)
            )
            for kind, array in (("images", pixels.astype(np.uint8)), ("labels", labels)):
                path = root / kind / split / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(path)
    (root / "classes.json").write_text('["field", "sky"]')


def commands(root: Path) -> dict[str, Command]:
    """The commands of the campaign; `root` holds photos, model and prompts."""
    given = ("--model", root / "model", "--data", root / "data", "--shots", 2, "--set", "batch_size=1")
    found = [
        Command(f"fit {m}", ("fit", *given, "--method", m, "--steps", 24), ("--resume",), 2 if m == "zero-shot" else 5)
        for m in METHODS
    ]
    several = ("--methods", "zero-shot,semprompt,ssprompt", "--seeds", "0,1", "--steps", 3)
    found.append(Command("compare", ("compare", *given, *several), renames=50))
    found.append(Command("predict", ("predict", root / "data/images", "--prompts", root / "prompts"), renames=14))
    found.append(Command("export", ("export", root / "data", "--to", "coco"), renames=5))
    return {command.name: command for command in found}


def files(folder: Path) -> dict[str, bytes]:
    """All files below a folder; of those that hold times, that they are there."""
    return {
        str(path.relative_to(folder)): b"" if path.name in TIMED or "trials" in path.parts else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def difference(found: dict[str, bytes], wanted: dict[str, bytes]) -> str:
    """In what two sets of files differ, in words; empty if in nothing."""
    left, missing = sorted(found.keys() - wanted.keys()), sorted(wanted.keys() - found.keys())
    other = sorted(name for name in found.keys() & wanted.keys() if found[name] != wanted[name])
    words = (("left behind", left), ("missing", missing), ("other bytes", other))
    return "; ".join(f"{word}: {', '.join(names[:3])}" for word, names in words if names)


def interrupted(place: Place, kind: str, command: Command, wanted: dict[str, bytes], case: str, fault: Fault) -> None:
    """Disturb a command, let it go on, and hold the result against the undisturbed one."""
    out = place.out()
    first = run(command.into(out), out.with_suffix(".log"), fault)
    second = run(command.into(out, again=True), out.with_suffix(".log"))
    wrong = difference(files(out), wanted) if second.code == 0 else ""
    if "Traceback" in first.err or first.code == -99:
        wrong = f"ended with {first.err.splitlines()[-1][:120]}"
    elif second.code and not second.is_line:
        wrong = f"did not go on: {second.err[-200:]}"
    place.count(kind, f"{command.name} {case}", wrong)
    shutil.rmtree(out, ignore_errors=True)


def refused(place: Place, kind: str, command: Command, wanted: dict[str, bytes], case: str, fault: Fault) -> None:
    """Starve a command: it does all the same, or says in one line what it lacks, and can be run again."""
    out = place.out()
    end = run(command.into(out), out.with_suffix(".log"), fault)
    wrong = ""
    if end.code == 0:
        wrong = difference(files(out), wanted)
    elif not end.is_line:
        wrong = f"code {end.code}, {(end.err.splitlines() or ['nothing said'])[-1][:160]}"
    elif left := [name for name in files(out) if Path(name).name.startswith(".")]:
        wrong = f"left behind: {left[0]}"
    place.count(kind, f"{command.name} {case}", wrong)
    shutil.rmtree(out, ignore_errors=True)


def together(place: Place, kind: str, lines: Sequence[list[object]], out: Path) -> list[End]:
    """Run commands at the same time."""
    logs = [out.with_name(f"{out.name}-{index}.log") for index in range(len(lines))]
    children = [start(line, log) for line, log in zip(lines, logs, strict=True)]
    return [finish(child, log) for child, log in zip(children, logs, strict=True)]


def crowded(place: Place, known: dict[str, Command], wanted: dict[str, dict[str, bytes]], rounds: int) -> None:
    """Two and three processes on one folder, and on one cold cache."""
    for index in range(rounds):
        out, count = place.out(), 2 + index % 2
        ends = together(place, "crowd", [known["compare"].into(out)] * count, out)
        bad = next((end.err[-200:] for end in ends if end.code), "")
        place.count("several compares in a folder", str(count), bad or difference(files(out), wanted["compare"]))
        out, names = place.out(), ("fit ssprompt", "fit semprompt", "fit coop")[:count]
        ends = together(place, "crowd", [known[name].into(out) for name in names], out)
        won = [name for name, end in zip(names, ends, strict=True) if end.code == 0]
        told = all(end.code == 0 or end.is_line for end in ends)
        wrong = "" if told and len(won) == 1 else f"{len(won)} say they are done"
        place.count("several fits in a folder", str(count), wrong or difference(files(out), wanted[won[0]]))
        out = place.out()
        os.environ["PROMPTSEG_CACHE"] = str(out)
        line = ["data", "check", "streets:fog?size=64x64&train=3&val=1&test=1"]
        ends = together(place, "crowd", [line] * count, out)
        left = [path.name for path in out.rglob(".*")]
        same = len({end.out for end in ends}) == 1 and not any(end.code for end in ends)
        place.count("several on a cold cache", str(count), "" if same and not left else f"{left} {ends[0].err[-100:]}")
        os.environ["PROMPTSEG_CACHE"] = str(place.root / "cache")


def main() -> int:
    """Run the campaign; 1 if a case fell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--long", action="store_true", help="every moment of every command, and more random ones")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments")
    parser.add_argument("--only", default="", help="commands whose name holds this, such as compare")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for module in pkgutil.walk_packages(promptseg.__path__, "promptseg."):
        with suppress(Exception, SystemExit):  # a module whose extra is not here
            importlib.import_module(module.name)
    dice, began = random.Random(options.seed), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder), options.seed)
        os.environ["PROMPTSEG_CACHE"] = str(place.root / "cache")
        make_data(place.root / "data")
        tiny_folder(place.root / "model")
        known = commands(place.root)
        wanted, seconds = {}, {}
        for name, command in known.items():
            out, at = place.out(), time.monotonic()
            end = run(command.into(out), out.with_suffix(".log"))
            if end.code:
                print(f"left out: {name} cannot be run at all: {end.err[-200:]}", flush=True)
                continue
            wanted[name], seconds[name] = files(out), time.monotonic() - at
            if name == "fit ssprompt":
                shutil.copytree(out / "prompts", place.root / "prompts")
        for name, command in ((name, known[name]) for name in wanted if options.only in name):
            moments = range(1, command.renames + 1)
            if not options.long:
                moments = sorted(dice.sample(moments, min(2, len(moments))))
            for number, after in itertools.product(moments, (False, True)):
                case = f"{'after' if after else 'before'} rename {number}"
                interrupted(place, "kill -9 at a rename", command, wanted[name], case, at_rename(number, after))
            for _ in range(10 if options.long else 1):
                at = dice.uniform(0, seconds[name])
                case = f"after {at:.2f} s"
                interrupted(place, "kill -9 at random", command, wanted[name], case, after_seconds(at))
                for what in (signal.SIGINT, signal.SIGTERM):
                    fault = after_seconds(at, what)
                    interrupted(place, "signals at random", command, wanted[name], f"{what.name} {case}", fault)
            if name.startswith("fit") and "zero" not in name:
                for number in range(1, 24, 2 if options.long else 11):
                    for times in (1, 2):
                        case, fault = f"{times} ctrl-C in step {number}", in_update(number, times=times)
                        interrupted(place, "signals in an update", command, wanted[name], case, fault)
            sizes = (1000, 2000, 4000, 10_000, 20_000, 50_000)  # what the command says must fit, too
            for most in sizes if options.long else dice.sample(sizes, 2):
                fault = limited(resource.RLIMIT_FSIZE, most)
                refused(place, "full disk", command, wanted[name], f"at {most} bytes", fault)
            fault = limited(resource.RLIMIT_NOFILE, 64)
            refused(place, "64 open files", command, wanted[name], "", fault)
            refused(place, "no home", command, wanted[name], "", without_home)
            refused(place, "a clock that runs backwards", command, wanted[name], "", clock_backwards)
            for streams in ((1,), (2,), (0, 1, 2)):
                refused(place, "closed streams", command, wanted[name], str(streams), closed(*streams))
        crowded(place, known, wanted, 6 if options.long else 2)
    print(f"\n{'what happened':32}{'tried':>7}{'held':>7}")
    for kind, count in place.tried.items():
        print(f"{kind:32}{count:7}{place.held[kind]:7}")
    print(f"{'all':32}{place.tried.total():7}{place.held.total():7}   in {time.monotonic() - began:.0f} s")
    return int(bool(place.fallen))


if __name__ == "__main__":
    sys.exit(main())
