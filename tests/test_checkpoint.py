"""Model folders, and the import of official checkpoint files."""

import hashlib
import pickle
from pathlib import Path

import pytest
import torch
from tiny import CONFIG, TOKENIZER, tiny_folder, tiny_network

from promptseg.errors import PromptsegError
from promptseg.files import read_json, write_json
from promptseg.models.fingerprint import fingerprint
from promptseg.models.seem import checkpoint
from promptseg.models.seem.checkpoint import import_checkpoint, load_model_folder, save_model_folder
from promptseg.models.tokenizer import clip_tokenizer

EXTRAS = ("criterion.empty_weight", "dilation_kernel")


class Evil:
    """Unpickling it would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.fixture(autouse=True)
def tiny_is_known(monkeypatch):
    monkeypatch.setitem(checkpoint.NAMED, "tiny", CONFIG)


@pytest.fixture(scope="module")
def network():
    return tiny_network()


@pytest.fixture
def state(network):
    return dict(network.state_dict())


def saved(tmp_path: Path, content) -> Path:
    path = tmp_path / "official.pt"
    torch.save(content, path)
    return path


def refused(file: Path, out: Path, name: str = "tiny") -> str:
    with pytest.raises(PromptsegError) as caught:
        import_checkpoint(file, name, out)
    assert "\n" not in str(caught.value) and not (out / "model.safetensors").exists()
    return str(caught.value)


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


def wrapped(state, form):
    return {
        "plain": lambda: state,
        "model.": lambda: {f"model.{n}": t for n, t in state.items()},
        "module.model.": lambda: {f"module.model.{n}": t for n, t in state.items()},
        "module": lambda: {"module": {f"module.model.{n}": t for n, t in state.items()}, "optimizer": {"lr": 1.0}},
        "model": lambda: {"model": state, "epoch": 3},
        "state_dict": lambda: {"state_dict": state},
        "half": lambda: {n: t.half() for n, t in state.items()},
    }[form]()


@pytest.mark.parametrize("form", ["plain", "model.", "module.model.", "module", "model", "state_dict", "half"])
def test_import_takes_every_form_of_the_file(network, state, tmp_path, form):
    file = saved(tmp_path, wrapped(state, form))
    report = import_checkpoint(file, "tiny", tmp_path / "m", TOKENIZER)
    assert report.difference == checkpoint.StateDifference((), (), ())
    assert report.source_sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    again, config = load_model_folder(tmp_path / "m")
    assert config == CONFIG and fingerprint(again) == report.fingerprint
    for name, value in state.items():
        expected = value.half().float() if form == "half" else value
        assert torch.equal(again.state_dict()[name], expected), name
    assert report.source_sha256 in (tmp_path / "m" / "README.md").read_text()


def test_import_takes_safetensors(network, tmp_path):
    folder = tiny_folder(tmp_path / "source")
    report = import_checkpoint(folder / "model.safetensors", "tiny", tmp_path / "m")
    assert report.fingerprint == fingerprint(network)
    assert not (tmp_path / "m" / "tokenizer.json").exists()


def test_import_fills_in_harmless_buffers_and_reports_what_it_leaves_out(network, state, tmp_path):
    for name in EXTRAS:
        del state[name]
    file = saved(tmp_path, state | {"extra.weight": torch.zeros(2)})
    report = import_checkpoint(file, "tiny", tmp_path / "m")
    assert report.difference.missing == EXTRAS and report.difference.unexpected == ("extra.weight",)
    assert "ignored: extra.weight" in str(report) and "filled in: criterion.empty_weight" in str(report)
    again, _ = load_model_folder(tmp_path / "m")
    assert torch.equal(again.state_dict()["criterion.empty_weight"], network.state_dict()["criterion.empty_weight"])


def test_missing_parameters_are_listed(state, tmp_path):
    del state["sem_seg_head.predictor.class_embed"]
    message = refused(saved(tmp_path, state), tmp_path / "m")
    assert "1 missing (sem_seg_head.predictor.class_embed)" in message


def test_misshapen_parameters_are_listed(state, tmp_path):
    state["sem_seg_head.predictor.query_feat.weight"] = torch.zeros(3, 32)
    message = refused(saved(tmp_path, state), tmp_path / "m")
    assert "1 of another shape (sem_seg_head.predictor.query_feat.weight)" in message


def test_file_of_another_architecture_names_that_one(state, tmp_path):
    message = refused(saved(tmp_path, state), tmp_path / "m", name="seem-nano")
    assert "not the weights of seem-nano" in message and message.endswith("they fit tiny")


def test_unknown_architecture_lists_the_choices(state, tmp_path):
    assert "seem-focal-l-v1, seem-focal-t-v1" in refused(saved(tmp_path, state), tmp_path / "m", name="focal")


def test_values_that_are_not_finite_are_refused(state, tmp_path):
    state["dilation_kernel"] = torch.full((1, 1, 3, 3), float("nan"))
    assert "tensor dilation_kernel" in refused(saved(tmp_path, state), tmp_path / "m")


def test_names_given_twice_are_refused(state, tmp_path):
    state["model.dilation_kernel"] = state["dilation_kernel"]
    assert "twice" in refused(saved(tmp_path, state), tmp_path / "m")


@pytest.mark.parametrize("content", [{}, [1, 2], {"step": 3}])
def test_files_without_tensors_are_refused(tmp_path, content):
    assert "holds no tensors" in refused(saved(tmp_path, content), tmp_path / "m")


@pytest.mark.parametrize("legacy", [False, True])
def test_nothing_in_a_checkpoint_is_executed(state, tmp_path, legacy):
    trap, file = tmp_path / "trap", tmp_path / "official.pt"
    torch.save(state | {"evil": Evil(trap)}, file, _use_new_zipfile_serialization=not legacy)
    assert "refused" in refused(file, tmp_path / "m") and not trap.exists()


def test_other_files_are_refused_in_one_line(tmp_path):
    file = tmp_path / "official.pt"
    for content in (b"", b"hello\nworld", pickle.dumps(object, protocol=2), b"PK\x03\x04broken"):
        file.write_bytes(content)
        assert "refused" in refused(file, tmp_path / "m")
    file.unlink()
    assert "no such file" in refused(file, tmp_path / "m")
