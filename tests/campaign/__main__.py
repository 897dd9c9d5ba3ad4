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

import torch
import torch._dynamo  # a second in every child that makes a model, if this process has not loaded it

import promptseg

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "support")]

from subjects import Command, Sources, commands, difference, files  # noqa: E402
from victim import (  # noqa: E402
    End,
    Fault,
    Work,
    after_seconds,
    at_rename,
    clock_backwards,
    closed,
    command_line,
    counted,
    finish,
    in_update,
    limited,
    run,
    start,
    without_home,
)

SIZES = (1000, 2000, 4000, 10_000, 20_000, 50_000)
"""Bytes at which a disk is full, for each file: what the command says must fit, too."""


@dataclass
class Place:
    """The folders of a campaign, and its counts."""

    root: Path
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

    def table(self) -> str:
        """The counts, a line for each kind."""
        rows = [("what happened", "tried", "held"), *((kind, n, self.held[kind]) for kind, n in self.tried.items())]
        rows.append(("all", self.tried.total(), self.held.total()))
        return "\n".join(f"{kind:32}{tried:>7}{held:>7}" for kind, tried, held in rows)


@dataclass(frozen=True)
class Target:
    """A command, and what it does undisturbed: the files it leaves, how often one takes its place, and seconds."""

    command: Command
    wanted: dict[str, bytes]
    renames: int
    seconds: float

    def lacks(self, found: dict[str, bytes]) -> str:
        """In what the files of a starved command differ; it may do without keeping image features."""
        kept = {name for name in self.wanted.keys() - found.keys() if name.startswith("cache/")}
        return difference(found, {name: data for name, data in self.wanted.items() if name not in kept})


def undisturbed(place: Place, command: Command) -> Target:
    """Run a command as it should be."""
    out, began = place.out(), time.monotonic()
    notes = out.with_suffix(".renames")
    end = run(command.work(out), out.with_suffix(".log"), counted(notes))
    if end.code:
        sys.exit(f"{command.name} cannot be run at all: {end.err[-500:]}")
    if command.name == "fit ssprompt":
        shutil.copytree(out / "prompts", place.root / "prompts")
    return Target(command, files(out), notes.stat().st_size, time.monotonic() - began)


def interrupted(place: Place, kind: str, target: Target, case: str, fault: Fault) -> None:
    """Disturb a command, let it go on, and hold the result against the undisturbed one."""
    out, command = place.out(), target.command
    first = run(command.work(out), out.with_suffix(".log"), fault)
    second = run(command.work(out, again=True), out.with_suffix(".log"))
    wrong = difference(files(out), target.wanted) if second.code == 0 else ""
    if "Traceback" in first.err or first.code == -99:
        wrong = f"ended with {first.err.splitlines()[-1][:120]}"
    elif second.code and not second.is_line:
        wrong = f"did not go on: {second.err[-200:]}"
    place.count(kind, f"{command.name} {case}", wrong)
    shutil.rmtree(out, ignore_errors=True)


def refused(place: Place, kind: str, target: Target, case: str, fault: Fault) -> None:
    """Starve a command: it does all the same, or says in one line what it lacks, and can be run again."""
    out, command = place.out(), target.command
    end = run(command.work(out), out.with_suffix(".log"), fault)
    wrong = ""
    if end.code == 0:
        wrong = target.lacks(files(out))
    elif not end.is_line:
        wrong = f"code {end.code}, {(end.err.splitlines() or ['nothing said'])[-1][:160]}"
    elif left := [name for name in files(out) if Path(name).name.startswith(".tmp")]:
        wrong = f"left behind: {left[0]}"
    place.count(kind, f"{command.name} {case}", wrong)
    shutil.rmtree(out, ignore_errors=True)


def kills(place: Place, target: Target, dice: random.Random, long: bool) -> None:
    """SIGKILL, ctrl-C and SIGTERM at every or some moments."""
    moments = range(1, target.renames + 1)
    for number in moments if long else sorted(dice.sample(moments, min(2, len(moments)))):
        for after in (False, True):
            case = f"{'after' if after else 'before'} rename {number}"
            interrupted(place, "kill -9 at a rename", target, case, at_rename(number, after))
    for _ in range(10 if long else 1):
        at = dice.uniform(0, target.seconds)
        interrupted(place, "kill -9 at random", target, f"after {at:.2f} s", after_seconds(at))
        for what in (signal.SIGINT, signal.SIGTERM) if target.command.signals else ():
            case = f"{what.name} after {at:.2f} s"
            interrupted(place, "signals at random", target, case, after_seconds(at, what))
    if steps := target.command.steps:
        for number, times in itertools.product(range(1, steps, 2 if long else steps - 2), (1, 2)):
            case = f"{times} ctrl-C in step {number}"
            interrupted(place, "signals in an update", target, case, in_update(number, times=times))


