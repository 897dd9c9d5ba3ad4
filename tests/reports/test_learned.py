"""The page of what prompts have learned: numbers against hand-made prompts, heat against the decoder's masks."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from shapes import SHAPES, SPACE
from tiny import tiny_folder, tiny_segmenter

import promptseg
from promptseg.cli.main import run
from promptseg.engine.defaults import default_prompts
from promptseg.engine.inspect import (
    attention_maps,
    class_changes,
    evidence_maps,
    pixel_readings,
    relative_distances,
    starting_prompts,
    vocabulary,
)
from promptseg.features.encode import image_tensor
from promptseg.methods.registry import METHODS
from promptseg.models.registry import model_words
from promptseg.models.seem.segmenter import SeemSegmenter
from promptseg.prompts import Prompts
from promptseg.reports.learned_page import attention_picture, histogram_svg, line_svg, smoothed
from promptseg.reports.pictures import write_picture


@pytest.fixture(scope="module")
def model() -> SeemSegmenter:
    return tiny_segmenter()


def test_a_prompt_moved_to_a_word_is_nearest_to_it(model: SeemSegmenter) -> None:
    before = default_prompts(model, SPACE).detached()
    words = ("tree", "bus", *SPACE.names)
    semantic = before.kinds["semantic"].clone()
    semantic[1] = 3 * model.encode_text(["bus"])[0]
    semantic[2] = before.kinds["semantic"][0]
    found = {row.name: row for row in class_changes(model, before.updated({"semantic": semantic}), before, words)}
    assert found["car"].words[0][0] == ("car", pytest.approx(1, abs=1e-5))
    assert found["car"].words[1][0] == ("bus", pytest.approx(1, abs=1e-5))
    assert found["sky"].classes[0][0][0] == "sky" and found["sky"].classes[1][0][0] == "ground"
    assert found["ground"].cosine == pytest.approx(1, abs=1e-5) and found["ground"].words[0] == found["ground"].words[1]
    assert found["car"].cosine == pytest.approx(float(before.kinds["semantic"][1] @ semantic[1] / 3), abs=1e-5)
    assert found["ground"].default_share is None


def test_distances_are_relative_to_the_length() -> None:
    before = torch.tensor([[3.0, 4.0], [1.0, 0.0]])
    assert relative_distances(torch.tensor([[3.0, 4.0], [1.0, 2.0]]), before) == pytest.approx([0.0, 2.0])


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"query-linear"}))  # its start is random
def test_what_prompts_started_from_is_found_again(model: SeemSegmenter, method: str) -> None:
    settings = {"start": "copy"} if hasattr(METHODS[method].settings, "start") else {}
    prompts = promptseg.fit(model, SHAPES[:2], method, steps=1, rate=0.0, progress=False, **settings).prompts
    before = starting_prompts(model, prompts)
    started = {name: tensor for name, tensor in prompts.kinds.items() if not name.startswith("pixel")}
    given = {name: before.kinds[name] for name in started}
    torch.testing.assert_close(given, started, rtol=0, atol=1e-5)


def test_heat_is_the_probability_of_the_mask(model: SeemSegmenter) -> None:
    before = default_prompts(model, SPACE).detached()
    generator = torch.Generator().manual_seed(0)
    spatial = before.kinds["spatial"]
    after = before.updated({"spatial": spatial + torch.randn(spatial.shape, generator=generator)})
    photo = np.zeros((64, 96, 3), np.uint8)
    maps = (attention_maps(model, before, photo), attention_maps(model, after, photo))
    picture = attention_picture([photo], [maps], [3], width=96)
    assert picture.shape[1] == 3 * 96 + 2 * 4
    for place, prompts in enumerate((before, after), start=1):
        shown = picture[-64:, place * 100 : place * 100 + 96].astype(float)
        # On a black photo red goes from 10 (probability 0) to 127.5 (probability 1).
        heat = (shown[..., 0] - 10) / 117.5
        with torch.no_grad():
            prediction = model.decode(model.encode_image([image_tensor(model, photo)]), prompts)
        mask = prediction.mask_logits[0, 3].sigmoid()
        expected = torch.nn.functional.interpolate(mask[None, None], size=(64, 96), mode="bilinear")[0, 0]
        assert prediction.canvas == (64, 96)
        assert np.abs(heat - expected.numpy()).max() < 0.02


def test_pixel_prompts_are_told_by_trust_by_map_and_by_what_they_say_of_a_photo(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "model")
    model = promptseg.load_model(folder, "cpu")
    before = default_prompts(model, SPACE).detached()
    assert pixel_readings(model, before) == []
    dims = [spec.dim for spec in model.dense_map_specs]
    embedding = torch.zeros(3, sum(dims))
    embedding[1, dims[0] : dims[0] + 2] = torch.tensor([3.0, 4.0])
    kinds = {"pixel": embedding, "pixel_bias": torch.zeros(3, 1), "pixel_trust": torch.tensor([[1.0], [0.5], [0.0]])}
    prompts = before.updated(kinds)
    readings = pixel_readings(model, prompts)
    assert [reading.trust for reading in readings] == [1.0, 0.5, 0.0]
    assert list(readings[1].lengths.values()) == [0, 5, 0, 0] and sum(readings[0].lengths.values()) == 0
    photo = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    shares = evidence_maps(model, prompts, photo)
    level = model.encode_image([image_tensor(model, photo)]).levels[0]
    product = torch.einsum("d,dhw->hw", embedding[1, dims[0] : dims[0] + dims[1]], level[0])
    product = torch.nn.functional.interpolate(product[None, None], size=(64, 96), mode="bilinear")[0, 0]
    expected = torch.stack((torch.zeros(64, 96), product, torch.zeros(64, 96))).softmax(0)
    torch.testing.assert_close(shares, expected, rtol=0, atol=1e-4)
    write_picture(tmp_path / "photos" / "a.png", photo)
    kept, photos, out = prompts.save(tmp_path / "prompts"), tmp_path / "photos", tmp_path / "page"
    assert run(["report", str(kept), "--model", str(folder), "--images", str(photos), "--out", str(out)]) == 0
    page = (out / "learned.html").read_text("utf-8")
    assert "<h2>Pixel prompts</h2>" in page and "Heat maps of the evidence" in page
    assert '<tr><td>car<td class="n">0.50<td class="n">0.00<td class="n">5.00' in page


def test_diagrams_hold_their_values() -> None:
    heights = [float(h) for h in re.findall(r'height="([\d.]+)"', histogram_svg([0.1, 0.1, 0.9], (0, 1), "w", 2))]
    assert heights == [140.0, 70.0]
    points = re.search(r'points="([^"]+)"', line_svg([2.0, 1.0, 1.5], "step", "loss"))
    assert points and [float(p.split(",")[1]) for p in points[1].split()] == [10.0, 150.0, 80.0]
    assert smoothed([1.0, 2.0, 6.0], window=2) == [1.0, 1.5, 4.0]
    assert "<svg" in histogram_svg([0.0, 0.0], (0, 0), "w") and "<svg" in line_svg([1.0], "step", "loss")


def test_words_are_those_of_the_model_or_a_vocabulary() -> None:
    words = model_words("seem-lite")
    assert words is not None and {"road", "pedestrian", "traffic light"} <= set(words)
    assert {"fog", "sidewalk", "sofa"} <= set(vocabulary()) and len(vocabulary()) == len(set(vocabulary()))


def test_the_command_writes_one_page_for_a_run_and_for_prompts(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = tiny_folder(tmp_path / "model")
    model = promptseg.load_model(folder)
    promptseg.fit(model, SHAPES[:3], "ssprompt", steps=4, out=tmp_path / "run", progress=False)
    write_picture(tmp_path / "photos" / "a.png", SHAPES[0].image())
    (tmp_path / "words.txt").write_text("tree\nbus & coach\n")
    out = tmp_path / "page"
    given = ["report", str(tmp_path / "run"), "--images", str(tmp_path / "photos"), "--out", str(out)]
    assert run([*given, "--words", str(tmp_path / "words.txt"), "--top", "2"]) == 0
    page = (out / "learned.html").read_text()
    assert "data:image/jpeg;base64," in page and page.count("<svg") == 3 and "bus &amp; coach" in page
    assert "Loss of 4 steps" in page and all(f"<td>{name}<" in page for name in SPACE.names)
    assert "http" not in page
    assert run(["report", str(tmp_path / "run" / "prompts"), "--out", str(out)]) == 0
    page = (out / "learned.html").read_text()
    assert "data:image" not in page and "Give photos (--data or --images)" in page and page.count("<svg") == 2
    zero = default_prompts(model, SPACE)
    Prompts.save(zero, tmp_path / "zero")
    assert run(["report", str(tmp_path / "zero"), "--out", str(out)]) == 0
    assert "nothing moved" in (out / "learned.html").read_text()
    capsys.readouterr()
    assert run(["report", str(tmp_path / "run"), "--images", str(tmp_path / "none"), "--out", str(out)]) == 2
    assert "no such folder; give a folder of photos" in capsys.readouterr().err
    assert run(["report", str(tmp_path / "none"), "--out", str(out)]) == 2
    assert "no such prompt folder" in capsys.readouterr().err
