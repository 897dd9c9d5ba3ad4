"""Model folders."""

import hashlib

import pytest
import torch
from tiny import CONFIG, tiny_folder, tiny_network

from promptseg.errors import PromptsegError
from promptseg.files import read_json, write_json
from promptseg.models.seem.files.model_folder import load_model_folder, save_model_folder
from promptseg.models.tokenizer import clip_tokenizer
from promptseg.tensor_files import fingerprint

EXTRAS = ("criterion.empty_weight", "dilation_kernel")


@pytest.fixture(scope="module")
def network():
    return tiny_network()


def test_folder_gives_back_the_network(network, tmp_path):
    again, config = load_model_folder(tiny_folder(tmp_path / "m"))
    assert config == CONFIG
    assert {p.name for p in (tmp_path / "m").iterdir()} == {
        "model.safetensors",
        "config.json",
        "tokenizer.json",
        "README.md",
    }
    for name, value in network.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


def test_half_precision_folder_is_float32_when_loaded(network, tmp_path):
    full, half = tiny_folder(tmp_path / "a"), tiny_folder(tmp_path / "b", dtype=torch.float16)
    assert (half / "model.safetensors").stat().st_size < 0.6 * (full / "model.safetensors").stat().st_size
    again, _ = load_model_folder(half)
    for name, value in network.state_dict().items():
        loaded = again.state_dict()[name]
        assert loaded.dtype == torch.float32 and torch.equal(loaded, value.half().float()), name


def test_tokenizer_of_another_vocabulary_is_refused(network, tmp_path):
    clip_tokenizer([]).save(str(tmp_path / "t.json"))
    with pytest.raises(PromptsegError, match="514 tokens, the model has 1024"):
        save_model_folder(tmp_path / "m", network, CONFIG, tmp_path / "t.json", "", torch.float32)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_incomplete_folder_names_the_file(tmp_path, name):
    (tiny_folder(tmp_path) / name).unlink()
    with pytest.raises(PromptsegError, match=f"{name}: no such file"):
        load_model_folder(tmp_path)


def test_damaged_folder_names_the_file(tmp_path):
    tiny_folder(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(PromptsegError, match="model.safetensors: not a readable safetensors file"):
        load_model_folder(tmp_path)
    write_json(tmp_path / "config.json", {"format_version": 99})
    with pytest.raises(PromptsegError, match="format_version is 99, expected 1"):
        load_model_folder(tmp_path)


def test_config_that_does_not_fit_the_weights_is_refused(tmp_path):
    content = read_json(tiny_folder(tmp_path) / "config.json")
    content["network"]["decoder_layers"] += 1
    write_json(tmp_path / "config.json", content)
    with pytest.raises(PromptsegError, match="missing .*transformer_cross_attention_layers"):
        load_model_folder(tmp_path)


def test_fingerprint_is_sha256_over_sorted_names_shapes_and_bytes(network):
    digest = hashlib.sha256()
    for name in sorted(name for name in network.state_dict() if name not in EXTRAS):
        value = network.state_dict()[name]
        digest.update(f"{name} {tuple(value.shape)}".encode() + value.numpy().tobytes())
    assert fingerprint(network.named_parameters()) == digest.hexdigest()


def test_fingerprint_sees_one_changed_number():
    changed = tiny_network()
    before = fingerprint(changed.named_parameters())
    changed.sem_seg_head.predictor.class_embed.data[0, 0] += 1e-3
    assert fingerprint(changed.named_parameters()) != before == fingerprint(tiny_network().named_parameters())
