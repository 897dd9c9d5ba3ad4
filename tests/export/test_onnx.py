"""Prompts as an ONNX graph: equal to PyTorch in onnxruntime at any size, and run by a program without PyTorch."""

import json
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
from shapes import SHAPES, SPACE
from tiny import CONFIG, tiny_folder, tiny_segmenter

import promptseg
from promptseg.cli.main import run
from promptseg.engine.defaults import default_prompts
from promptseg.errors import PromptsegError
from promptseg.export.onnx_graph import export_onnx
from promptseg.models.seem.variants import X_DECODER
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


@pytest.fixture(scope="module", params=["default", "pixel"])
def exported(request, tmp_path_factory) -> Path:
    """The folder of `promptseg export`, beside the `prompts` it was made of."""
    root = tmp_path_factory.mktemp("onnx")
    model = promptseg.load_model(str(tiny_folder(root / "model")), device="cpu")
    prompts = default_prompts(model, SPACE)
    (with_pixel_prompts(prompts) if request.param == "pixel" else prompts).save(root / "run" / "prompts")
    assert run(["export", str(root / "run"), "--to", "onnx", "--out", str(root / "out")]) == 0
    return root / "out"


def test_the_graph_says_what_pytorch_says_at_other_sizes(exported):
    prompts = promptseg.Prompts.load(exported.parent / "run/prompts")
    model = promptseg.load_model(prompts.model_id, device="cpu")
    graph = onnx.load(exported / "model.onnx")
    onnx.checker.check_model(graph, full_check=True)
    assert [opset.version for opset in graph.opset_import if not opset.domain] == [18]
    session = onnxruntime.InferenceSession(exported / "model.onnx")
    rng = np.random.default_rng(0)
    for height, width in ((64, 96), (96, 64), (160, 256)):
        pixels = rng.integers(0, 256, (1, 3, 4, 5)).repeat(height // 4, 2).repeat(-(-width // 5), 3)[..., :width]
        scores, classes, masks = session.run(None, {"pixels": pixels.astype(np.float32)})
        prediction = model.decode(model.encode_image(torch.from_numpy(pixels)), prompts)
        assert np.abs(classes - prediction.class_logits.numpy()).max() < 1e-3
        assert np.abs(masks - prediction.mask_logits.numpy()).max() < 1e-3
        assert (scores[0].argmax(0) == label_map(prediction, 0, (height, width))).mean() >= 0.999


def test_its_program_labels_photos_without_pytorch(exported, tmp_path):
    photos = []
    for index, (width, height) in enumerate(((200, 120), (90, 130), (64, 64))):
        photos.append(tmp_path / f"{index}.png")
        Image.fromarray(SHAPES[index].image()).resize((width, height)).save(photos[-1])
    blocked = "import sys; sys.modules['torch'] = sys.modules['promptseg'] = None; import runpy; "
    program = blocked + "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    command = [sys.executable, "-c", program, str(exported / "run.py")]
    said = subprocess.run(
        [*command, str(tmp_path / "out"), *map(str, photos)], check=True, capture_output=True, text=True
    )
    assert said.stdout.count(".png") == 3
    prompts = promptseg.Prompts.load(exported.parent / "run/prompts")
    model = promptseg.load_model(prompts.model_id, device="cpu")
    for path in photos:
        labels = np.asarray(Image.open(tmp_path / "out" / path.name))
        expected = promptseg.predict(model, prompts, path, "semantic")
        assert labels.shape == expected.shape and (labels == expected).mean() > 0.98
    checked = subprocess.run([*command, "--check"], check=True, capture_output=True, text=True).stdout
    assert "same class 100.000 %" in checked
    assert [c["name"] for c in json.loads((exported / "about.json").read_text())["classes"]] == list(SPACE.names)


def test_what_cannot_be_exported_is_said(exported, tmp_path):
    other = tiny_segmenter(0, replace(CONFIG, variant=X_DECODER))
    with pytest.raises(PromptsegError, match="ONNX has no operator"):
        export_onnx(other, default_prompts(other, SPACE), tmp_path / "out")
    prompts = promptseg.Prompts.load(exported.parent / "run/prompts")
    with pytest.raises(PromptsegError, match="not empty"):
        export_onnx(promptseg.load_model(prompts.model_id, device="cpu"), prompts, exported)


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
