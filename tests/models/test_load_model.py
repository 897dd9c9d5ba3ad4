"""Models by name and by folder, with and without weights and network."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tiny import CONFIG, tiny_folder, tiny_network, tiny_segmenter

import promptseg
from promptseg.assets import LITE_FOLDER
from promptseg.errors import PromptsegError
from promptseg.models.registry import describe_model, list_models, load_model
from promptseg.models.seem import family
from promptseg.models.seem.config import NAMED
from promptseg.models.seem.files import importing
from promptseg.models.seem.network.seem_network import SeemNetwork

SAMS = (
    *("sam-vit-base", "sam-vit-large", "sam-vit-huge"),
    *("sam2.1-hiera-tiny", "sam2.1-hiera-small", "sam2.1-hiera-base-plus", "sam2.1-hiera-large"),
    "sam3",
)
OFFICIAL = {"seem-focal-t-v1": "seem_focalt_v1.pt", "seem-focal-l-v1": "seem_focall_v1.pt"}


@pytest.fixture
def cache(monkeypatch, tmp_path) -> Path:
    """An empty cache, and a model hub that nobody answers for."""
    monkeypatch.setenv("PROMPTSEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path / "cache"


def one_line(error: pytest.ExceptionInfo[PromptsegError]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


def test_names_can_be_listed_without_torch():
    code = (
        "import sys; from promptseg.models.registry import list_models\n"
        "print(*(m.name for m in list_models()), 'torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.split() == [*(entry.name for entry in list_models()), "False"]


def test_list_says_size_place_and_licence(cache):
    entries = {entry.name: entry for entry in family.FAMILY.entries}
    assert entries.keys() == NAMED.keys()
    for name, entry in entries.items():
        with torch.device("meta"):
            network = SeemNetwork(NAMED[name])
        assert entry.parameters == sum(p.numel() for p in network.parameters()), name
    for name, file in OFFICIAL.items():
        entry = entries[name]
        assert not entry.available and family.model_folder(name) == cache / "models" / name
        assert entry.source == f"xdecoder/SEEM: {file}" and entry.licence == "none stated"
    assert entries["seem-lite"].available and entries["seem-lite"].source == "with the package"
    assert entries["seem-davit-d5-v1"].source == "no public file known"


def test_cache_is_in_the_home_folder_by_default(monkeypatch):
    monkeypatch.delenv("PROMPTSEG_CACHE", raising=False)
    assert family.model_folder("some") == Path.home() / ".cache" / "promptseg" / "models" / "some"


def test_a_folder_loads_and_is_called_by_its_path(tmp_path):
    folder = tiny_folder(tmp_path / "mine")
    model = promptseg.load_model(folder, device="cpu")
    assert model.id == str(folder) and model.device == torch.device("cpu")
    assert model.fingerprint == tiny_segmenter().fingerprint
    torch.testing.assert_close(model.encode_text(["road"]), tiny_segmenter().encode_text(["road"]))


def test_a_folder_with_clips_own_tokenizer_file_loads(tmp_path):
    folder = tiny_folder(tmp_path)
    (folder / "tokenizer.json").rename(tmp_path / "elsewhere.json")
    assert load_model(folder, "cpu").tokenizer is None
    (folder / "bpe_simple_vocab_16e6.txt.gz").write_bytes(b"")
    with pytest.raises(PromptsegError, match="bpe_simple_vocab_16e6.txt.gz"):
        load_model(folder, "cpu")


@pytest.mark.parametrize("name", OFFICIAL)
def test_without_network_one_line_says_what_to_get_and_what_to_run(cache, name):
    with pytest.raises(PromptsegError) as caught:
        load_model(name, "cpu")
    message = one_line(caught)
    assert f"{OFFICIAL[name]} of xdecoder/SEEM" in message and "openai/clip-vit-base-patch32" in message
    folder = cache / "models" / name
    command = f"promptseg models import {OFFICIAL[name]} --config {name} --tokenizer tokenizer.json --out {folder}"
    assert message.endswith(command) and not folder.exists()


def test_a_model_without_a_public_file_says_how_to_bring_one(cache):
    with pytest.raises(PromptsegError) as caught:
        load_model("seem-davit-d3-v1", "cpu")
    message = one_line(caught)
    assert "no public file of it is known" in message
    assert "models import YOUR_FILE --config seem-davit-d3-v1" in message


def test_the_demo_runs_the_v0_weights(cache):
    with pytest.raises(PromptsegError, match="get seem_focalt_v0.pt of xdecoder/SEEM"):
        load_model("seem-focal-t-demo", "cpu")


def test_info_of_a_name_needs_no_weights(cache):
    info = describe_model("xdecoder-focal-l")
    assert info["weights"] == "not on this machine" and info["parameters"] == "341.6 M"
    assert "previous" not in info["one object by"] and "text" in info["one object by"]
    assert "previous" in describe_model("seem-focal-t-v0")["one object by"]


def test_info_of_a_folder_is_of_its_weights(tmp_path):
    folder = tiny_folder(tmp_path / "mine")
    info = describe_model(folder)
    assert info["weights"] == f"in {folder}, fingerprint {tiny_segmenter().fingerprint}"
    assert info["model"].endswith(f"variant classes-only, backbone focal_dw, {CONFIG.num_queries} queries")
    count = sum(weight.numel() for weight in tiny_network().parameters())
    assert info["parameters"] == f"{count / 1e6:.1f} M"


def test_every_name_of_the_list_has_its_info(cache):
    for entry in list_models():
        info = describe_model(entry.name)
        assert info["model"].startswith(entry.name) and info["parameters"] == f"{entry.parameters / 1e6:.1f} M"
        assert info["weights"].startswith("in " if entry.available else "not on this machine")


def test_an_unreachable_hub_fails_fast(tmp_path):
    """Nothing listens at the address: the hub's own retries would take half a minute."""
    settings = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0", "HF_HUB_CACHE": str(tmp_path)}
    code = "from promptseg.models.registry import load_model; load_model('seem-focal-t-v1', 'cpu')"
    began = time.monotonic()
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **settings, "PROMPTSEG_CACHE": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1 and "cannot be fetched" in run.stderr
    assert time.monotonic() - began < 20


