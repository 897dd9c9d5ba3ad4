"""Objects of supervision from answers, as docs/labelling-tools.md makes them."""

import numpy as np
import pytest
from documents import blocks
from places import ROOT
from served import PHOTOS, PICTURES, save_prompts

import promptseg

sv = pytest.importorskip("supervision", reason="supervision is not installed: pip install supervision")


def test_detections_from_objects_and_from_a_label_map(tmp_path, monkeypatch):
    prompts = save_prompts(tmp_path / "runs/photos")
    (tmp_path / "photo.jpg").write_bytes(PHOTOS[0])
    monkeypatch.chdir(tmp_path)
    example = next(block for block in blocks(ROOT / "docs/labelling-tools.md", "python") if "supervision" in block)
    names = {}
    exec(compile(example, "labelling-tools.md", "exec"), names)
    (expected,) = promptseg.Labeller(prompts, "instance", device="cpu")(PICTURES[:1])
    objects = names["objects"]
    assert isinstance(objects, sv.Detections) and len(objects) == len(expected) > 0
    assert (np.asarray(objects.mask) == expected.masks.numpy()).all()
    assert objects.class_id.tolist() == expected.class_ids.tolist()
    assert objects.confidence == pytest.approx(expected.scores.numpy())
    (labels,) = promptseg.Labeller(prompts, device="cpu")(PICTURES[:1])
    areas = names["areas"]
    assert sorted(areas.class_id.tolist()) == np.unique(labels).tolist()
    for class_id, area in zip(areas.class_id, areas.area, strict=True):
        assert area == (labels == class_id).sum()
    drawn = sv.MaskAnnotator().annotate(PICTURES[0].copy(), areas)
    assert drawn.shape == PICTURES[0].shape and (drawn != PICTURES[0]).any()
