"""The prompt file: exact round trip, and every broken field refused in one line."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from promptseg.errors import PromptsegError
from promptseg.prompts import Prompts


def example() -> Prompts:
    return Prompts(
        spatial=torch.randn(4, 6),
        semantic=torch.randn(2, 5),
        background=torch.randn(1, 5),
        class_names=("road", "sky"),
        model_id="tiny",
        model_fingerprint="ab" * 32,
        parts={"spatial.weight": torch.rand(4, 1)},
        record={"method": "ssprompt", "seed": 3},
    )


def test_round_trip_is_exact(tmp_path: Path) -> None:
    prompts = example()
    loaded = Prompts.load(prompts.save(tmp_path / "p"))
    for name in ("spatial", "semantic", "background"):
        assert torch.equal(getattr(loaded, name), getattr(prompts, name))
    assert torch.equal(loaded.parts["spatial.weight"], prompts.parts["spatial.weight"])
    for name in ("class_names", "model_id", "model_fingerprint", "spatial_kind", "record"):
        assert getattr(loaded, name) == getattr(prompts, name)
    assert sorted(path.name for path in (tmp_path / "p").iterdir()) == [
        "README.md",
        "prompts.json",
        "prompts.safetensors",
    ]


def test_learned_prompts_are_saved_without_their_graph(tmp_path: Path) -> None:
    prompts = replace(example(), spatial=torch.nn.Parameter(torch.randn(4, 6)) * 2)
    assert not Prompts.load(prompts.save(tmp_path)).spatial.requires_grad


def test_the_card_names_model_classes_and_use(tmp_path: Path) -> None:
    example().save(tmp_path)
    card = (tmp_path / "README.md").read_text()
    assert card.startswith("---\n")
    for text in ("base_model: tiny", "pipeline_tag: image-segmentation", "road, sky", "promptseg.predict("):
        assert text in card


def broken_header(folder: Path, **changes: object) -> None:
    path = folder / "prompts.json"
    header = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in header.items() if value is not None}))


def broken_tensors(folder: Path, **changes: torch.Tensor | None) -> None:
    path = folder / "prompts.safetensors"
    tensors = load_file(path) | changes
    save_file({name: tensor for name, tensor in tensors.items() if tensor is not None}, path)


BREAKS = {
    "no folder": (lambda f: [p.unlink() for p in f.iterdir()] and f.rmdir(), "no such prompt folder"),
    "no record": (lambda f: (f / "prompts.json").unlink(), "prompts.json: no such file"),
    "not JSON": (lambda f: (f / "prompts.json").write_text("{"), "not valid JSON"),
    "a list": (lambda f: (f / "prompts.json").write_text("[]"), "expected a JSON object, got list"),
    "version": (lambda f: broken_header(f, format_version=99), "format_version is 99, this package reads 1"),
    "no model": (lambda f: broken_header(f, model_id=None), "field model_id is None, expected text"),
    "no classes": (lambda f: broken_header(f, class_names=[]), "field class_names is []"),
    "record": (lambda f: broken_header(f, record=3), "field record is 3"),
    "class count": (lambda f: broken_header(f, class_names=["a"]), "tensor semantic has shape (2, 5), expected (1, D)"),
    "no tensors": (lambda f: (f / "prompts.safetensors").unlink(), "the folder is incomplete"),
    "garbage": (lambda f: (f / "prompts.safetensors").write_bytes(b"x" * 50), "not a readable safetensors file"),
    "missing": (lambda f: broken_tensors(f, semantic=None), "tensor semantic is missing"),
    "extra": (lambda f: broken_tensors(f, more=torch.zeros(1)), "unexpected tensor more"),
    "not finite": (
        lambda f: broken_tensors(f, spatial=torch.full((4, 6), torch.nan)),
        "tensor spatial (torch.float32)",
    ),
    "integers": (lambda f: broken_tensors(f, spatial=torch.ones(4, 6).int()), "tensor spatial (torch.int32)"),
    "one axis": (lambda f: broken_tensors(f, spatial=torch.ones(6)), "has shape (6,), expected (N, D)"),
    "background": (
        lambda f: broken_tensors(f, background=torch.ones(1, 4)),
        "background has D = 4, semantic has D = 5",
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_folder_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    folder = example().save(tmp_path / "p")
    breaks, message = BREAKS[name]
    breaks(folder)
    with pytest.raises(PromptsegError) as error:
        Prompts.load(folder)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_another_model_is_refused() -> None:
    prompts = example()
    prompts.check_model("tiny", "ab" * 32)
    with pytest.raises(
        PromptsegError, match="belong to tiny .weights abababababab., not to other .weights 000000000000."
    ):
        prompts.check_model("other", "0" * 64)
