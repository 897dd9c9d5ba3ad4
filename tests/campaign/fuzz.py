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
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

sys.path[:0] = [str(Path(__file__).parent.parent / "support")]

import trees  # noqa: E402
from shapes import SHAPES  # noqa: E402
from tiny import tiny_folder, tiny_segmenter  # noqa: E402

import promptseg  # noqa: E402
from promptseg.data.images import read_image, read_labels  # noqa: E402
from promptseg.engine.runs import load_run, read_header  # noqa: E402
from promptseg.features.feature_files import FeatureFiles  # noqa: E402
from promptseg.models.seem.files.model_folder import load_model_folder  # noqa: E402

SECONDS, GIGABYTES = 20, 4
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


@dataclass(frozen=True)
class Target:
    """A kind of file: how a good one is made in a folder, which files of it are changed, and how it is read."""

    name: str
    make: Callable[[Path], object]
    files: str
    read: Callable[[Path], object]


def dataset(spec: str) -> Callable[[Path], object]:
    """Reads the photos and labels of a data set."""

    def read(root: Path) -> object:
        found = promptseg.load_dataset(spec.format(root))
        return [(sample.image(), sample.semantic()) for split in (found.train, found.val) for sample in split]

    return read


def make_folder(root: Path) -> None:
    """Two photos with label maps, classes and a list."""
    for kind in ("images", "labels", "splits"):
        (root / kind).mkdir(parents=True)
    for name in ("a", "b"):
        Image.fromarray(np.full((16, 16, 3), 90, np.uint8)).save(root / f"images/{name}.jpg")
        Image.fromarray(np.eye(16, dtype=np.uint8)).save(root / f"labels/{name}.png")
    (root / "classes.json").write_text(
        '{"classes": [{"name": "field", "color": [1, 2, 3]}, {"name": "sky", "kind": "thing"}]}'
    )
    (root / "splits/train.txt").write_text("a\nb\n")


def make_run(root: Path) -> None:
    """A finished run."""
    promptseg.fit(tiny_segmenter(), SHAPES[:2], steps=2, batch_size=1, out=root, progress=False)


def make_checkpoint(root: Path) -> None:
    """A run that was stopped after a step."""
    step = torch.optim.AdamW.step

    def stopped(*arguments: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return step(*arguments)

    torch.optim.AdamW.step = stopped  # type: ignore[method-assign]
    try:
        make_run(root)
    except KeyboardInterrupt:
        pass
    finally:
        torch.optim.AdamW.step = step  # type: ignore[method-assign]


def resume(root: Path) -> object:
    """Go on from the checkpoint."""
    read_header(root / "checkpoint.safetensors")
    return promptseg.fit(MODEL, SHAPES[:2], steps=2, batch_size=1, out=root, progress=False, resume=True)


MODEL = tiny_segmenter()
PIXELS = torch.from_numpy(SHAPES[0].image()).permute(2, 0, 1)


def make_features(root: Path) -> None:
    """The features of an image."""
    FeatureFiles(root, 2**30).write("ab", MODEL.encode_image([PIXELS]))


def read_pictures(root: Path) -> object:
    """Photos and label maps of all forms."""
    return [
        read(path)
        for path in sorted(root.iterdir())
        for read in (read_image, read_labels if path.suffix == ".png" else read_image)
    ]


def make_picture(suffix: str) -> Callable[[Path], object]:
    """A small picture of a form."""

    def make(root: Path) -> None:
        root.mkdir(parents=True)
        Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(root / f"x{suffix}")

    return make


TARGETS = (
    Target(
        "prompts",
        lambda root: make_run(root),
        "prompts/prompts.*",
        lambda root: promptseg.Prompts.load(root / "prompts"),
    ),
    Target("runs", make_run, "run.json", load_run),
    Target("checkpoints of fits", make_checkpoint, "checkpoint.safetensors", resume),
    Target(
        "features",
        make_features,
        "ab/*.safetensors",
        lambda root: FeatureFiles(root, 2**30).read("ab", MODEL.features_type),
    ),
    Target("folder: classes", make_folder, "classes.json", dataset("folder:{}")),
    Target("folder: lists", make_folder, "splits/*.txt", dataset("folder:{}")),
    Target("folder: labels", make_folder, "labels/*.png", dataset("folder:{}")),
    Target("COCO", trees.coco, "*.json", dataset("coco:{}")),
    Target("LabelMe", trees.labelme, "**/*.json", dataset("labelme:{}")),
    Target("COCO panoptic", trees.coco_panoptic, "annotations/*.json", dataset("coco_panoptic:{}")),
    *(
        Target(f"photos {suffix}", make_picture(suffix), "x.*", read_pictures)
        for suffix in (".jpg", ".png", ".webp", ".tiff", ".bmp")
    ),
    Target("model folders", tiny_folder, "config.json", load_model_folder),
    Target("weights", tiny_folder, "model.safetensors", load_model_folder),
    Target("tokenizers", tiny_folder, "tokenizer.json", lambda root: promptseg.load_model(root, device="cpu")),
)


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
    began = time.monotonic()
    signal.alarm(SECONDS)
    try:
        target.read(root)
    except promptseg.PromptsegError as error:
        if len(str(error).splitlines()) != 1:
            return f"not one line: {str(error)[:200]!r}"
    except BaseException as error:
        return f"{type(error).__name__}: {str(error)[:160]}"
    finally:
        signal.alarm(0)
    return f"took {time.monotonic() - began:.0f} s" if time.monotonic() - began > SECONDS else ""


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
    options = parser.parse_args()
    torch.set_num_threads(1)
    signal.signal(signal.SIGALRM, too_long)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + GIGABYTES * 2**30,) * 2)
    held, each, fell = Counter[str](), -(-options.count // len(TARGETS)), 0
    for target in TARGETS:
        with tempfile.TemporaryDirectory() as home:
            held[target.name], fallen = fuzz(target, each, options.seed, Path(home))
        fell += len(fallen)
        print(f"{target.name:24}{each:7}{held[target.name]:7}", flush=True)
        for line in fallen[:5]:
            print(f"  fell: {line}", flush=True)
    print(f"{'all':24}{each * len(TARGETS):7}{held.total():7}")
    return int(fell > 0)


if __name__ == "__main__":
    sys.exit(main())
