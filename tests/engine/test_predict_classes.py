"""`promptseg predict --classes`: photos and names of classes alone give a zero-shot answer, with its limits said."""

import json

import pytest
from PIL import Image

import promptseg
from promptseg.cli.main import run
from promptseg.data.formats.classes_json import named_classes
from promptseg.data.images import read_labels
from promptseg.engine.defaults import default_prompts


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("photos") / "a.png"
    Image.fromarray(promptseg.load_dataset("streets:clear?train=1&val=1&size=128x64").train[0].image()).save(path)
    return path


def test_names_or_a_file_of_classes_are_enough(capsys, tmp_path, photo):
    (tmp_path / "classes.json").write_text(json.dumps(["sky", "road", "zebra"]))
    for name, classes in (("names", "sky, road,zebra"), ("file", str(tmp_path / "classes.json"))):
        assert run(["predict", str(photo), "--classes", classes, "--out", str(tmp_path / name)]) == 0
        captured = capsys.readouterr()
        assert "1 of 1 photos labelled" in captured.out
        assert "learned from generated streets alone" in captured.err
        assert "never learned the words: zebra" in captured.err
    model = promptseg.load_model("seem-lite")
    expected = promptseg.predict(model, default_prompts(model, named_classes("sky,road,zebra")), photo)
    for name in ("names", "file"):
        assert (read_labels(tmp_path / name / "labels/a.png") == expected).all()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give either --prompts DIR, or --classes"),
        (["--prompts", "p", "--classes", "road"], "give either --prompts DIR, or --classes"),
        (["--classes", "road,,sky"], "is no list of classes"),
        (["--classes", ""], "is no list of classes"),
        (["--classes", "road,road"], "two classes are named 'road'"),
        (["--classes", "nowhere.json"], "nowhere.json: no such file"),
    ],
)
def test_what_names_no_classes_is_refused(capsys, tmp_path, photo, arguments, words):
    assert run(["predict", str(photo), "--out", str(tmp_path / "out"), *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and words in captured.err and captured.err.count("\n") == 1
    assert not (tmp_path / "out").exists()
