"""Prompts on the model hub: pushed whole, read back exactly, pinned, bounded, and never in part."""

import json
import re
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hub_stand_in import NOWHERE, serving
from huggingface_hub import ModelCard
from toy_prompts import RECORD, toy_prompts

from promptseg.cards import Figures
from promptseg.cli.main import run
from promptseg.errors import PromptsegError
from promptseg.hub import cached_folder, hub_file, hub_folder
from promptseg.prompts import Prompts

REPO = "toys/road-and-sky"
FILES = ("README.md", "prompts.json", "prompts.safetensors")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with serving(tmp_path / "cache", monkeypatch) as hub:
        yield hub


def scores(prompts, **changed):
    about = {
        "data": "folder:/home/me/photos?val=20%",
        "split": "val",
        "model": "tiny",
        "prompts": "runs/x",
        "task": "semantic",
    }
    counted = {"learned_from": 0, "num_images": 7, "miou": 0.5, "accuracy": 0.75, "per_class": {"road": 0.5}}
    return about | counted | {"fingerprint": prompts.fingerprint} | changed


def test_what_is_pushed_is_read_back_exactly(hub):
    prompts = toy_prompts()
    spec = prompts.push_to_hub(REPO, private=True)
    assert re.fullmatch(rf"hub:{REPO}@[0-9a-f]{{40}}", spec) and hub.private == {REPO: True}
    assert sorted(hub.files(REPO)) == [".gitattributes", *FILES]
    for name in (spec, f"hub:{REPO}", Path(f"hub:{REPO}")):
        loaded = Prompts.load(name)
        assert loaded.fingerprint == prompts.fingerprint and loaded.record == prompts.record
        assert all(torch.equal(loaded.parts[key], prompts.parts[key]) for key in prompts.parts)


def test_saving_may_push_as_well(hub, tmp_path):
    folder = toy_prompts().save(tmp_path / "p", repo=f"hub:{REPO}")
    assert Prompts.load(folder).fingerprint == Prompts.load(f"hub:{REPO}").fingerprint
    assert hub.files(REPO)["prompts.safetensors"] == (folder / "prompts.safetensors").read_bytes()


def test_the_card_has_what_the_hub_reads(hub):
    prompts = toy_prompts()
    figures = Figures.read(scores(prompts), prompts.fingerprint, "x.json")
    prompts.push_to_hub(REPO, base_model="facebook/sam3", figures=[figures])
    text = hub.files(REPO)["README.md"].decode()
    data = ModelCard(text).data
    assert data.library_name == "promptseg" and data.base_model == "facebook/sam3" and data.license == "mit"
    assert data.pipeline_tag == "image-segmentation" and data.to_dict()["base_model_relation"] == "adapter"
    assert {"promptseg", "ssprompt", "semantic"} <= set(data.tags)
    found = {(r.dataset_name, r.dataset_split, r.metric_type): r.metric_value for r in data.eval_results}
    assert found == {("folder:photos?val=20%", "val", "miou"): 0.5, ("folder:photos?val=20%", "val", "accuracy"): 0.75}
    assert f'Prompts.load("hub:{REPO}")' in text and "| folder:photos?val=20% | val | 7 | miou | 0.5000 |" in text


def test_scores_on_photos_that_were_trained_on_are_called_that(hub):
    prompts = toy_prompts()
    prompts.push_to_hub(REPO, figures=[Figures.read(scores(prompts, learned_from=2), prompts.fingerprint, "x")])
    assert "| 7 (2 of them trained on) |" in hub.files(REPO)["README.md"].decode()


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"fingerprint": "f" * 64}, "x.json: scores of other prompts (ffffffffffff, these are "),
        ({"fingerprint": None}, "x.json: no scores: write them with promptseg evaluate --prompts RUN --json"),
        ({"num_images": "7"}, "x.json: no scores"),
    ],
)
def test_only_scores_of_these_prompts_come_into_the_card(changed, line):
    prompts = toy_prompts()
    with pytest.raises(PromptsegError, match=re.escape(line)):
        Figures.read(scores(prompts, **changed), prompts.fingerprint, "x.json")


def test_no_folder_of_this_machine_is_pushed(hub):
    draw = replace(RECORD.draw, dataset="/home/me/secret/town?val=20%")
    model_id = "/home/me/secret/sam?text=/home/me/secret/clip&chunk=4"
    replace(toy_prompts(), model_id=model_id, record=replace(RECORD, draw=draw)).push_to_hub(REPO)
    assert not any(b"secret" in data for data in hub.files(REPO).values())
    loaded = Prompts.load(f"hub:{REPO}")
    assert loaded.model_id == "sam?text=clip&chunk=4" and loaded.record.draw.dataset == "town?val=20%"
    assert ModelCard(hub.files(REPO)["README.md"].decode()).data.base_model == "sam"


