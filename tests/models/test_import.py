"""The import of official checkpoint files: what is taken, and what is refused in one line."""

import hashlib
import pickle
from argparse import Namespace
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import CONFIG, TOKENIZER, tiny_folder, tiny_network

from promptseg.errors import PromptsegError
from promptseg.models.seem.config import NAMED
from promptseg.models.seem.files import importing
from promptseg.models.seem.files.importing import fitting_configs, import_checkpoint
from promptseg.models.seem.files.model_folder import StateDifference, load_model_folder
from promptseg.models.seem.network.seem_network import SeemNetwork
from promptseg.models.seem.variants import X_DECODER
from promptseg.tensor_files import fingerprint

EXTRAS = ("criterion.empty_weight", "dilation_kernel")


class Evil:
    """Unpickling it would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.fixture(autouse=True)
def few_are_known(monkeypatch):
    """Two networks, one of them tiny: a search through all the named ones takes seconds."""
    monkeypatch.setattr(importing, "NAMED", {"tiny": CONFIG, "seem-lite": NAMED["seem-lite"]})


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


def wrapped(state, form):
    return {
        "plain": lambda: state,
        "model.": lambda: {f"model.{n}": t for n, t in state.items()},
        "module.model.": lambda: {f"module.model.{n}": t for n, t in state.items()},
        "module": lambda: {"module": {f"module.model.{n}": t for n, t in state.items()}, "optimizer": {"lr": 1.0}},
        "model": lambda: {"model": state, "epoch": 3},
        "state_dict": lambda: {"state_dict": state},
        "half": lambda: {n: t.half() for n, t in state.items()},
        "bfloat16": lambda: {n: t.bfloat16() for n, t in state.items()},
        "compiled": lambda: OrderedDict((f"_orig_mod.{n}", torch.nn.Parameter(t)) for n, t in state.items()),
        "training": lambda: {
            "epoch": 3,
            "optimizer": {"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 1e-4}]},
            "ema": {n: t + 1 for n, t in state.items()},
            "state_dict": {f"module.{n}": t for n, t in state.items()},
        },
    }[form]()


WRAPPED = ["model.", "module.model.", "module", "model", "state_dict", "compiled", "training"]


@pytest.mark.parametrize("form", ["plain", *WRAPPED, "half", "bfloat16"])
def test_import_takes_every_form_of_the_file(network, state, tmp_path, form):
    file = saved(tmp_path, wrapped(state, form))
    report = import_checkpoint(file, "tiny", tmp_path / "m", TOKENIZER)
    assert report.difference == StateDifference((), (), ())
    assert report.source_sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    again, config = load_model_folder(tmp_path / "m")
    assert config == CONFIG and fingerprint(again.named_parameters()) == report.fingerprint
    for name, value in state.items():
        expected = {"half": value.half().float(), "bfloat16": value.bfloat16().float()}.get(form, value)
        assert again.state_dict()[name].dtype == expected.dtype
        assert torch.equal(again.state_dict()[name], expected), name
    assert report.source_sha256 in (tmp_path / "m" / "README.md").read_text()


def test_import_takes_safetensors(network, tmp_path):
    folder = tiny_folder(tmp_path / "source")
    report = import_checkpoint(folder / "model.safetensors", "tiny", tmp_path / "m")
    assert report.fingerprint == fingerprint(network.named_parameters())
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
    message = refused(saved(tmp_path, state), tmp_path / "m", name="seem-lite")
    assert "not the weights of seem-lite" in message and message.endswith("they fit tiny")


def test_unknown_architecture_lists_the_choices(state, tmp_path):
    message = refused(saved(tmp_path, state), tmp_path / "m", name="focal")
    assert message == "unknown model config 'focal': choose one of an official configuration file, seem-lite, tiny"


def test_without_a_name_the_one_that_fits_is_taken(state, tmp_path):
    report = import_checkpoint(saved(tmp_path, state), None, tmp_path / "m")
    assert report.config_name == "tiny" and "tiny written to" in str(report)
    assert load_model_folder(tmp_path / "m")[1] == CONFIG


def test_without_a_name_several_that_fit_are_named(state, tmp_path, monkeypatch):
    monkeypatch.setitem(importing.NAMED, "other", replace(CONFIG, short_side=96))
    message = refused(saved(tmp_path, state), tmp_path / "m", name=None)
    assert message.endswith("fits tiny and other, which differ in no weight: choose one with --config")
    import_checkpoint(saved(tmp_path, state), "other", tmp_path / "m")
    assert load_model_folder(tmp_path / "m")[1].short_side == 96


def test_without_a_name_the_nearest_says_what_is_wrong(state, tmp_path):
    del state["sem_seg_head.predictor.class_embed"]
    message = refused(saved(tmp_path, state), tmp_path / "m", name=None)
    assert "fits no known model; nearest is tiny: 1 missing (sem_seg_head.predictor.class_embed)" in message
    message = refused(saved(tmp_path, {"layer1.weight": torch.zeros(3)}), tmp_path / "m", name=None)
    assert "none of its 1 tensors is known" in message


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("seem-focal-t-v1", ["seem-focal-t-v1", "seem-focal-t-v0", "seem-focal-t-demo"]),
        ("seem-davit-d5-v1", ["seem-davit-d5-v1"]),
        ("xdecoder-focal-l-oq101", ["xdecoder-focal-l-oq101"]),
    ],
)
def test_official_checkpoints_are_known_by_names_and_shapes(name, expected, monkeypatch):
    monkeypatch.setattr(importing, "NAMED", NAMED)
    with torch.device("meta"):
        state = SeemNetwork(NAMED[name]).state_dict()
    assert sorted(fitting_configs(state)) == sorted(expected)


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


def test_objects_of_a_training_state_are_named(state, tmp_path):
    for extra, name in ((Namespace(lr=1.0), "argparse.Namespace"), (np.float64(0.5), "multiarray.scalar")):
        message = refused(saved(tmp_path, {"model": state, "extra": extra}), tmp_path / "m")
        assert name in message and message.endswith("save its tensors alone, a state dict")


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_truncated_files_are_refused(state, tmp_path, legacy, share):
    file = tmp_path / "official.pt"
    torch.save(state, file, _use_new_zipfile_serialization=not legacy)
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])
    message = refused(file, tmp_path / "m")
    assert "it is cut short: get it again" in message or (legacy and share == 0.02)


@pytest.mark.parametrize("length", [6, 400, -1])
def test_truncated_safetensors_are_refused(tmp_path, length):
    file = tiny_folder(tmp_path / "source") / "model.safetensors"
    file.write_bytes(file.read_bytes()[:length])
    refused(file, tmp_path / "m")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "refused, it is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "it is a Git LFS pointer"),
        (b"\n<!DOCTYPE html>\n<html>", "it is a web page"),
        (b"hello\nworld", "refused, not a plain checkpoint"),
        (pickle.dumps(object, protocol=2), "refused"),
        (b"PK\x03\x04broken", "it is cut short"),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path, content, message):
    file = tmp_path / "official.pt"
    file.write_bytes(content)
    assert message in refused(file, tmp_path / "m")


def test_no_file_and_a_folder_are_refused(tmp_path):
    assert "no such file" in refused(tmp_path / "official.pt", tmp_path / "m")
    assert "is a folder, expected a checkpoint file" in refused(tmp_path, tmp_path / "m")


def test_quantised_weights_are_refused(state, tmp_path):
    name = "sem_seg_head.predictor.class_embed"
    state[name] = torch.zeros(state[name].shape, dtype=torch.int8)
    assert f"tensor {name} is stored as torch.int8, expected torch.float32" in refused(
        saved(tmp_path, state), tmp_path / "m"
    )


def test_buffers_of_other_classes_are_left_out(network, state, tmp_path):
    state["criterion.empty_weight"] = torch.ones(21)
    report = import_checkpoint(saved(tmp_path, state), "tiny", tmp_path / "m")
    assert "ignored: criterion.empty_weight" in str(report)
    again, _ = load_model_folder(tmp_path / "m")
    assert torch.equal(again.state_dict()["criterion.empty_weight"], network.state_dict()["criterion.empty_weight"])


def test_a_missing_tokenizer_is_said(state, tmp_path):
    file = saved(tmp_path, state)
    assert "no tokenizer" in str(import_checkpoint(file, "tiny", tmp_path / "without"))
    assert "no tokenizer" not in str(import_checkpoint(file, "tiny", tmp_path / "with", TOKENIZER))


def test_an_x_decoder_survives_import_and_folder(tmp_path, monkeypatch):
    config = replace(CONFIG, variant=X_DECODER)
    monkeypatch.setitem(importing.NAMED, "x", config)
    network = SeemNetwork(config)
    report = import_checkpoint(saved(tmp_path, network.half().state_dict()), None, tmp_path / "m")
    again, found = load_model_folder(tmp_path / "m")
    assert report.config_name == "x" and found == config
    for name, value in network.state_dict().items():
        kept = again.state_dict()[name]
        assert torch.equal(kept, value.to(kept.dtype)) and kept.is_floating_point() == value.is_floating_point(), name