def shortages(place: Place, target: Target, dice: random.Random, long: bool) -> None:
    """A full disk, few open files, no home, an odd clock, closed streams."""
    for most in SIZES if long else dice.sample(SIZES, 2):
        refused(place, "full disk", target, f"at {most} bytes", limited(resource.RLIMIT_FSIZE, most))
    if (target.command.alike and not long) or target.command.kept:
        return
    refused(place, "64 open files", target, "", limited(resource.RLIMIT_NOFILE, 64))
    refused(place, "no home", target, "", without_home)
    refused(place, "a clock that runs backwards", target, "", clock_backwards)
    for streams in ((1,), (2,), (0, 1, 2)) if long else ((0, 1, 2),):
        refused(place, "closed streams", target, str(streams), closed(*streams))


def together(lines: Sequence[Work], out: Path) -> list[End]:
    """Run commands at the same time."""
    logs = [out.with_name(f"{out.name}-{index}.log") for index in range(len(lines))]
    children = [start(line, log) for line, log in zip(lines, logs, strict=True)]
    return [finish(child, log) for child, log in zip(children, logs, strict=True)]


def crowds(place: Place, targets: dict[str, Target], rounds: int) -> None:
    """Two and three processes on one folder, and on one cold cache."""
    for count in (2 + index % 2 for index in range(rounds)):
        out, compare = place.out(), targets["compare"]
        ends = together([compare.command.work(out)] * count, out)
        bad = next((end.err[-200:] for end in ends if end.code), "")
        place.count("several compares in a folder", str(count), bad or difference(files(out), compare.wanted))
        out, names = place.out(), ("fit ssprompt", "fit zero-shot", "fit pixprompt")[:count]
        ends = together([targets[name].command.work(out) for name in names], out)
        won = [name for name, end in zip(names, ends, strict=True) if end.code == 0]
        told = all(end.code == 0 or end.is_line for end in ends)
        wrong = "" if told and len(won) == 1 else f"{len(won)} say they are done"
        place.count("several fits in a folder", str(count), wrong or difference(files(out), targets[won[0]].wanted))
        out = place.out()
        check: Work = lambda cache=out: command_line(  # noqa: E731
            ["data", "check", "streets:fog?size=64x64&train=3&val=1&test=1"], cache
        )
        ends = together([check] * count, out)
        left = [path.name for path in out.rglob(".*")]
        same = len({end.out for end in ends}) == 1 and not any(end.code for end in ends)
        place.count("several on a cold cache", str(count), "" if same and not left else f"{left} {ends[0].err[-100:]}")


def load_everything() -> None:
    """Import all modules, so that the children need not."""
    for module in pkgutil.walk_packages(promptseg.__path__, "promptseg."):
        with suppress(ImportError, SystemExit, promptseg.PromptsegError):
            importlib.import_module(module.name)


def main() -> int:
    """Run the campaign; 1 if a case fell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--long", action="store_true", help="every moment of every command, and more random ones")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments")
    parser.add_argument("--only", default="", help="commands whose name holds this, such as compare")
    options = parser.parse_args()
    torch.set_num_threads(1)
    load_everything()
    dice, began = random.Random(options.seed), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder))
        os.environ["PROMPTSEG_CACHE"] = str(place.root / "cache")
        known = [one for one in commands(Sources(place.root)) if options.long or one.short]
        targets = {command.name: undisturbed(place, command) for command in known}
        for target in (target for name, target in targets.items() if options.only in name):
            kills(place, target, dice, options.long)
            shortages(place, target, dice, options.long)
        if options.only in "crowds":
            crowds(place, targets, 6 if options.long else 2)
    print(f"\n{place.table()}   in {time.monotonic() - began:.0f} s")
    return int(bool(place.fallen))


if __name__ == "__main__":
    sys.exit(main())
