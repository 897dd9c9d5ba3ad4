"""Repositories of the model hub: what is fetched, and what one line says where nothing can be."""

import hashlib
from types import SimpleNamespace

import pytest
from huggingface_hub import errors
from tiny_sams import sam_folder

from promptseg import hub
from promptseg.errors import PromptsegError
from promptseg.models.registry import describe_model, list_models, load_model

REPO = "facebook/sam3"
BY_HAND = "or put its config.json, model.safetensors and tokenizer.json into a folder and give that folder"


@pytest.fixture
def empty_cache(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


def refuse(monkeypatch, error):
    def ask(self, repo, **asked):
        raise error

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", ask)


def hub_error(kind):
    error = kind.__new__(kind)
    Exception.__init__(error, "refused")
    return error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (hub_error(errors.GatedRepoError), "gated: accept their licence at huggingface.co/facebook/sam3 and log in"),
        (hub_error(errors.RepositoryNotFoundError), "the hub shows no such repository: check the name"),
        (TimeoutError(), "cannot be fetched (TimeoutError): fetch it from huggingface.co/facebook/sam3"),
    ],
)
def test_one_line_says_what_to_accept_or_where_to_put_files(empty_cache, monkeypatch, error, message):
    refuse(monkeypatch, error)
    for spec in ("sam3", f"hub:{REPO}?chunk=2"):
        with pytest.raises(PromptsegError) as caught:
            load_model(spec, "cpu")
        assert message in str(caught.value) and str(caught.value).endswith(BY_HAND) and "\n" not in str(caught.value)


def test_a_repository_is_read_from_the_cache_only_if_it_is_complete(empty_cache, monkeypatch):
    refuse(monkeypatch, TimeoutError())
    snapshot = empty_cache / "hub" / "models--some--sam" / "snapshots" / "abc"
    refs = snapshot.parent.parent / "refs" / "main"
    refs.parent.mkdir(parents=True)
    refs.write_text("abc")
    sam_folder(snapshot, "sam")
    model = load_model("hub:some/sam", "cpu")
    assert model.id == "hub:some/sam" and model.licence == "Apache-2.0"
    (snapshot / "model.safetensors").unlink()
    with pytest.raises(PromptsegError, match="some/sam: cannot be fetched"):
        load_model("hub:some/sam", "cpu")


def test_of_a_repository_only_what_is_read_is_fetched(empty_cache, monkeypatch):
    names = ["README.md", "config.json", "merges.txt", "model.safetensors", "pytorch_model.bin", "onnx/model.json"]
    assert hub.MODEL.choose(names) == ["config.json", "merges.txt", "model.safetensors"]
    assert hub.MODEL.choose(["config.json", "pytorch_model.bin"]) == ["config.json", "pytorch_model.bin"]
    asked = []
    info = SimpleNamespace(siblings=[SimpleNamespace(rfilename=name, size=9, lfs=None) for name in names])
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda self, repo, **asked: info)

    def download(repo, revision=None, allow_patterns=None, ignore_patterns=None, local_files_only=False):
        if local_files_only:
            raise FileNotFoundError
        asked.append((repo, allow_patterns))
        for name in allow_patterns:
            (empty_cache / name).write_bytes(b"")
        return str(empty_cache)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert hub.hub_folder(REPO) == empty_cache
    assert asked == [(REPO, ["config.json", "merges.txt", "model.safetensors"])]


