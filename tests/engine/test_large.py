"""Answers at the size of large photos, some columns at a time: the same as all at once, in little memory."""

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import tiny_folder
from torch import Tensor
from torch.nn import functional as F

import promptseg
from promptseg.data.sample import PanopticLabels, Segment
from promptseg.engine.defaults import default_prompts
from promptseg.features.memory import PeakMemory
from promptseg.label_space import ClassInfo, LabelSpace
from promptseg.models.base import Prediction
from promptseg.tasks import enlarge, masks
from promptseg.tasks.base import row_blocks
from promptseg.tasks.instances import Instances, RunLengths
from promptseg.tasks.masks import image_masks, masks_at, strips
from promptseg.tasks.registry import build_task

SPACE = LabelSpace("three", tuple(ClassInfo(n, (i, 0, 0), is_thing=i > 0) for i, n in enumerate(("ground", "a", "b"))))
SIZES = [(96, 128), (97, 61), (31, 30), (20, 24), (24, 24), (7, 50)]
"""Larger, odd, nearly equal, equal, as wide as the image, and smaller in one axis."""


def prediction(seed: int = 0) -> Prediction:
    """Smooth random masks of nine queries, over an image of 20 x 24 on a canvas of 32 x 32."""
    generator = torch.Generator().manual_seed(seed)
    maps = F.interpolate(3 * torch.randn(2, 9, 4, 4, generator=generator), (8, 8), mode="bilinear")
    return Prediction(2 * torch.randn(2, 9, 4, generator=generator), maps, (32, 32), ((20, 24), (32, 30)))


@pytest.fixture
def narrow(monkeypatch):
    """Strips of few columns, panels of few strips, and tiles of few pixels."""
    monkeypatch.setattr(masks, "STRIP_VALUES", 9 * 97 * 5)
    monkeypatch.setattr(masks, "PANEL_VALUES", 9 * 20 * 14)
    monkeypatch.setitem(enlarge.VALUES, "cpu", 9 * 5 * 11)


@pytest.mark.parametrize("size", SIZES)
def test_strips_cover_the_maps_once_with_the_values_of_the_whole(size, narrow):
    for index in range(2):
        given = prediction()
        whole, seen = masks_at(given, index, size), torch.full((9, *size), torch.nan)
        columns = [0]
        for part, values in strips(image_masks(given, index), size):
            assert part.start == columns[-1] and values.numel() <= max(masks.STRIP_VALUES, 9 * 3 * size[0])
            columns.append(part.stop)
            seen[..., part] = values
        assert columns[-1] == size[1] and torch.equal(seen, whole)


def whole_semantic(logits: Tensor, masks: Tensor) -> np.ndarray:
    return torch.einsum("nc,nhw->chw", logits.softmax(-1)[:, :-1], masks.sigmoid()).argmax(0).numpy()


def whole_panoptic(logits: Tensor, masks: Tensor, thresholds: tuple[float, float]) -> np.ndarray:
    """Segment ids by the rule as it is written, query by query on whole maps."""
    probabilities, classes = logits.softmax(-1).max(-1)
    kept = [q for q in range(len(logits)) if classes[q] < 3 and probabilities[q] > thresholds[0]]
    ids, stuff, count = np.zeros(masks.shape[1:], np.int32), 0, 0
    winner = torch.stack([probabilities[q] * masks[q].sigmoid() for q in kept]).argmax(0)
    for place, q in enumerate(kept):
        own = masks[q].sigmoid() >= 0.5
        won = winner == place
        if not (own & won).any() or won.sum() / own.sum() < thresholds[1]:
            continue
        if classes[q] == 0 and stuff:
            ids[(own & won).numpy()] = stuff
            continue
        count += 1
        stuff = count if classes[q] == 0 else stuff
        ids[(own & won).numpy()] = count
    return ids


@pytest.mark.parametrize("size", SIZES)
def test_answers_in_strips_are_those_of_whole_maps(size, narrow):
    for seed in range(4):
        given = prediction(seed)
        logits, whole = given.class_logits[1], masks_at(given, 1, size)
        assert np.array_equal(build_task("semantic").answer(given, 1, size, SPACE), whole_semantic(logits, whole))
        task = build_task("panoptic", {"object_threshold": 0.2, "overlap_threshold": 0.3})
        assert np.array_equal(task.answer(given, 1, size, SPACE).map, whole_panoptic(logits, whole, (0.2, 0.3)))
        found = build_task("instance").answer(given, 1, size, SPACE)
        assert found.size == size and len(found) == 18  # nine queries, two classes of things
        expected = {(mask > 0).numpy().tobytes() for mask in whole}
        assert {found.mask(i).tobytes("C") for i in range(len(found))} == expected


def test_run_lengths_of_strips_are_those_of_the_whole_mask():
    rng = np.random.default_rng(0)
    drawn = np.stack([rng.random((11, 17)) < share for share in (0, 0.05, 0.5, 0.9, 1)])
    collected = RunLengths(5, (11, 17), torch.device("cpu"))
    for start, stop in ((0, 1), (1, 9), (9, 17)):
        collected.add(torch.from_numpy(drawn[:, :, start:stop].copy()))
    scores = torch.linspace(1, 0, 5)
    found = Instances.of_runs(torch.arange(5), scores, tuple(collected.finish()), (11, 17))
    assert np.array_equal(found.masks.numpy(), drawn)
    assert found.runs == Instances(torch.arange(5), scores, drawn).runs


def test_blocks_of_rows_cover_a_map_once(monkeypatch):
    monkeypatch.setattr("promptseg.tasks.base.BLOCK_PIXELS", 50)
    rows = np.zeros(23, int)
    for block in row_blocks((23, 20)):
        rows[block] += 1
    assert (rows == 1).all()
    truth = np.random.default_rng(0).integers(0, 4, (23, 20)).astype(np.uint8)
    truth[truth == 3] = 255
    metric = build_task("semantic").metric(SPACE)
    metric.count(truth, np.zeros_like(truth))
    assert metric.confusion[:, 0].tolist() == [int((truth == i).sum()) for i in range(3)]
    labels = PanopticLabels(
        np.where(truth == 255, 0, truth + 1).astype(np.int32), tuple(Segment(i + 1, i) for i in range(3))
    )
    quality = build_task("panoptic").metric(SPACE)
    quality.count(labels, labels)
    assert quality.compute().values["pq"] == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("task", ["semantic", "instance", "panoptic"])
def test_a_photo_of_48_megapixels_takes_little_memory(tmp_path, task):
    rng = np.random.default_rng(0)
    photo = tmp_path / "photo.jpg"
    Image.fromarray(rng.integers(0, 255, (60, 80, 3)).astype(np.uint8)).resize((8000, 6000)).save(photo)
    model = promptseg.load_model(str(tiny_folder(tmp_path / "model")), device="cpu")
    prompts = default_prompts(model, SPACE)
    meter = PeakMemory(model.device)
    before = meter.read()
    thresholds = {} if task != "panoptic" else {"object_threshold": 0.0, "overlap_threshold": 0.0}
    promptseg.predict(model, prompts, photo, task, **thresholds)
    assert meter.read() - before < 1.5e9
