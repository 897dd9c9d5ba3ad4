"""Random windows and colours: images and labels stay together, and only what encodes at every step sees them."""

import re
from typing import Any

import numpy as np
import pytest
import torch
from shapes import SHAPES
from tiny import tiny_segmenter

import promptseg
from promptseg.data.sample import ObjectLabels, PanopticLabels, Segment
from promptseg.engine.augment import Augmentation, enlarged, recoloured
from promptseg.errors import PromptsegError
from promptseg.features.encode import Encoded
from promptseg.features.features_cache import FeaturesCache
from promptseg.tasks.base import Window
from promptseg.tasks.matched_loss import segment_target
from promptseg.tasks.panoptic import PanopticTask
from promptseg.tasks.semantic import SemanticTask

FEW = {"steps": 3, "batch_size": 2, "progress": False}
HEIGHT, WIDTH = 48, 64


def labelled(patch: int = 8) -> Encoded:
    """Patches whose brightness is ten times their class."""
    classes = torch.randint(0, 20, (HEIGHT // patch, WIDTH // patch), generator=torch.Generator().manual_seed(0))
    labels = classes.repeat_interleave(patch, 0).repeat_interleave(patch, 1).to(torch.uint8)
    return Encoded((10 * labels).expand(3, -1, -1), "", lambda: pytest.fail("not encoded"), (HEIGHT, WIDTH), labels)


def test_labels_follow_their_pixels() -> None:
    item, task = labelled(), SemanticTask()
    sizes = set()
    for step in range(20):
        (view,) = Augmentation(3.0, 0.0, seed=1)([item], task, step)
        assert view.pixels.shape == item.pixels.shape and view.target.shape == item.target.shape
        same = (view.pixels[0].float() / 10 - view.target.float()).abs() < 0.5
        flat = view.target[1:-1, 1:-1]
        inner = torch.stack(
            [flat == view.target[a : a + HEIGHT - 2, b : b + WIDTH - 2] for a in (0, 2) for b in (0, 2)]
        )
        assert same[1:-1, 1:-1][inner.all(0)].float().mean() > 0.95  # but for pixels blended along borders
        sizes.add(len(view.target.unique()))
    assert len(sizes) > 3


def test_a_window_is_what_the_image_library_resizes_it_to() -> None:
    from PIL import Image

    item, window = labelled(), Window(8, 16, 24, 32)
    part = Image.fromarray(item.target.numpy()[8:32, 16:48])
    nearest = np.asarray(part.resize((WIDTH, HEIGHT), Image.Resampling.NEAREST))
    assert np.array_equal(window.nearest(item.target).numpy(), nearest)
    smooth = np.asarray(
        Image.fromarray(item.pixels[0, 8:32, 16:48].numpy()).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
    )
    assert np.abs(enlarged(item.pixels, window)[0].numpy().astype(int) - smooth).max() <= 1


def test_segments_follow_too() -> None:
    numbers = labelled().target.numpy().astype(np.int32) + 1
    segments = tuple(Segment(int(number), int(number) % 3) for number in np.unique(numbers))
    target = segment_target(ObjectLabels.of(PanopticLabels(numbers, segments)), range(3), (HEIGHT, WIDTH), False)
    window = Window(0, 0, HEIGHT // 2, WIDTH // 2)
    found = PanopticTask().windowed(target, window)
    assert torch.equal(found.map, window.nearest(target.map)) and torch.equal(found.members, target.members)
    cells = found.cells((HEIGHT, WIDTH), (HEIGHT // 4, WIDTH // 4), 4, torch.device("cpu"))
    assert len(cells.classes) == len(target.map[: HEIGHT // 2, : WIDTH // 2].unique())


def test_no_change_of_colour_is_none_and_others_are_of_the_asked_size() -> None:
    pixels = torch.randint(60, 120, (3, 8, 8), dtype=torch.uint8)
    assert torch.equal(recoloured(pixels, 0.4, [0.5] * 4), pixels)
    brighter = recoloured(pixels, 0.4, [1.0, 0.5, 0.5, 0.5])
    assert (brighter.float() - 1.4 * pixels).abs().max() <= 0.5
    harder = recoloured(pixels, 0.4, [0.5, 1.0, 0.5, 0.5]).float()
    mean = pixels.float().mean()
    assert (harder - (mean + 1.4 * (pixels - mean))).abs().max() <= 0.5
    darker = recoloured(pixels, 1.0, [0.5, 0.5, 0.5, 1.0])
    assert (darker.float() - 255 * (pixels / 255) ** 2).abs().max() <= 0.5
    grey = recoloured(pixels, 1.0, [0.5, 0.5, 0.0, 0.5])
    assert torch.equal(grey[0], grey[1]) and (grey[0].float() - pixels.float().mean(0)).abs().max() <= 0.5


def losses(method: str, **chosen: Any) -> list[float]:
    return promptseg.fit(tiny_segmenter(), SHAPES, method, **FEW, **chosen).losses


def test_only_methods_that_encode_at_every_step_see_views() -> None:
    plain = {"zoom": 1.0, "jitter": 0.0}
    assert losses("ssf") == losses("ssf") != losses("ssf", **plain)
    for method in ("ssprompt", "finetune-decoder"):
        assert losses(method) == losses(method, **plain)


def test_views_are_learned_from_in_every_task_though_some_show_no_object() -> None:
    streets = promptseg.load_dataset("streets:fog?size=64x32&train=4&val=2&test=1").train
    for task in ("instance", "panoptic"):
        run = promptseg.fit(tiny_segmenter(), streets, "ssf", task, zoom=8.0, **FEW)
        assert np.isfinite(run.losses).all()


def test_what_encodes_each_image_once_has_no_views_and_says_so() -> None:
    run = promptseg.fit(tiny_segmenter(), SHAPES, "ssprompt", **FEW)
    assert (run.record.settings.zoom, run.record.settings.jitter) == (1.0, 0.0)
    for name, value in (("zoom", 3.0), ("jitter", 0.5), ("recompute", True)):
        with pytest.raises(PromptsegError, match=f"{name} is {value}: this method encodes each image once"):
            losses("ssprompt", **{name: value})


def test_a_model_that_keeps_its_encoder_shows_its_images_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_segmenter()
    offered = [weight for weight in model.weights() if weight.part == "decoder"]
    monkeypatch.setattr(model, "weights", lambda: offered)
    views, plain = (
        promptseg.fit(model, SHAPES, "ssf", **chosen, **FEW).losses
        for chosen in ({"zoom": 8.0, "jitter": 0.5}, {"zoom": 1.0, "jitter": 0.0})
    )
    assert views == plain


def test_wrong_numbers_are_refused() -> None:
    for name, value in (("zoom", 0.5), ("jitter", 2.0)):
        with pytest.raises(PromptsegError, match=f"{name} is {value}"):
            losses("ssf", **{name: value})


def test_images_that_are_encoded_at_every_step_are_not_encoded_before() -> None:
    model = tiny_segmenter()
    for method, expected in (("ssprompt", 2 * len(SHAPES)), ("ssf", 0)):
        cache = FeaturesCache(model.device, "memory")
        promptseg.fit(model, SHAPES, method, cache=cache, **FEW)
        assert sum(map(int, re.findall(r"(\d+) in memory", cache.summary()))) == expected
