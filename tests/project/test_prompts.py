"""The prompt file: exact round trip, and every broken field refused in one line."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from toy_prompts import CLASSES, RECORD, SPEC, toy_prompts

from promptseg.errors import PromptsegError
from promptseg.prompts import Prompts


def test_a_saved_folder_gives_back_every_field_exactly(tmp_path: Path) -> None:
    prompts = toy_prompts()
    loaded = Prompts.load(prompts.save(tmp_path / "p"))
    for name in ("kinds", "fixed", "parts"):
        group, again = getattr(prompts, name), getattr(loaded, name)
        assert group.keys() == again.keys() and all(torch.equal(group[key], again[key]) for key in group)
    for name in ("spec", "label_space", "class_names", "model_id", "model_fingerprint", "record"):
        assert getattr(loaded, name) == getattr(prompts, name)
    again = loaded.save(tmp_path / "again")
    names = ["README.md", "prompts.json", "prompts.safetensors"]
    assert sorted(path.name for path in again.iterdir()) == names
    assert all((tmp_path / "p" / name).read_bytes() == (again / name).read_bytes() for name in names)


def test_prompts_without_a_fit_have_no_record(tmp_path: Path) -> None:
    bare = replace(toy_prompts(), record=None, parts={})
    assert Prompts.load(bare.save(tmp_path)).record is None


def test_tensors_are_saved_detached_in_float32(tmp_path: Path) -> None:
    spatial = torch.nn.Parameter(torch.randn(4, 6, dtype=torch.float64)) * 2
    loaded = Prompts.load(toy_prompts().updated({"spatial": spatial}).save(tmp_path)).kinds["spatial"]
    assert not loaded.requires_grad and torch.equal(loaded, spatial.detach().float())


def test_an_update_goes_to_what_is_learned_or_fixed_by_the_models_own_word() -> None:
    tokens = torch.ones(2, 3, dtype=torch.bool)
    changed = toy_prompts().updated({"semantic": torch.ones(2, 5), "tokens": tokens, "position": torch.zeros(3, 6)})
    assert torch.equal(changed.fixed["tokens"], tokens) and "tokens" not in changed.kinds
    assert list(changed.of_role("mask")) == ["spatial", "position"] and list(changed.of_role("class")) == ["semantic"]
    assert torch.equal(changed.rows("class"), torch.ones(2, 5))


def test_the_default_keeps_what_the_weight_leaves_it() -> None:
    share = toy_prompts().default_share("mask")
    assert share is not None and share.tolist() == [0.75] * 4
    assert toy_prompts().default_share("class") is None


def test_prompts_are_not_compared_tensor_by_tensor() -> None:
    assert toy_prompts() != toy_prompts()


def test_the_card_names_model_classes_fit_and_use(tmp_path: Path) -> None:
    toy_prompts().save(tmp_path)
    card = (tmp_path / "README.md").read_text()
    assert card.startswith("---\n")
    for text in (
        "base_model: tiny",
        "pipeline_tag: image-segmentation",
        "road, sky",
        "spatial (4, 6), semantic (2, 5), background (1, 5)",
        "- method: ssprompt, 300 steps, seed 0",
        "- data: 2 images of toys, train (rule cover, k 1)",
        "- metrics: miou 0.5",
        "- licence: of the model: MIT",
        "promptseg.predict(",
    ):
        assert text in card


Break = Callable[[Path], object]


def header(**changes: object) -> Break:
    """Write other values into the JSON file; a key `a__b` stands for the field b of the field a."""

    def breaks(folder: Path) -> None:
        content = json.loads((folder / "prompts.json").read_text())
        for key, value in changes.items():
            *outer, last = key.split("__")
            place = content
            for name in outer:
                place = place[name]
            place[last] = value
        (folder / "prompts.json").write_text(json.dumps(content))

    return breaks


def without(*path: str) -> Break:
    def breaks(folder: Path) -> None:
        content = json.loads((folder / "prompts.json").read_text())
        place = content
        for name in path[:-1]:
            place = place[name]
        del place[path[-1]]
        (folder / "prompts.json").write_text(json.dumps(content))

    return breaks


def tensors(**changes: torch.Tensor | None) -> Break:
    def breaks(folder: Path) -> None:
        found = load_file(folder / "prompts.safetensors") | changes
        kept = {name: tensor for name, tensor in found.items() if tensor is not None}
        save_file(kept, folder / "prompts.safetensors")

    return breaks


BREAKS: dict[str, tuple[Break, str]] = {
    "no folder": (lambda f: [p.unlink() for p in f.iterdir()] and f.rmdir(), "no such prompt folder"),
    "no record": (lambda f: (f / "prompts.json").unlink(), "prompts.json: no such file"),
    "not JSON": (lambda f: (f / "prompts.json").write_text("{"), "not valid JSON"),
    "a list": (lambda f: (f / "prompts.json").write_text("[]"), "found [], expected a JSON object"),
    "version": (header(format_version=99), "format_version is 99, this package reads 2"),
    "no model": (without("model_id"), "field model_id is missing"),
    "model": (header(model_id=None), "field model_id is None, expected text"),
    "no classes": (header(label_space__classes=[]), "label space 'toy' has no classes"),
    "color": (
        header(label_space__classes=[{"name": "x", "color": [1, 2, 999], "is_thing": False}]),
        "class 'x' has the color [1, 2, 999]: give [r, g, b], each 0..255",
    ),
    "grey": (
        header(label_space__classes=[{"name": "x", "color": [1, 2], "is_thing": False}]),
        "field label_space.classes[0].color is [1, 2], expected a list of 3",
    ),
    "record": (header(record=3), "field record is 3, expected a JSON object"),
    "method": (without("record", "method"), "field record.method is missing"),
    "unknown": (header(record__mood="good"), "unknown field record.mood"),
    "seed": (header(record__seed="0"), "field record.seed is '0', expected a whole number"),
    "short side": (header(record__settings__short_side=-5), "short_side is -5: give a whole number of at least 1"),
    "steps": (header(record__settings__steps=0), "steps is 0: give a whole number of at least 1"),
    "NaN": (header(record__settings__rate=float("nan")), "field record.settings.rate is nan, expected a finite number"),
    "negative": (header(record__settings__rate=-1.0), "rate is -1.0: give a number of at least 0"),
    "NaN of the method": (
        header(record__method_settings__start_noise=float("nan")),
        "field record.method_settings.start_noise is nan",
    ),
    "flip": (header(record__settings__flip=1), "field record.settings.flip is 1, expected true or false"),
    "draw": (header(record__draw__ids=["a"]), "its ids do not fit its sha256"),
    "metrics": (header(record__metrics={"miou": "high"}), "field record.metrics.miou is 'high'"),
    "role": (
        header(spec=[{"name": "x", "role": "king", "dim": 2, "most": None, "optional": False, "learned": True}]),
        "field spec[0].role is 'king', expected one of mask, class, void, pixel",
    ),
    "class count": (
        header(label_space__classes=[{"name": "a", "color": [1, 2, 3], "is_thing": False}]),
        "semantic prompts have shape (2, 5), expected (1, 5)",
    ),
    "no tensors": (lambda f: (f / "prompts.safetensors").unlink(), "the folder is incomplete"),
    "garbage": (lambda f: (f / "prompts.safetensors").write_bytes(b"x" * 50), "not a readable safetensors file"),
    "missing": (tensors(semantic=None), "semantic prompts are missing, expected (2, 5)"),
    "missing fixed": (tensors(tokens=None), "tokens prompts are missing, expected (2, 3)"),
    "extra": (tensors(more=torch.zeros(1)), "unexpected prompts 'more', expected spatial, position, semantic"),
    "not finite": (tensors(spatial=torch.full((4, 6), torch.nan)), "tensor spatial holds values that are not finite"),
    "infinite part": (tensors(**{"parts.x": torch.tensor([torch.inf])}), "tensor parts.x holds values that are not"),
    "integers": (tensors(spatial=torch.ones(4, 6).int()), "tensor spatial is torch.int32"),
    "float64": (tensors(spatial=torch.ones(4, 6).double()), "tensor spatial is torch.float64"),
    "float16": (tensors(spatial=torch.ones(4, 6).half()), "tensor spatial is torch.float16"),
    "float8": (tensors(spatial=torch.ones(4, 6).to(torch.float8_e4m3fn)), "tensor spatial is torch.float8_e4m3fn"),
    "fixed numbers": (tensors(tokens=torch.ones(2, 3)), "tensor tokens is torch.float32"),
    "one axis": (tensors(spatial=torch.ones(6)), "spatial prompts have shape (6,), expected (N, 6) with N <= 9"),
    "too many": (tensors(spatial=torch.ones(10, 6)), "spatial prompts have shape (10, 6), expected (N, 6) with N <= 9"),
    "none": (tensors(spatial=torch.ones(0, 6)), "spatial prompts have shape (0, 6), expected (N, 6) with N <= 9"),
    "background": (tensors(background=torch.ones(2, 5)), "background prompts have shape (2, 5), expected (1, 5)"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_folder_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    folder = toy_prompts().save(tmp_path / "p")
    breaks, message = BREAKS[name]
    breaks(folder)
    with pytest.raises(PromptsegError) as error:
        Prompts.load(folder)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.full((4, 6), torch.inf), "tensor spatial holds values that are not finite"),
        (torch.ones(4, 6).to_sparse(), "tensor spatial is torch.float32 (torch.sparse_coo), expected dense"),
        (torch.ones(4, 7), "spatial prompts have shape (4, 7)"),
    ],
)
def test_what_could_not_be_loaded_is_not_saved(tmp_path: Path, tensor: torch.Tensor, message: str) -> None:
    with pytest.raises(PromptsegError) as error:
        toy_prompts().updated({"spatial": tensor}).save(tmp_path / "p")
    assert message in str(error.value) and not (tmp_path / "p").exists()


def test_another_model_is_refused() -> None:
    prompts = toy_prompts()
    prompts.check_model("tiny", "ab" * 32)
    with pytest.raises(
        PromptsegError, match="belong to tiny .weights abababababab., not to other .weights 000000000000."
    ):
        prompts.check_model("other", "0" * 64)


def test_the_record_says_what_was_asked_for_without_what_was_measured() -> None:
    assert RECORD.to_json()["metrics"] == {"miou": 0.5} and "metrics" not in RECORD.request()
    assert RECORD.request() == replace(RECORD, metrics={"miou": 0.9}).request()
    assert [kind.name for kind in SPEC] == ["spatial", "position", "semantic", "tokens", "background"]
    assert CLASSES.thing_ids == (1,)
