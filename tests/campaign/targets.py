"""What is fuzzed: each kind of file, how a good one is made, and how it is read."""

import io
import runpy
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trees
from PIL import Image
from requests_of_page import make_requests, make_town, open_town, send
from shapes import SHAPES, SPACE
from subjects import make_data
from tiny import CONFIG, tiny_folder, tiny_network, tiny_segmenter

import promptseg
from promptseg.cli.main import run
from promptseg.data.few_shot import restore_shots
from promptseg.data.images import read_image, read_labels
from promptseg.engine.defaults import default_prompts
from promptseg.engine.runs import load_run, read_header
from promptseg.errors import PromptsegError
from promptseg.experiments.plan import Score, read_score, write_score
from promptseg.export.labels import export_labels
from promptseg.export.onnx_folder import export_onnx
from promptseg.features.feature_files import FeatureFiles
from promptseg.models.seem.files import importing
from promptseg.models.seem.files.model_folder import load_model_folder


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


def make_export(form: str) -> Callable[[Path], object]:
    """The photos and labels of `make_folder` as another tool has them."""

    def make(root: Path) -> None:
        make_folder(root.with_name("source"))
        export_labels(promptseg.load_dataset(f"folder:{root.with_name('source')}").train, form, root)
        shutil.rmtree(root.with_name("source"))

    return make


CVAT = """<annotations><version>1.1</version><meta><task><labels>
<label><name>road</name><color>#102030</color><type>any</type></label></labels></task></meta>
<image id="0" name="a.png" width="12" height="10"><polygon label="road" points="3,2;9,2;9,6" z_order="0"/>
<mask label="road" rle="2, 3, 1" left="1" top="1" width="3" height="2" z_order="1"/></image></annotations>"""


def make_cvat(root: Path) -> None:
    """A photo, and CVAT's XML for it."""
    trees.photo(root / "images/a.png", shape=(10, 12))
    trees.write(root / "annotations.xml", CVAT)


def make_run(root: Path) -> None:
    """A finished run."""
    promptseg.fit(tiny_segmenter(), SHAPES[:2], "ssprompt", steps=2, batch_size=1, out=root, progress=False)


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
    return promptseg.fit(MODEL, SHAPES[:2], "ssprompt", steps=2, batch_size=1, out=root, progress=False, resume=True)


MODEL = tiny_segmenter()
ABOUT = {"data": "folder:x", "method": "ssprompt", "settings": {"steps": 3}}
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


def make_trial(root: Path) -> None:
    """A finished trial of a comparison."""
    score = Score(
        scores={"miou": 0.5},
        per_class={"field": 0.5, "sky": None},
        images=2,
        parameters=100,
        ms_per_image=1.5,
        encode_ms=None,
        peak_bytes=None,
        artefact_bytes=4000,
    )
    write_score(root / "trial.json", ABOUT, score, {"torch": "2"})


def make_draw(root: Path) -> None:
    """A record of a draw."""
    promptseg.draw_shots(SHAPES[:4], k=1).save(root / "draw.json")


def make_answers(root: Path) -> None:
    """Photos that are labelled, and the folder of the results."""
    make_data(root)
    default_prompts(MODEL, SPACE).save(root / "prompts")
    tiny_folder(root / "model")
    label_photos(root)


def label_photos(root: Path) -> None:
    """Label the photos that are not labelled yet."""
    given = ("--prompts", root / "prompts", "--model", root / "model", "--task", "instance", "--quiet")
    command_runs(("predict", root / "images/val", *given, "--out", root / "out"))


def command_runs(words: Sequence[object]) -> None:
    """Run a command; where it refuses, raise the line that it says."""
    said = io.StringIO()
    with redirect_stdout(io.StringIO()), redirect_stderr(said):
        code = run([str(word) for word in words])
    if code:
        raise PromptsegError(said.getvalue().rstrip("\n"))


def make_official(root: Path) -> None:
    """An official checkpoint, of a tiny model."""
    importing.NAMED = {"tiny": CONFIG}
    root.mkdir(parents=True)
    torch.save({"model": dict(tiny_network().state_dict()), "epoch": 3}, root / "official.pt")


@cache
def graph_files() -> dict[str, bytes]:
    """The files of an exported graph, by name."""
    with tempfile.TemporaryDirectory() as folder:
        export_onnx(MODEL, default_prompts(MODEL, SPACE), Path(folder))
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def make_graph(root: Path) -> None:
    """An exported graph, beside a photo."""
    root.mkdir(parents=True)
    for name, content in graph_files().items():
        (root / name).write_bytes(content)
    Image.fromarray(SHAPES[0].image()).save(root / "photo.png")


def run_graph(root: Path) -> None:
    """Label the photo with the program of the folder, and check its graph."""
    for words in (["--check"], [str(root / "labels"), str(root / "photo.png")]):
        sys.argv = ["run.py", *words]
        try:
            with redirect_stdout(io.StringIO()):
                runpy.run_path(str(root / "run.py"), run_name="__main__")
        except SystemExit as end:
            if end.code:
                raise PromptsegError(str(end.code)) from None


TARGETS = (
    Target("prompts", make_run, "prompts/prompts.*", lambda root: promptseg.Prompts.load(root / "prompts")),
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
    Target("YOLO", make_export("yolo"), "**/*.[ty]*", dataset("yolo:{}")),
    Target("Pascal VOC", make_export("voc"), "**/*.*", dataset("voc:{}")),
    Target("CVAT", make_cvat, "*.xml", dataset("cvat:{}")),
    Target("COCO panoptic", trees.coco_panoptic, "annotations/*.json", dataset("coco_panoptic:{}")),
    *(
        Target(f"photos {suffix}", make_picture(suffix), "x.*", read_pictures)
        for suffix in (".jpg", ".png", ".webp", ".tiff", ".bmp")
    ),
    Target("model folders", tiny_folder, "config.json", load_model_folder),
    Target("weights", tiny_folder, "model.safetensors", load_model_folder),
    Target("trials", make_trial, "trial.json", lambda root: read_score(root / "trial.json", ABOUT)),
    Target("draws", make_draw, "draw.json", lambda root: restore_shots(SHAPES, root / "draw.json")),
    Target("records of predict", make_answers, "out/**/*.json*", label_photos),
    Target(
        "official checkpoints",
        make_official,
        "*.pt",
        lambda root: importing.import_checkpoint(root / "official.pt", "tiny", root / "model"),
    ),
    Target("ONNX manifests", make_graph, "about.json", run_graph),
    Target("ONNX examples", make_graph, "example.npz", run_graph),
    Target("the page's folder", make_town, "**/*.*", open_town),
    Target("the page's requests", make_requests, "requests.json", send),
    Target("tokenizers", tiny_folder, "tokenizer.json", lambda root: promptseg.load_model(root, device="cpu")),
)
