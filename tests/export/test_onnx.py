"""Prompts as an ONNX graph: equal to PyTorch in onnxruntime at any size, and run by a program without PyTorch."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from shutil import copytree

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image
from shapes import SHAPES, SPACE, ShapeSample
from tiny import VERSIONS, tiny_folder, tiny_segmenter
from tiny_sams import sam_spec

import promptseg
from promptseg.cli.main import run
from promptseg.engine.defaults import default_prompts
from promptseg.errors import PromptsegError
from promptseg.export.onnx_folder import export_onnx
from promptseg.prompts import Prompts
from promptseg.tasks.label_maps import label_map

pytestmark = pytest.mark.slow


def with_pixel_prompts(prompts: Prompts) -> Prompts:
    """The same with random pixel prompts of every kind."""
    generator = torch.Generator().manual_seed(0)
    kinds = {k.name: k for k in prompts.spec if k.role == "pixel"}
    return prompts.updated(
        {name: torch.randn(len(SPACE), kind.dim, generator=generator) / kind.dim for name, kind in kinds.items()}
    )


def leaving_one_out(prompts: Prompts) -> Prompts:
    """Pixel prompts that leave the second class to the model."""
    left = {"pixel": 0.0, "pixel_bias": 0.0, "pixel_trust": 1.0}
    second = torch.tensor([1])
    return prompts.updated({name: prompts.kinds[name].index_fill(0, second, value) for name, value in left.items()})


CASES = {
    "default": lambda prompts: prompts,
    "pixel": with_pixel_prompts,
    "some pixel": lambda prompts: leaving_one_out(with_pixel_prompts(prompts)),
}


@pytest.fixture(scope="module", params=list(CASES))
def exported(request, tmp_path_factory) -> Path:
    """The folder of `promptseg export`, beside the `prompts` it was made of."""
    root = tmp_path_factory.mktemp("onnx")
    model = promptseg.load_model(str(tiny_folder(root / "model")), device="cpu")
    prompts = default_prompts(model, SPACE)
    CASES[request.param](prompts).save(root / "run" / "prompts")
    assert run(["export", str(root / "run"), "--to", "onnx", "--out", str(root / "out")]) == 0
    return root / "out"


def session_of(folder: Path) -> onnxruntime.InferenceSession:
    """The graph of a folder, which is a sound one."""
    graph = onnx.load(folder / "model.onnx")
    onnx.checker.check_model(graph, full_check=True)
    assert [opset.version for opset in graph.opset_import if not opset.domain] == [18]
    return onnxruntime.InferenceSession(folder / "model.onnx")


def assert_like_pytorch(session, model, prompts, batch, size):
    """That a graph answers to a batch of pictures of a size (H, W) as the model does."""
    height, width = size
    coarse = np.random.default_rng(batch).integers(0, 256, (batch, 3, 4, 5))
    pixels = coarse.repeat(-(-height // 4), 2).repeat(-(-width // 5), 3)[..., :height, :width]
    scores, classes, masks = session.run(None, {"pixels": pixels.astype(np.float32)})
    prediction = model.decode(model.encode_image(torch.from_numpy(pixels)), prompts)
    assert np.abs(classes - prediction.class_logits.numpy()).max() < 1e-3
    assert np.abs(masks - prediction.mask_logits.numpy()).max() < 1e-3
    for index in range(batch):
        expected = label_map(prediction, index, (height, width))
        assert (scores[index].argmax(0) == expected).mean() >= 0.999


@pytest.mark.parametrize("batch", [1, 3])
def test_the_graph_says_what_pytorch_says_of_other_sizes_and_batches(exported, batch):
    prompts = promptseg.Prompts.load(exported.parent / "run/prompts")
    model, session = promptseg.load_model(prompts.model_id, device="cpu"), session_of(exported)
    for size in ((64, 96), (96, 64), (160, 256)):
        assert_like_pytorch(session, model, prompts, batch, size)


KINDS = {
    "davit, deformable": replace(VERSIONS["davit"], pixel_decoder="deformable"),
    "sam-vit": VERSIONS["sam-vit"],
    "x-decoder": VERSIONS["x-decoder"],
}


@pytest.mark.parametrize("kind", KINDS)
def test_networks_of_every_kind_have_a_graph_for_any_batch(kind, tmp_path):
    model = tiny_segmenter(0, KINDS[kind])
    prompts = with_pixel_prompts(default_prompts(model, SPACE))
    export_onnx(model, prompts, tmp_path)
    session, fixed = session_of(tmp_path), model.config.backbone.fixed_canvas
    for batch, size in ((3, (64, 160)), (1, (96, 96))):
        assert_like_pytorch(session, model, prompts, batch, (fixed, fixed) if fixed else size)


def test_maps_of_the_backbone_beside_others_of_their_size_have_a_graph(tmp_path):
    model = tiny_segmenter()
    model.maps = "all"
    prompts = with_pixel_prompts(default_prompts(model, SPACE))
    export_onnx(model, prompts, tmp_path)
    for batch, size in ((3, (64, 160)), (1, (96, 96))):
        assert_like_pytorch(session_of(tmp_path), model, prompts, batch, size)


@pytest.mark.parametrize("kind", ["sam", "sam2"])
def test_sam_has_a_graph_of_its_canvas(kind, tmp_path):
    model = promptseg.load_model(sam_spec(tmp_path / "models", kind), device="cpu")
    prompts = with_pixel_prompts(default_prompts(model, SPACE))
    export_onnx(model, prompts, tmp_path / "out")
    assert_like_pytorch(session_of(tmp_path / "out"), model, prompts, 1, (model.size, model.size))
    assert_labels_photos(tmp_path / "out", model, prompts, tmp_path)


def test_eight_bits_are_a_smaller_file_that_answers_nearly_the_same(tmp_path, capsys):
    model = promptseg.load_model("seem-lite", device="cpu")
    default_prompts(model, SPACE).save(tmp_path / "prompts")
    command = ["export", str(tmp_path / "prompts"), "--to", "onnx", "--precision", "int8"]
    assert run([*command, "--out", str(tmp_path / "out")]) == 0
    said = float(re.search(r"([\d.]+) % of pixels of the same class", capsys.readouterr().out).group(1))
    weights = sum(weight.value.numel() for weight in model.weights())
    assert (tmp_path / "out/model.onnx").stat().st_size < 0.8 * 4 * weights
    example = np.load(tmp_path / "out/example.npz")
    scores = session_of(tmp_path / "out").run(["scores"], {"pixels": example["pixels"].astype(np.float32)})[0]
    same = 100 * (scores.argmax(1) == example["scores"].argmax(1)).mean()
    assert said - 0.1 <= same < 100 and said >= 97
    assert json.loads((tmp_path / "out/about.json").read_text())["precision"] == "int8"


def program(folder: Path, *arguments: str) -> str:
    """What its program prints where there is neither PyTorch nor this package."""
    blocked = "import sys; sys.modules['torch'] = sys.modules['promptseg'] = None; import runpy; "
    run_path = blocked + "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    command = [sys.executable, "-c", run_path, str(folder / "run.py"), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def assert_labels_photos(folder, model, prompts, tmp_path):
    """That its program labels photos of several shapes as `predict` does."""
    photos = []
    for index, (width, height) in enumerate(((200, 120), (90, 130), (64, 64))):
        photos.append(tmp_path / f"{index}.png")
        Image.fromarray(SHAPES[index].image()).resize((width, height)).save(photos[-1])
    assert program(folder, str(tmp_path / "labelled"), *map(str, photos)).count(".png") == 3
    for path in photos:
        labels = np.asarray(Image.open(tmp_path / "labelled" / path.name))
        expected = promptseg.predict(model, prompts, path, "semantic")
        assert labels.shape == expected.shape and (labels == expected).mean() > 0.98


def test_its_program_labels_photos_without_pytorch(exported, tmp_path):
    prompts = promptseg.Prompts.load(exported.parent / "run/prompts")
    assert_labels_photos(exported, promptseg.load_model(prompts.model_id, device="cpu"), prompts, tmp_path)
    assert "same class 100.000 %" in program(exported, "--check")
    assert [c["name"] for c in json.loads((exported / "about.json").read_text())["classes"]] == list(SPACE.names)


def test_its_program_reads_deep_and_transparent_photos_as_predict_does(exported, tmp_path):
    prompts = promptseg.Prompts.load(exported.parent / "run/prompts")
    model = promptseg.load_model(prompts.model_id, device="cpu")
    photo = ShapeSample(3, 64, 96).image()
    alpha = np.where(np.arange(96) < 48, 255, 0).astype(np.uint8) * np.ones((64, 1), np.uint8)
    Image.fromarray(photo[..., 0].astype(np.uint16) * 257).save(tmp_path / "deep.png")
    Image.fromarray(np.dstack((photo, alpha))).save(tmp_path / "clear.png")
    for name in ("deep", "clear"):
        program(exported, str(tmp_path / "out"), str(tmp_path / f"{name}.png"))
        found = np.asarray(Image.open(tmp_path / f"out/{name}.png"))
        assert (found == promptseg.predict(model, prompts, tmp_path / f"{name}.png", "semantic")).mean() > 0.97
    twins = [str(tmp_path / "deep.png"), str(tmp_path / "other/deep.jpg")]
    done = subprocess.run(
        [sys.executable, exported / "run.py", tmp_path / "twice", *twins], capture_output=True, text=True
    )
    assert done.returncode == 1 and "two photos have the same name" in done.stderr and not (tmp_path / "twice").exists()


def test_what_cannot_be_exported_is_said(exported, tmp_path):
    other = promptseg.load_model(sam_spec(tmp_path, "sam3"), device="cpu")
    with pytest.raises(PromptsegError, match=r"^[^\n]*\(Sam3\) cannot be exported as ONNX[^\n]*$"):
        export_onnx(other, default_prompts(other, SPACE), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    prompts = promptseg.Prompts.load(exported.parent / "run/prompts")
    model = promptseg.load_model(prompts.model_id, device="cpu")
    with pytest.raises(PromptsegError, match="not empty"):
        export_onnx(model, prompts, exported)
    with pytest.raises(PromptsegError, match="unknown precision 'int4': choose one of float32, int8"):
        export_onnx(model, prompts, tmp_path / "out", "int4")
    assert run(["export", str(tmp_path), "--to", "coco", "--precision", "int8", "--out", str(tmp_path / "out")]) == 2


def test_a_graph_that_says_something_else_leaves_no_folder(exported, tmp_path, monkeypatch):
    prompts = promptseg.Prompts.load(exported.parent / "run/prompts")
    model = promptseg.load_model(prompts.model_id, device="cpu")
    monkeypatch.setattr("promptseg.export.onnx_folder.LARGEST_DIFFERENCE", -1.0)
    with pytest.raises(PromptsegError, match=r"^model\.onnx: in float32 it differs from PyTorch by [^\n]*$"):
        export_onnx(model, prompts, tmp_path / "deep/out")
    assert not list((tmp_path / "deep").iterdir())


@pytest.mark.parametrize(
    ("file", "content"),
    [("about.json", "{}"), ("about.json", '{"divisor": 0}'), ("model.onnx", "no graph"), ("example.npz", "no array")],
)
def test_its_program_says_in_a_line_what_is_broken(exported, tmp_path, file, content):
    folder = copytree(exported, tmp_path / "copy")
    (folder / file).write_text(content)
    done = subprocess.run([sys.executable, folder / "run.py", "--check"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert f"{folder / file}: cannot be used" in done.stderr and "export the graph again" in done.stderr