@pytest.mark.parametrize(
    ("size", "digest", "message"),
    [
        (10**12, None, "its files have 2000.0 GB, more than is fetched"),
        (
            9,
            hashlib.sha256(b"other").hexdigest(),
            "its SHA-256 is .*, the hub says .*: fetch it again",
        ),
        (9, hashlib.sha256(b"whole").hexdigest(), None),
    ],
)
def test_a_pinned_repository_is_bounded_and_known_by_its_hash(empty_cache, monkeypatch, size, digest, message):
    asked = []
    files = [
        SimpleNamespace(rfilename="config.json", size=size, lfs=None),
        SimpleNamespace(rfilename="model.safetensors", size=size, lfs=SimpleNamespace(sha256=digest)),
    ]

    def describe(self, repo, revision, **how):
        asked.append((repo, revision))
        return SimpleNamespace(siblings=files)

    def download(repo, revision=None, allow_patterns=None, ignore_patterns=None, local_files_only=False):
        asked.append((repo, revision))
        if local_files_only:
            raise FileNotFoundError
        (empty_cache / "config.json").write_bytes(b"{}")
        (empty_cache / "model.safetensors").write_bytes(b"whole")
        return str(empty_cache)

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", describe)
    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    if message is None:
        assert hub.hub_folder("some/sam@0a1b2c") == empty_cache
    else:
        with pytest.raises(PromptsegError, match=message):
            hub.hub_folder("some/sam@0a1b2c")
        assert not (empty_cache / "model.safetensors").exists()
    assert set(asked) == {("some/sam", "0a1b2c")}


@pytest.mark.slow
def test_sizes_in_the_list_are_those_of_the_librarys_configs():
    import torch
    from transformers import Sam2Config, Sam2Model, Sam3Config, Sam3Model, SamConfig, SamModel

    entries = {entry.name: entry for entry in list_models()}
    with torch.device("meta"):
        found = {
            "sam-vit-base": SamModel(SamConfig()),
            "sam2.1-hiera-tiny": Sam2Model(Sam2Config()),
            "sam3": Sam3Model(Sam3Config()),
        }
    for name, network in found.items():
        assert entries[name].parameters == sum(p.numel() for p in network.parameters()), name


def test_licences_are_listed():
    licences = {entry.name: entry.licence for entry in list_models()}
    assert licences["sam-vit-base"] == licences["sam2.1-hiera-tiny"] == "Apache-2.0"
    assert licences["sam3"].startswith("SAM License (gated")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("?chunk=0", "chunk is '0', expected a whole number of at least 1"),
        ("?speed=2", "unknown option in .*choose one of chunk, text"),
        ("?text=nowhere", "text=nowhere: no such folder"),
        ("?text=nowhere.safetensors", "nowhere.safetensors: no such file"),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path, options, message):
    folder = sam_folder(tmp_path / "sam", "sam")
    with pytest.raises(PromptsegError, match=message):
        load_model(f"{folder}{options}", "cpu")


def test_seem_takes_the_choice_of_its_dense_maps_alone():
    with pytest.raises(PromptsegError, match="unknown option in seem-lite.chunk=2: 'chunk': choose one of maps"):
        load_model("seem-lite?chunk=2", "cpu")
    with pytest.raises(PromptsegError, match="unknown maps in seem-lite.maps=none: 'none': choose one of all, decoder"):
        load_model("seem-lite?maps=none", "cpu")


def test_damaged_folders_are_refused_in_one_line(tmp_path):
    from safetensors.torch import load_file, save_file

    folder = sam_folder(tmp_path / "sam", "sam")
    weights = load_file(folder / "model.safetensors")
    weights.pop("mask_decoder.iou_token.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(PromptsegError, match=r"1 weights of SamModel are missing \(mask_decoder.iou_token.weight"):
        load_model(folder, "cpu")
    (folder / "model.safetensors").write_bytes(b"no")
    with pytest.raises(PromptsegError, match="cannot be read as SamModel") as caught:
        load_model(folder, "cpu")
    assert "\n" not in str(caught.value)
    (folder / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(PromptsegError, match=r"of no known model family \(seem: .*; sam: model_type is one of sam, "):
        load_model(folder, "cpu")


@pytest.mark.parametrize("kind", ["sam", "sam2", "sam3"])
def test_info_of_a_sam_folder_is_of_its_weights(kind, tmp_path):
    folder = sam_folder(tmp_path / kind, kind)
    info, model = describe_model(folder), load_model(folder, "cpu")
    assert info["model"] == f"{folder}: {type(model).__name__}"
    assert info["weights"] == f"in {folder}, fingerprint {model.fingerprint}"
    assert info["masks by"] == f"spatial prompts: {model.spatial_choices[0]}"
    assert "operations" not in info  # they are counted for SEEM alone, and not made up for others
