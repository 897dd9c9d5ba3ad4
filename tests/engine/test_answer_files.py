"""What `predict` writes of objects and segments: read back, and by the tools that others read it with."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as run_lengths
from pycocotools.coco import COCO
from shapes import CARS
from tiny import tiny_folder

import promptseg
from promptseg.cli.main import run as run_command

EVERYTHING = {"object_threshold": 0, "overlap_threshold": 0}
"""Thresholds at which random weights find segments."""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `predict` writes for two photos, with each of the tasks, and the prompts it used."""
    root = tmp_path_factory.mktemp("predicted")
    model = promptseg.load_model(str(tiny_folder(root / "model")))
    run = promptseg.fit(
        model,
        CARS[:2],
        "ssprompt",
        task="panoptic",
        progress=False,
        background_weight=0,
        rate=0.1,
        steps=2,
        batch_size=2,
    )
    run.prompts.save(root / "prompts")
    for sample in CARS[:2]:
        path = root / "photos" / f"{sample.number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(sample.image()).save(path)
    base = ["predict", str(root / "photos"), "--prompts", str(root / "prompts"), "--set"]
    assert (
        run_command([*base, "object_threshold=0", "--set", "overlap_threshold=0", "--out", str(root / "panoptic")]) == 0
    )
    assert run_command([*base, "max_detections=5", "--task", "instance", "--out", str(root / "instance")]) == 0
    return root


def test_predicted_segments_are_in_cocos_form(written: Path) -> None:
    content = json.loads((written / "panoptic/panoptic.json").read_text())
    prompts = promptseg.Prompts.load(written / "prompts")
    model = promptseg.load_model(prompts.model_id)
    assert [image["file_name"] for image in content["images"]] == ["0.png", "1.png"]
    for image, annotation in zip(content["images"], content["annotations"], strict=True):
        pixels = np.asarray(Image.open(written / "panoptic/panoptic" / annotation["file_name"])).astype(int)
        ids = pixels[..., 0] + 256 * pixels[..., 1] + 65536 * pixels[..., 2]
        expected = promptseg.predict(model, prompts, written / "photos" / image["file_name"], "panoptic", **EVERYTHING)
        assert annotation["image_id"] == image["id"] and np.array_equal(ids, expected.map)
        entries = {entry["id"]: entry for entry in annotation["segments_info"]}
        assert entries and {i: e["category_id"] for i, e in entries.items()} == {
            s.id: s.class_id for s in expected.segments
        }
        for number, entry in entries.items():
            rows, columns = np.nonzero(ids == number)
            left, top, width, height = entry["bbox"]
            assert (entry["area"], left, top) == (len(rows), columns.min(), rows.min())
            assert (left + width - 1, top + height - 1) == (columns.max(), rows.max())
    assert [(c["id"], c["name"], c["isthing"]) for c in content["categories"]] == [
        (0, "ground", 0),
        (1, "car", 1),
        (2, "sky", 0),
    ]


def test_predicted_objects_are_read_by_cocos_tools(written: Path, capsys: pytest.CaptureFixture) -> None:
    index = COCO(str(written / "instance/instances.json"))
    prompts = promptseg.Prompts.load(written / "prompts")
    model = promptseg.load_model(prompts.model_id)
    seen = 0
    for image in index.loadImgs(index.getImgIds()):
        found = promptseg.predict(model, prompts, written / "photos" / image["file_name"], "instance", max_detections=5)
        shown = [i for i in range(len(found)) if found.masks[i].any()]
        entries = index.loadAnns(index.getAnnIds(imgIds=[image["id"]]))
        assert len(entries) == len(shown)
        for entry, place in zip(entries, shown, strict=True):
            assert np.array_equal(index.annToMask(entry).astype(bool), found.masks[place].numpy())
            assert entry["score"] == pytest.approx(found.scores[place].item(), abs=1e-6)
            assert index.cats[entry["category_id"]]["name"] == "car"
            assert entry["bbox"] == run_lengths.toBbox(index.annToRLE(entry)).tolist()
            seen += 1
    assert seen
    index.loadRes(index.dataset["annotations"])


def test_overlays_are_large_enough_to_read(written: Path) -> None:
    for task in ("panoptic", "instance"):
        with Image.open(written / task / "overlays/0.jpg") as overlay:
            assert overlay.size == (960, 576)
