"""What the campaign disturbs: commands on six small photos, and the saves of the page."""

import shutil
import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from app_folder import opened, put_labels, version_of
from httpx import Response
from PIL import Image
from tiny import CONFIG, TOKENIZER, tiny_folder, tiny_network
from victim import Work, command_line

from promptseg.cli.streams import open_streams
from promptseg.models.seem.files import importing

FITS = ("ssprompt", "zero-shot", "pixprompt", "ssf", "semprompt", "spaprompt", "coop", "locn", "lora", "ssf-pixprompt")
"""The first four go different ways: trained prompts, nothing trained, solved prompts, changed weights."""
CLASSES = '["field", "sky"]'
UNLIKE = ("run.json", "table.json", "table.csv", "table.md", "steps.json")
"""Files that hold times beside results, or each change of a label map: that they are there is enough."""


@dataclass(frozen=True)
class Command:
    """Something that writes a folder; done again after an interruption, it goes on or begins anew.

    Attributes:
        words: the command line; none for the saves of the page.
        again: what is added to it when it is to go on.
        given: a folder that the folder is a copy of at the start.
        steps: how many steps of an optimiser it makes.
        kept: whether image features are kept on disk, in the folder too.
        signals: whether it answers to ctrl-C and SIGTERM as commands do.
        short: whether the short form has it.
        alike: whether it takes the same way as another where it lacks more than room on the disk.
    """

    name: str
    words: tuple[object, ...] = ()
    again: tuple[object, ...] = ()
    given: Path | None = None
    steps: int = 0
    kept: bool = False
    signals: bool = True
    short: bool = True
    alike: bool = False

    def work(self, out: Path, again: bool = False) -> Work:
        """What a child process does."""
        if self.given is not None and not out.exists():
            shutil.copytree(self.given, out)
        if not self.words:
            return partial(page_saves, out)
        cache = out / "cache" if self.kept else None
        return partial(command_line, [*self.words, "--out", out, *(self.again if again else ())], cache)


@dataclass(frozen=True)
class Sources:
    """The folders and files that the commands read, made once."""

    root: Path
    data: Path = field(init=False)

    def __post_init__(self) -> None:
        """Make them."""
        object.__setattr__(self, "data", self.root / "data")
        make_data(self.data)
        tiny_folder(self.root / "model")
        shutil.copytree(self.data / "images/train", self.root / "town")
        torch.save(dict(tiny_network().state_dict()), self.root / "official.pt")
        importing.NAMED = {"tiny": CONFIG}  # as the tests of the import do


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
    (root / "classes.json").write_text(CLASSES)


def commands(sources: Sources) -> list[Command]:
    """The commands of the campaign; those that need prompts come after a fit, which makes them."""
    root = sources.root
    given = ("--model", root / "model", "--data", sources.data, "--shots", 2)
    fit = ("fit", *given, "--set", "batch_size=1")
    pixels = ("--set", "pixels=500")
    several = ("--methods", "zero-shot,semprompt,ssprompt", "--seeds", "0,1", "--steps", 3, "--set", "batch_size=1")
    # A checkpoint is written after 20 steps. Those of ssf go through the image encoder and take long.
    steps = dict.fromkeys(FITS, 24) | {"zero-shot": 0, "pixprompt": 0, "ssf": 6}
    own = {"pixprompt": ("fit", *given, *pixels), "ssf-pixprompt": (*fit, *pixels)}
    fits = [
        Command(
            f"fit {method}",
            (*own.get(method, fit), "--method", method, *(("--steps", steps[method]) if steps[method] else ())),
            ("--resume",),
            steps=steps[method],
            short=method in FITS[:4],
            alike=method != FITS[0],
        )
        for method in FITS
    ]
    disk = (*fit, "--steps", 24, "--method", "semprompt", "--set", "features=disk")
    return [
        *fits,
        Command("fit, features on disk", disk, ("--resume",), kept=True, alike=True),
        Command("compare", ("compare", *given, *several)),
        Command("predict", ("predict", sources.data / "images", "--prompts", root / "prompts")),
        Command("import", ("models", "import", root / "official.pt", "--config", "tiny", "--tokenizer", TOKENIZER)),
        Command("export labels", ("export", sources.data, "--to", "coco")),
        Command("export onnx", ("export", root / "prompts", "--to", "onnx"), short=False),
        Command("saves of the page", given=root / "town", signals=False),
    ]


def page_saves(root: Path) -> None:
    """Name classes; label two photos twice, undo, and confirm: by the requests of the page."""
    open_streams()
    with opened(root, running=False) as (_, client):
        version = client.get("/api/folder").json()["classes_version"]
        rows = {"classes": [{"name": "field"}, {"name": "sky"}]}
        accepted(client.put("/api/classes", json=rows, headers={"If-Match": version}))
        for photo in ("0", "1"):
            for value in (0, 1):
                labels = np.full((64, 64), value, np.uint8)
                accepted(put_labels(client, photo, labels, version_of(client, photo)))
            query = {"photo": photo}
            accepted(client.post("/api/undo", params=query, headers={"If-Match": version_of(client, photo)}))
            accepted(client.post("/api/confirm", params=query, headers={"If-Match": version_of(client, photo)}))


def accepted(response: Response) -> None:
    """End as a command does where the page would show why something was not done."""
    if response.status_code != 200:
        print(f"promptseg: {response.json()['detail']}", file=sys.stderr)
        raise SystemExit(2)


def files(folder: Path) -> dict[str, bytes]:
    """All files below a folder; of those that are unlike in each run, that they are there."""
    return {
        str(path.relative_to(folder)): b"" if path.name in UNLIKE or "trials" in path.parts else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def difference(found: dict[str, bytes], wanted: dict[str, bytes]) -> str:
    """In what two sets of files differ, in words; empty if in nothing."""
    left, missing = sorted(found.keys() - wanted.keys()), sorted(wanted.keys() - found.keys())
    other = sorted(name for name in found.keys() & wanted.keys() if found[name] != wanted[name])
    words = (("left behind", left), ("missing", missing), ("other bytes", other))
    return "; ".join(f"{word}: {', '.join(names[:3])}" for word, names in words if names)
