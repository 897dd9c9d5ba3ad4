"""`promptseg models`: the list, what a model costs and takes, and what is refused as a checkpoint."""

from commands import answer, refused

from promptseg.models.registry import list_models


def test_models_list_names_all(capsys):
    code, out, _ = answer(capsys, "models", "list")
    assert code == 0
    lines = out.splitlines()
    assert lines[0].split() == ["name", "parameters", "code", "weights", "file", "here"]
    assert [line.split()[0] for line in lines[1:]] == [entry.name for entry in list_models()]
    assert lines[1].split() == ["seem-lite", "6.4", "M", "Apache-2.0", "Apache-2.0", "with", "the", "package", "yes"]


def test_models_info_says_what_a_model_costs_and_takes(capsys):
    code, out, _ = answer(capsys, "models", "info", "seem-lite")
    assert code == 0
    said = dict(line.split(":", 1) for line in out.splitlines())
    assert said["parameters"].strip() == "6.4 M" and "GFLOPs for one image of 512 x 1024" in said["operations"]
    assert "7a7f1c666583" in said["weights"] and "variant classes-only" in said["one object by"]
    assert "unknown model 'seem'" in refused(capsys, "models", "info", "seem")


def test_models_import_refuses_what_is_no_checkpoint(capsys, tmp_path):
    (tmp_path / "a.pt").write_bytes(b"no checkpoint")
    line = refused(capsys, "models", "import", tmp_path / "a.pt", "--config", "seem-lite", "--out", tmp_path / "out")
    assert "a.pt" in line and not (tmp_path / "out").exists()
