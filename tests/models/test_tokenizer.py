"""The tokenizer's rules, on the bundled vocabulary and on CLIP's own where it is at hand."""

import gzip
import importlib.util
import os
from types import ModuleType

import pytest
import torch
from golden import golden_cases, load_case
from places import ROOT

from promptseg.assets import LITE_FOLDER
from promptseg.errors import PromptsegError
from promptseg.models.templates import clean_name, fill_templates
from promptseg.models.tokenizer import BOS, EOS, Tokenizer, clip_tokenizer

TOOL = ROOT / "tools/train_tokenizer.py"
BYTES = 256


@pytest.fixture(scope="module")
def bundled() -> Tokenizer:
    return Tokenizer.from_file(LITE_FOLDER / "tokenizer.json")


def text_of(pieces: list[str]) -> str:
    return "".join(pieces).replace("</w>", " ").strip()


def test_bundled_vocabulary_is_small_and_eos_is_its_largest_id(bundled):
    assert bundled.vocab_size == 1024
    assert (bundled.bos, bundled.eos) == (1022, 1023)


def test_rows_are_bos_pieces_eos_and_eos_as_padding(bundled):
    (row,) = bundled.encode(["road"], 8).tolist()
    assert row[0] == bundled.bos and row[2:] == [bundled.eos] * 6
    assert row[1] not in (bundled.bos, bundled.eos)
    assert bundled.encode(["road"], 8).dtype == torch.int64


def test_long_text_loses_its_end_says_so_and_keeps_eos(bundled, caplog):
    text = "one two three four five"
    full = bundled.encode([text], 40)[0]
    assert not caplog.messages
    cut = bundled.encode(["one", text], 6)[1]
    assert torch.equal(cut[:5], full[:5]) and cut[5] == bundled.eos
    (said,) = caplog.messages
    assert said.startswith("1 of 2 texts lose their end") and repr(text) in said and "reads 4 pieces" in said


def test_no_texts_give_no_rows(bundled):
    assert bundled.encode([], 8).shape == (0, 8)


@pytest.mark.parametrize("text", ["  Traffic \t\n LIGHT ", "traffic light", "Traffic Light"])
def test_case_and_white_space_do_not_matter(bundled, text):
    assert bundled.pieces(text) == bundled.pieces("traffic light")


def test_words_digits_and_signs_are_split(bundled):
    words = text_of(bundled.pieces("it's 12 close-up!!")).split()
    assert words == ["it", "'s", "1", "2", "close", "-", "up", "!!"]


def test_names_of_street_scenes_are_single_pieces(bundled):
    for name in ("road", "sidewalk", "building", "vegetation", "pedestrian", "bicycle"):
        assert bundled.pieces(name) == [f"{name}</w>"]


@pytest.mark.parametrize("text", ["Überführung", "日本", "\u0001\u007f", "🚲"])
def test_nothing_is_unknown(bundled, text):
    ids = bundled.encode([text], 64)[0]
    body = ids[1 : int((ids == bundled.eos).nonzero()[0])]
    expected = text.lower().encode()
    assert 0 < len(body) <= len(expected) and bool((body < 1022).all())


def test_a_class_called_like_the_end_mark_does_not_end_the_text(bundled):
    ids = bundled.encode([f"{EOS} road {BOS}"], 64)[0].tolist()
    road = bundled.encode(["road"], 3)[0, 1].item()
    assert road in ids[: ids.index(bundled.eos)] and ids.count(bundled.bos) == 1


def test_saved_and_read_again_is_the_same(bundled, tmp_path):
    bundled.save(tmp_path / "tokenizer.json")
    again = Tokenizer.from_file(tmp_path / "tokenizer.json")
    texts = ["a photo of a traffic light.", "Zürich 8"]
    assert torch.equal(again.encode(texts, 24), bundled.encode(texts, 24))


