"""What `make` installs: each file by its hash, in the versions of constraints.txt, and nothing is left out."""

import re
import tomllib
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, requires

from lock import HEAD, LEFT_OUT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from places import ROOT

PIN = re.compile(r"^([\w.-]+)==([^\s;]+)", re.MULTILINE)
AGAIN = "pip install uv && python tools/lock.py writes requirements.lock anew"
LOCK = (ROOT / "requirements.lock").read_text()


def pins(text: str) -> dict[str, str]:
    return {canonicalize_name(name): version for name, version in PIN.findall(text)}


def asked() -> set[Requirement]:
    """What this project asks for, with the extras that `make` installs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras, found, waiting = project["optional-dependencies"], set(project["dependencies"]), {"dev"}
    while waiting:
        for text in extras[waiting.pop()]:
            own = Requirement(text).name == project["name"]
            (waiting if own else found).update(Requirement(text).extras if own else {text})
    return {Requirement(text) for text in found}


def with_theirs(wanted: set[Requirement], seen: set[str]) -> set[str]:
    """The names of packages, with those that they need in turn here."""
    names = {canonicalize_name(one.name) for one in wanted} - seen
    seen |= names
    for one in wanted:
        with suppress(PackageNotFoundError):  # a part of CUDA, where this machine's PyTorch has none
            inner = map(Requirement, requires(one.name) or ())
            environments = [{"extra": extra} for extra in one.extras or {""}]
            here = {r for r in inner if r.marker is None or any(map(r.marker.evaluate, environments))}
            with_theirs({r for r in here if canonicalize_name(r.name) not in seen}, seen)
    return seen


def test_every_version_is_that_of_the_constraints_and_has_hashes() -> None:
    constraints, locked = pins((ROOT / "constraints.txt").read_text()), pins(LOCK)
    assert {name: v for name, v in locked.items() if constraints.get(name, v) != v} == {}, AGAIN
    entries = re.split(r"\n(?=\S)", LOCK.removeprefix(HEAD).strip())
    assert len(entries) == len(locked) > 80
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", entry) for entry in entries)


def test_everything_that_the_tests_need_is_locked_but_pytorch() -> None:
    missing = with_theirs(asked(), set()) - pins(LOCK).keys()
    assert {name for name in missing if not LEFT_OUT.match(f"{name}==")} == set(), AGAIN
    assert "torch" in missing