@pytest.mark.parametrize("model_id", ["hub:some/sam?text=hub:openai/clip", "hub:some/sam@0a1b2c", "seem-lite"])
def test_models_that_others_have_keep_their_names(hub, model_id):
    replace(toy_prompts(), model_id=model_id).push_to_hub(REPO)
    assert Prompts.load(f"hub:{REPO}").model_id == model_id
    base = ModelCard(hub.files(REPO)["README.md"].decode()).data.base_model
    assert base == ("seem-lite" if model_id == "seem-lite" else "some/sam")


def test_a_revision_is_pinned_and_a_branch_is_followed(hub):
    old = toy_prompts(0).push_to_hub(REPO)
    assert Prompts.load(f"hub:{REPO}").fingerprint == toy_prompts(0).fingerprint
    new = toy_prompts(1).push_to_hub(REPO)
    other = toy_prompts(2).push_to_hub(f"{REPO}@tries")
    for spec, seed in ((f"hub:{REPO}", 1), (old, 0), (new, 1), (f"hub:{REPO}@tries", 2), (other, 2)):
        assert Prompts.load(spec).fingerprint == toy_prompts(seed).fingerprint
    hub.calls.clear()
    assert Prompts.load(old).fingerprint == toy_prompts(0).fingerprint and not hub.calls  # what is pinned cannot change


def test_without_a_network_the_cache_serves(hub):
    toy_prompts().push_to_hub(REPO)
    Prompts.load(f"hub:{REPO}")
    hub.point(NOWHERE)
    assert Prompts.load(f"hub:{REPO}").fingerprint == toy_prompts().fingerprint
    with pytest.raises(PromptsegError, match=r"^other/toys: cannot be fetched \(ConnectError\): fetch it from"):
        Prompts.load("hub:other/toys")


def test_a_download_that_broke_off_is_never_read(hub, monkeypatch):
    hasty = SimpleNamespace(**{**vars(time), "sleep": lambda seconds: None})  # the library tries again, and waits
    monkeypatch.setattr("huggingface_hub.file_download.time", hasty)
    spec = toy_prompts().push_to_hub(REPO)
    hub.breaks.add("prompts.safetensors")
    for name in (spec, f"hub:{REPO}"):
        with pytest.raises(PromptsegError, match=r"^toys/road-and-sky.*: cannot be fetched \("):
            Prompts.load(name)
    hub.point(NOWHERE)
    with pytest.raises(PromptsegError, match="cannot be fetched"):
        Prompts.load(spec)
    assert not list(hub.cache.rglob("snapshots/*/prompts.safetensors"))
    hub.point(hub.url)
    hub.breaks.clear()
    assert Prompts.load(spec).fingerprint == toy_prompts().fingerprint


@pytest.mark.parametrize(("file", "kind"), [("prompts.safetensors", "SHA-256"), ("prompts.json", "Git id")])
def test_a_file_that_is_not_what_the_hub_states_is_refused_and_removed(hub, file, kind):
    toy_prompts().push_to_hub(REPO)
    toy_prompts(1).push_to_hub("toys/other")
    hub.changed[file] = hub.files("toys/other")[file] + b" " * (file == "prompts.json")
    with pytest.raises(PromptsegError, match=f"{file}: its {kind} is .*, the hub says .*: fetch it again"):
        Prompts.load(f"hub:{REPO}")
    assert not any(path.name == file for path in hub.cache.rglob("*"))
    hub.changed.clear()
    assert Prompts.load(f"hub:{REPO}").fingerprint == toy_prompts().fingerprint


def test_nothing_but_safetensors_and_json_is_fetched(hub):
    toy_prompts().push_to_hub(REPO)
    hub.commit(REPO, {"prompts.bin": b"\x80\x04.", "code.py": b"print()", "sub/prompts.safetensors": b"x"})
    Prompts.load(f"hub:{REPO}")
    assert sorted(path.name for path in hub.cache.rglob("snapshots/*/*")) == ["prompts.json", "prompts.safetensors"]
    assert not any(name in call for call in hub.calls for name in (".bin", ".py", "sub/"))


@pytest.mark.parametrize(
    ("size", "line"), [(5 * 10**9, "its files have 5.0 GB, more than is fetched"), (None, "does not say how large")]
)
def test_sizes_are_bounded_before_anything_comes(hub, size, line):
    toy_prompts().push_to_hub(REPO)
    hub.sizes["prompts.safetensors"] = size
    with pytest.raises(PromptsegError, match=line):
        Prompts.load(f"hub:{REPO}")
    assert not any("/resolve/" in call for call in hub.calls)