def test_classic_file_of_merges_follows_clips_numbering(tmp_path):
    file = tmp_path / "bpe_simple_vocab_16e6.txt.gz"
    with gzip.open(file, "wt", encoding="utf-8") as stream:
        stream.write('"header\nc a\nca t</w>\n')
    tokenizer = Tokenizer.from_file(file)
    assert tokenizer.vocab_size == 2 * BYTES + 2 + 2
    merged_cat, letter_s = 2 * BYTES + 1, ord("s") - ord("!")
    assert tokenizer.encode(["cat s"], 6)[0].tolist() == [514, merged_cat, BYTES + letter_s, 515, 515, 515]


@pytest.mark.parametrize(("name", "content"), [("tokenizer.json", "{}"), ("merges.txt", "#\none two three\n")])
def test_other_files_are_refused_in_one_line(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    with pytest.raises(PromptsegError, match=name) as caught:
        Tokenizer.from_file(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(PromptsegError, match="no such file"):
        Tokenizer.from_file(tmp_path / "tokenizer.json")


def test_eos_must_be_the_largest_id():
    inner = clip_tokenizer([])
    inner.add_tokens(["extra"])
    with pytest.raises(PromptsegError, match="expected \\[513, 514\\]"):
        Tokenizer(inner)


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("train_tokenizer", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_bundled_file_is_what_the_tool_learns(bundled, tool, tmp_path):
    tool.train_tokenizer(bundled.vocab_size).save(tmp_path / "tokenizer.json")
    assert (tmp_path / "tokenizer.json").read_bytes() == (LITE_FOLDER / "tokenizer.json").read_bytes()


def test_learning_joins_the_most_frequent_pair_first(tool):
    counts = {("l", "o", "w</w>"): 5, ("l", "o", "g</w>"): 2, ("n", "e", "w</w>"): 4, ("a", "a", "a</w>"): 1}
    assert tool.learn_merges(counts, 3) == [("l", "o"), ("lo", "w</w>"), ("n", "e")]
    assert tool.joined(("a", "a", "a"), ("a", "a")) == ("aa", "a")


def test_official_templates_are_81_with_the_bare_name_first():
    ((*texts,),) = fill_templates(["wall-other-merged"], "official")
    assert len(texts) == len(set(texts)) == 81
    assert texts[:2] == ["wall.", "a photo of a wall."]
    assert all(text.endswith(".") and "wall" in text for text in texts)


def test_only_official_templates_clean_names():
    assert fill_templates(["door-stuff"], "photo") == [["a photo of a door-stuff."]]
    assert fill_templates(["door-stuff"], "raw") == [["door-stuff"]]
    assert [clean_name(n) for n in ("floor-wood", "sky-other-merged", "door-stuff")] == ["floor-wood", "sky", "door"]


def test_names_with_braces_are_taken_as_they_are():
    assert fill_templates(["{0} {x}"], "photo") == [["a photo of a {0} {x}."]]


def test_unknown_templates_and_empty_names_are_refused():
    with pytest.raises(PromptsegError, match="official, photo, raw"):
        fill_templates(["road"], "photos")
    with pytest.raises(PromptsegError, match="class name 1 is ' '"):
        fill_templates(["road", " "], "photo")


@pytest.mark.skipif("PROMPTSEG_CLIP_TOKENIZER" not in os.environ, reason="PROMPTSEG_CLIP_TOKENIZER names no file")
def test_clips_own_vocabulary_gives_the_official_ids():
    tokenizer = Tokenizer.from_file(os.environ["PROMPTSEG_CLIP_TOKENIZER"])
    (path,) = golden_cases("focaldw_v1__text")
    case = load_case(path)
    names = case.record["class_names"]
    expected = case.tensors["input/template_clip_token_ids"]
    actual = torch.stack([tokenizer.encode(texts, 77) for texts in fill_templates(names, "official")])
    assert torch.equal(actual, expected.long())
    cleaned = tokenizer.encode([clean_name(name) for name in names], 77)
    assert torch.equal(cleaned, case.tensors["input/name_clip_token_ids"].long())
