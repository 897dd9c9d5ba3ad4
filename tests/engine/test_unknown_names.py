"""Class names that a model of few words was never taught are said in one line, with what happens instead."""

from pathlib import Path

import numpy as np
import pytest
from shapes import SHAPES, SPACE
from tiny import tiny_folder, tiny_segmenter

import promptseg
from promptseg.cli.main import run
from promptseg.engine.defaults import guessed_names
from promptseg.engine.expectation import expectation
from promptseg.models.base import PromptableSegmenter
from promptseg.models.registry import unknown_words
from promptseg.reports.pictures import write_picture


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model that was taught the first class of the shapes, and no other."""
    made = tiny_folder(tmp_path / "model")
    (made / "words.txt").write_text(f"{SPACE.names[0]}\ntraffic light\n")
    return made


@pytest.fixture
def model(folder: Path) -> PromptableSegmenter:
    return promptseg.load_model(folder, device="cpu")


def test_case_and_spaces_do_not_make_a_name_unknown(folder: Path) -> None:
    assert unknown_words(folder, ["Traffic  Light", "traffic", "zebra"]) == ("traffic", "zebra")
    assert unknown_words(folder.with_name("model"), [SPACE.names[0]]) == ()
    assert unknown_words("seem-lite", ["road", "tram", "nucleus"]) == ("nucleus",)
    assert unknown_words("seem-focal-t-v1", ["nucleus"]) == ()


def test_a_fit_is_told_of_them_in_one_line(model: PromptableSegmenter) -> None:
    (line,) = expectation(model, SHAPES[:2])
    assert all(name in line for name in SPACE.names[1:]) and SPACE.names[0] not in line and "shots" in line
    assert expectation(tiny_segmenter(), SHAPES[:2]) == ()


@pytest.mark.parametrize(("text", "lines"), [("traffic light", 0), ("zebra", 1)])
def test_segment_says_that_a_word_is_a_guess(folder: Path, tmp_path: Path, capsys, text: str, lines: int) -> None:
    write_picture(tmp_path / "photo.png", SHAPES[0].image())
    given = ["segment", str(tmp_path / "photo.png"), "--model", str(folder), "--out", str(tmp_path / "out")]
    assert run([*given, "--text", text]) == 0
    assert capsys.readouterr().err.count(f"never learned the words {text!r}") == lines


def test_what_was_learned_is_no_guess(model: PromptableSegmenter) -> None:
    by_method = {
        method: promptseg.fit(model, SHAPES[:2], method, steps=2, progress=False).prompts
        for method in ("zero-shot", "spaprompt", "semprompt", "coop")
    }
    guessed = {method: guessed_names(model, prompts) for method, prompts in by_method.items()}
    assert guessed["zero-shot"] == guessed["spaprompt"] == SPACE.names[1:]
    assert guessed["semprompt"] == guessed["coop"] == ()


def test_predict_says_it_once(model: PromptableSegmenter, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prompts = promptseg.fit(model, SHAPES[:2], "zero-shot", progress=False).prompts.save(tmp_path / "prompts")
    for number in range(2):
        write_picture(tmp_path / "photos" / f"{number}.png", np.asarray(SHAPES[number].image()))
    assert run(["predict", "--prompts", str(prompts), "--out", str(tmp_path / "out"), str(tmp_path / "photos")]) == 0
    assert capsys.readouterr().err.count("never learned the words") == 1