def test_a_repository_of_something_else_is_neither_read_nor_written_over(hub):
    hub.commit("toys/sam", {"README.md": b"mine", "config.json": b"{}"})
    with pytest.raises(PromptsegError, match=r"^toys/sam: has no prompts.json: check the name"):
        Prompts.load("hub:toys/sam")
    with pytest.raises(PromptsegError, match=r"^toys/sam: holds README.md, config.json, but no prompts.json: choose"):
        toy_prompts().push_to_hub("toys/sam")
    assert hub.files("toys/sam")["README.md"] == b"mine"
    hub.commit("toys/half", {"prompts.json": b"{}"})
    with pytest.raises(PromptsegError, match=r"^toys/half: has no prompts.safetensors"):
        Prompts.load("hub:toys/half")


LOADING = [
    ((403, "GatedRepo"), "its files are gated: accept their licence at huggingface.co/toys/road-and-sky and log in"),
    ((404, "RepoNotFound"), "the hub shows no such repository: check the name"),
    ((404, "RevisionNotFound"), "it has no revision 'v2': see huggingface.co/toys/road-and-sky/commits/main"),
    ((500, ""), "cannot be fetched (HfHubHTTPError)"),
]


@pytest.mark.parametrize(("refuses", "line"), LOADING)
def test_refusals_to_read_are_one_line(hub, refuses, line):
    hub.refuses = refuses
    with pytest.raises(PromptsegError, match=re.escape(line)) as caught:
        Prompts.load(f"hub:{REPO}@v2")
    assert str(caught.value).endswith("put its prompts.safetensors and prompts.json into a folder and give that folder")
    assert "\n" not in str(caught.value)


def test_refusals_to_write_are_one_line(hub):
    hub.refuses = (403, "")
    with pytest.raises(PromptsegError, match=r"the hub refuses \(status 403\): check the name, and log in"):
        toy_prompts().push_to_hub(REPO)
    hub.point(NOWHERE)
    with pytest.raises(PromptsegError, match=r"cannot be pushed \(ConnectError\): try again where there is a network"):
        toy_prompts().push_to_hub(REPO)


def test_a_model_is_kept_in_the_cache_whatever_else_its_repository_holds(hub):
    """The cache lists all files of a commit, also those that are not fetched."""
    files = {"config.json": b"{}", "model.safetensors": b"x", "tokenizer.json": b"{}", "pytorch_model.bin": b"y"}
    hub.commit("toys/model", files | {"README.md": b"z", "onnx/model.onnx": b"z", "sub/config.json": b"z"})
    folder = hub_folder("toys/model")
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors", "tokenizer.json"]
    hub.point(NOWHERE)
    assert hub_folder("toys/model") == cached_folder("toys/model") == folder
    (folder / "tokenizer.json").unlink()
    assert cached_folder("toys/model") is None


def test_a_single_file_is_pinned_and_held_against_its_hash(hub):
    old = hub.commit("toys/weights", {"a.bin": b"old", "b.bin": b"other"})
    hub.commit("toys/weights", {"a.bin": b"new"})
    assert hub_file("toys/weights", "a.bin", "by hand").read_bytes() == b"new"
    assert hub_file(f"toys/weights@{old}", "a.bin", "by hand").read_bytes() == b"old"
    with pytest.raises(PromptsegError, match=r"^toys/weights: has no c.bin: check the name, by hand$"):
        hub_file("toys/weights", "c.bin", "by hand")
    hub.changed["b.bin"] = b"wrong"
    with pytest.raises(PromptsegError, match="b.bin: its SHA-256 is .*, the hub says .*: fetch it again"):
        hub_file("toys/weights", "b.bin", "by hand")
    hub.point(NOWHERE)
    assert hub_file("toys/weights", "a.bin", "by hand").read_bytes() == b"new"


@pytest.mark.parametrize("name", ["toys", "toys/a/b", "../etc/passwd", "toys/", "/toys", "toys/a b", ""])
def test_names_that_are_no_repository_are_refused(hub, name):
    for act in (lambda: Prompts.load(f"hub:{name}"), lambda: toy_prompts().push_to_hub(name)):
        with pytest.raises(PromptsegError, match="is no repository: write ORGANISATION/NAME"):
            act()
    assert not hub.calls


def test_the_command_pushes_and_prints_what_reads_it_back(hub, tmp_path, capsys):
    prompts = replace(toy_prompts(), model_id="sam3")
    folder = prompts.save(tmp_path / "run/prompts")
    (tmp_path / "scores.json").write_text(json.dumps(scores(prompts)))
    assert run(["push", str(folder.parent), REPO, "--figures", str(tmp_path / "scores.json"), "--private"]) == 0
    assert Prompts.load(capsys.readouterr().out.strip()).fingerprint == prompts.fingerprint
    data = ModelCard(hub.files(REPO)["README.md"].decode()).data
    assert data.base_model == "facebook/sam3" and len(data.eval_results) == 2 and hub.private[REPO]
    assert run(["push", str(tmp_path / "none"), REPO]) == 2 and "no such prompt folder" in capsys.readouterr().err