def test_an_imported_checkpoint_loads_by_its_name(cache, monkeypatch, tmp_path):
    monkeypatch.setitem(importing.NAMED, "seem-focal-t-v1", CONFIG)
    torch.save(tiny_network().state_dict(), tmp_path / "seem_focalt_v1.pt")
    out = cache / "models" / "seem-focal-t-v1"
    report = importing.import_checkpoint(tmp_path / "seem_focalt_v1.pt", "seem-focal-t-v1", out)
    model = load_model("seem-focal-t-v1", "cpu")
    assert model.id == "seem-focal-t-v1" and model.fingerprint == report.fingerprint
    entry = next(entry for entry in list_models() if entry.name == "seem-focal-t-v1")
    assert entry.available


def test_hub_files_are_imported_once(cache, monkeypatch, tmp_path):
    monkeypatch.setitem(importing.NAMED, "seem-focal-t-v1", CONFIG)
    asked = []

    def hub(repo: str, file: str, by_hand: str) -> Path:
        asked.append((repo, file))
        assert "then run: promptseg models import seem_focalt_v1.pt --config seem-focal-t-v1" in by_hand
        if file == "tokenizer.json":
            return LITE_FOLDER / file
        torch.save(tiny_network().state_dict(), tmp_path / file)
        return tmp_path / file

    monkeypatch.setattr(family, "hub_file", hub)
    for _ in range(2):
        model = load_model("seem-focal-t-v1", "cpu")
        assert model.fingerprint == tiny_segmenter().fingerprint and model.tokenizer is not None
    assert asked == [("xdecoder/SEEM", "seem_focalt_v1.pt"), ("openai/clip-vit-base-patch32", "tokenizer.json")]


def test_unknown_names_list_the_choices():
    with pytest.raises(PromptsegError) as caught:
        load_model("seem-litr")
    message = one_line(caught)
    assert message.startswith("unknown model 'seem-litr'") and "seem-lite" in message and "a model folder" in message


def test_a_checkpoint_file_is_told_to_be_imported(tmp_path):
    (tmp_path / "seem.pt").write_bytes(b"")
    with pytest.raises(PromptsegError, match="is a file, expected a model folder: run promptseg models import"):
        load_model(tmp_path / "seem.pt")


def test_a_folder_that_is_no_model_names_the_missing_file(tmp_path):
    with pytest.raises(PromptsegError, match="config.json: no such file"):
        load_model(tmp_path)


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "cuda"])
def test_devices_that_are_not_there_are_refused(tmp_path, device):
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(PromptsegError, match=f"device '{device}' cannot be used here"):
        load_model(tiny_folder(tmp_path), device)


def test_no_device_means_gpu_if_there_is_one(tmp_path):
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert load_model(tiny_folder(tmp_path)).device.type == expected


def test_the_small_model_answers_to_its_other_name():
    assert load_model("seem-nano", "cpu").id == load_model("seem-lite", "cpu").id == "seem-lite"
