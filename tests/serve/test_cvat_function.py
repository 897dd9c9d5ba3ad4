"""The function for CVAT, driven by CVAT's own package; only its server is a stand-in."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageDraw
from served import PICTURES, save_prompts
from shapes import SPACE

import promptseg
from promptseg.integrations.cvat import CvatFunction, create

cvat = pytest.importorskip("cvat_sdk.auto_annotation", reason="the extra cvat is not installed")
HEIGHT, WIDTH = PICTURES[0].shape[:2]


@pytest.fixture(scope="module")
def prompts(tmp_path_factory):
    return save_prompts(tmp_path_factory.mktemp("cvat"))


def annotated(function, monkeypatch, names=SPACE.names, **options):
    """What CVAT's driver sends to its server for the first three photos of a task with such labels."""
    from cvat_sdk import models
    from cvat_sdk.auto_annotation import driver

    labels = [
        models.Label(id=100 + number, name=name, type="any", attributes=[], sublabels=[])
        for number, name in enumerate(names)
    ]
    samples = [
        SimpleNamespace(
            frame_index=index,
            frame_name=f"{index}.png",
            media=SimpleNamespace(load_image=lambda index=index: Image.fromarray(PICTURES[index])),
        )
        for index in range(3)
    ]
    task = SimpleNamespace(labels=labels, samples=samples)
    monkeypatch.setattr(driver, "TaskDataset", lambda client, task_id, load_annotations: task)
    sent = []
    api = SimpleNamespace(update_annotations=lambda task_id, labeled_data_request: sent.append(labeled_data_request))
    client = SimpleNamespace(logger=SimpleNamespace(info=lambda *words: None), tasks=SimpleNamespace(api=api))
    cvat.annotate_task(client, 137, function, clear_existing=True, **options)
    return sent[0].shapes


def test_masks_in_cvat_are_the_label_map(prompts, monkeypatch):
    from cvat_sdk.masks import decode_mask

    expected = promptseg.Labeller(prompts, device="cpu")(PICTURES[:3])
    found = [np.full((HEIGHT, WIDTH), 255, np.uint8) for _ in range(3)]
    for shape in annotated(create(prompts=str(prompts), device="cpu"), monkeypatch):
        assert shape.type.value == "mask" and shape.source == "auto"
        mask = decode_mask(shape.points, image_width=WIDTH, image_height=HEIGHT)
        assert (found[shape.frame][mask] == 255).all()
        found[shape.frame][mask] = shape.label_id - 100
    assert all((a == b).all() for a, b in zip(found, expected, strict=True))


def test_polygons_where_cvat_asks_for_them(prompts, monkeypatch):
    (expected,) = promptseg.Labeller(prompts, device="cpu")(PICTURES[:1])
    shapes = [s for s in annotated(CvatFunction(str(prompts)), monkeypatch, conv_mask_to_poly=True) if s.frame == 0]
    assert {shape.type.value for shape in shapes} == {"polygon"}
    found = np.full((HEIGHT, WIDTH), 255, np.uint8)
    for shape in shapes:
        # Drawn 16 times as large, where a border of a pixel is nothing.
        large = Image.new("L", (16 * WIDTH, 16 * HEIGHT))
        corners = [(16 * x, 16 * y) for x, y in zip(shape.points[::2], shape.points[1::2], strict=True)]
        ImageDraw.Draw(large).polygon(corners, fill=1)
        found[np.asarray(large)[8::16, 8::16] > 0] = shape.label_id - 100
    assert (found == expected).mean() > 0.999


def test_scores_below_the_threshold_are_left_out(prompts, monkeypatch):
    function = CvatFunction(str(prompts), task="instance", device="cpu")
    scores = sorted(
        s
        for found in promptseg.Labeller(prompts, "instance", device="cpu")(PICTURES[:3])
        for s in found.scores.tolist()
    )
    middle = scores[len(scores) // 2]
    every = annotated(function, monkeypatch)
    some = annotated(function, monkeypatch, conf_threshold=middle)
    assert 0 < len(some) < len(every) and len(some) <= sum(score >= middle for score in scores)


def test_labels_that_the_task_lacks_are_cvat_s_to_judge(prompts, monkeypatch):
    function = CvatFunction(str(prompts), device="cpu")
    with pytest.raises(cvat.BadFunctionError, match="not in dataset"):
        annotated(function, monkeypatch, names=("ground",))
    some = annotated(function, monkeypatch, names=("ground",), allow_unmatched_labels=True)
    assert {shape.label_id for shape in some} <= {100}
