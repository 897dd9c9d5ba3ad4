"""Photos seen in tiles: where tiles lie, seams that are blended, things that go over them, and fits on tiles."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from drawn_segments import SPACE as DRAWN
from drawn_segments import instances
from hypothesis import given
from hypothesis import strategies as st
from shapes import CARS, SHAPES, SPACE, CarSample, ShapeSample
from tiny import tiny_segmenter

import promptseg
from promptseg.data.sample import PanopticLabels, Segment
from promptseg.data.tile_samples import Pieces
from promptseg.data.tiles import Tiling, tiles_of
from promptseg.engine.defaults import default_prompts
from promptseg.errors import PromptsegError
from promptseg.models.base import Prediction
from promptseg.tasks.instances import Instances, encode, encode_at
from promptseg.tasks.label_maps import LabelMosaic
from promptseg.tasks.masks import masks_at
from promptseg.tasks.object_mosaics import InstanceMosaic, PanopticMosaic


@given(st.integers(1, 300), st.integers(1, 300), st.integers(32, 90), st.data())
def test_tiles_cover_a_photo_at_one_scale_and_their_cores_cover_it_once(height, width, tile, data):
    tiling = Tiling(tile, data.draw(st.integers(0, tile // 2)))
    seen, cores, weights = (np.zeros((height, width)) for _ in range(3))
    found = list(tiles_of((height, width), tiling))
    for one in found:
        assert one.size == (min(tile, height), min(tile, width))
        seen[one.rows, one.columns] += 1
        cores[one.core] += 1
        for down in one.down:
            for across in one.across:
                weights[down.span, across.span] += down.weights[:, None] * across.weights
    for one in found:
        for down in one.down:
            for across in one.across:
                assert (seen[down.span, across.span] == down.seen_by * across.seen_by).all()
    assert seen.min() >= 1 and (cores == 1).all() and np.allclose(weights, 1)
    for first, second in pairwise(found):
        if first.rows == second.rows:
            assert first.columns.stop - second.columns.start >= tiling.overlap


def test_a_tiling_is_what_was_asked_for():
    assert Tiling.of(None) is None and Tiling.of(0) is None
    assert Tiling.of(512) == Tiling(512, 64) and Tiling.of(512, 0) == Tiling(512, 0)
    for wrong in ((16, None), (512, 257), (512, -1), (None, 8), (0, 8), (51.5, None)):
        with pytest.raises(PromptsegError):
            Tiling.of(*wrong)


def pixel_prompts(model) -> promptseg.Prompts:
    """Prompts that say something else of every part of a photo: random ones over the dense maps."""
    prompts = default_prompts(model, SPACE)
    generator = torch.Generator().manual_seed(0)
    dim = next(kind.dim for kind in prompts.spec if kind.name == "pixel")
    found = {"pixel": 0.3 * torch.randn(3, dim, generator=generator)}
    return prompts.updated({**found, "pixel_bias": torch.zeros(3, 1), "pixel_trust": torch.ones(3, 1)})


def random_prediction(seed: int, size: tuple[int, int]) -> Prediction:
    generator = torch.Generator().manual_seed(seed)
    masks = 3 * torch.randn(1, 7, 6, 6, generator=generator)
    return Prediction(2 * torch.randn(1, 7, 4, generator=generator), masks, size, (size,))


@pytest.mark.parametrize("tiling", [Tiling(40, 10), Tiling(40, 0), Tiling(33, 16), Tiling(200, 0)])
def test_a_label_map_is_the_likeliest_of_the_blended_distributions(tiling):
    size = (70, 90)
    blended, mosaic = np.zeros((3, *size)), LabelMosaic(size)
    for number, tile in enumerate(tiles_of(size, tiling)):
        prediction = random_prediction(number, tile.size)
        masks = masks_at(prediction, 0, tile.size).sigmoid()
        scores = torch.einsum("nc,nhw->chw", prediction.class_logits[0].softmax(-1)[:, :-1], masks).double().numpy()
        middles = [np.arange(s.start, s.stop) + 0.5 - s.start for s in (tile.rows, tile.columns)]
        depths = [np.minimum(m, len(m) - m) for m in middles]
        # Weights of all tiles at a pixel have one sum per axis, so dividing by it changes no argmax.
        blended[:, tile.rows, tile.columns] += scores / scores.sum(0) * depths[0][:, None] * depths[1]
        mosaic.add(prediction, 0, tile)
    found, (second, first) = mosaic.finish(), np.sort(blended, axis=0)[-2:]
    clear = first - second > 1e-5 * first
    assert clear.mean() > 0.99 and (found == blended.argmax(0))[clear].all()


@pytest.mark.parametrize("task", ["semantic", "panoptic", "instance"])
def test_one_tile_that_holds_the_photo_says_what_the_photo_says(task):
    model = tiny_segmenter()
    prompts = pixel_prompts(model)
    settings = {"object_threshold": 0.0, "overlap_threshold": 0.0} if task == "panoptic" else {}
    for sample in SHAPES[:2]:
        whole = promptseg.predict(model, prompts, sample.image(), task, **settings)
        tiled = promptseg.predict(model, prompts, sample.image(), task, tile=100, overlap=20, **settings)
        if task == "semantic":
            assert np.array_equal(whole, tiled)
        elif task == "panoptic":
            assert np.array_equal(whole.map, tiled.map) and whole.segments == tiled.segments
        else:
            assert whole.runs == tiled.runs and torch.equal(whole.class_ids, tiled.class_ids)
            assert torch.equal(whole.scores, tiled.scores)


def test_tiles_without_an_overlap_are_the_predictions_of_the_tiles():
    model = tiny_segmenter()
    prompts, photo = pixel_prompts(model), ShapeSample(3, 96, 160).image()
    found = promptseg.predict(model, prompts, photo, tile=48, overlap=0)
    for tile in tiles_of((96, 160), Tiling(48, 0)):
        own = promptseg.predict(model, prompts, photo[tile.rows, tile.columns])
        alone = np.ones((96, 160), int)
        for other in tiles_of((96, 160), Tiling(48, 0)):
            alone[other.rows, other.columns] += other is not tile and other.columns != tile.columns
        sure = alone[tile.rows, tile.columns] == 1
        assert np.array_equal(found[tile.rows, tile.columns][sure], own[sure])


SIZE = (60, 90)
TILING = Tiling(50, 20)


def seen(map_: np.ndarray, kinds: dict[int, int], tile) -> PanopticLabels:
    """What a perfect model says of a tile: its segments, numbered by themselves."""
    cut = map_[tile.rows, tile.columns]
    there = [i for i in np.unique(cut).tolist() if i]
    numbers = np.zeros(max(kinds) + 1, np.int32)
    numbers[there] = np.arange(1, len(there) + 1)
    return PanopticLabels(numbers[cut], tuple(Segment(n, kinds[i]) for n, i in enumerate(there, 1)))


def random_scene(rng: np.random.Generator) -> tuple[np.ndarray, dict[int, int]]:
    """Two kinds of stuff, and things that are large enough to be seen where tiles overlap."""
    map_, kinds = np.ones(SIZE, np.int32), {1: 0, 2: 1}
    map_[:25] = 2
    for number in range(3, 7):
        top, left, height, width = (int(rng.integers(a, b)) for a, b in ((0, 40), (0, 60), (8, 30), (8, 40)))
        map_[top : top + height, left : left + width] = number
        kinds[number] = int(rng.integers(2, 5))
    return map_, kinds


@pytest.mark.parametrize("seed", range(8))
def test_segments_that_go_over_seams_are_whole_again(seed):
    map_, kinds = random_scene(np.random.default_rng(seed))
    answers = {}
    mosaic = PanopticMosaic(SIZE, lambda prediction, index, size: answers[index], DRAWN.thing_ids)
    for index, tile in enumerate(tiles_of(SIZE, TILING)):
        answers[index] = seen(map_, kinds, tile)
        mosaic.add(None, index, tile)
    found = mosaic.finish()
    assert len(found.segments) == len(np.unique(map_))
    classes = {segment.id: segment.class_id for segment in found.segments}
    for number in np.unique(map_).tolist():
        ids = np.unique(found.map[map_ == number])
        assert len(ids) == 1 and classes[int(ids[0])] == kinds[number]


def test_things_that_two_tiles_see_differently_stay_two():
    kinds = {1: 2, 2: 2}
    left, right = np.zeros((2, *SIZE), np.int32)
    left[10:20, 10:55] = 1  # the same class, but in the overlap (columns 40 to 50) at other places
    right[30:40, 35:80] = 2
    answers = []
    mosaic = PanopticMosaic(SIZE, lambda prediction, index, size: answers[index], DRAWN.thing_ids)
    for index, tile in enumerate(tiles_of(SIZE, Tiling(60, 20))):
        answers.append(seen(left if tile.columns.start == 0 else right, kinds, tile))
        mosaic.add(None, index, tile)
    assert [segment.class_id for segment in mosaic.finish().segments] == [2, 2]


@pytest.mark.parametrize("seed", range(4))
def test_objects_that_go_over_seams_are_whole_again(seed):
    map_, kinds = random_scene(np.random.default_rng(seed))
    things = [i for i in np.unique(map_).tolist() if i > 2]
    answers: dict[int, Instances] = {}
    mosaic = InstanceMosaic(SIZE, lambda prediction, index, size: answers[index])
    scores: dict[int, float] = {}
    for index, tile in enumerate(tiles_of(SIZE, TILING)):
        cut = map_[tile.rows, tile.columns]
        there = [(kinds[i], (i + index) / 20, cut == i) for i in things if (cut == i).any()]
        scores |= {i: (i + index) / 20 for i in things if (cut == i).any()}
        answers[index] = instances(there)
        mosaic.add(None, index, tile)
    found = mosaic.finish()
    assert found.scores.tolist() == pytest.approx(sorted(scores.values(), reverse=True))
    expected = {(kinds[i], (map_ == i).tobytes()) for i in things}
    assert {
        (int(found.class_ids[i]), np.ascontiguousarray(found.mask(i)).tobytes()) for i in range(len(found))
    } == expected


@given(st.integers(0, 2**32 - 1))
def test_run_lengths_of_a_window_are_those_of_the_whole_mask(seed):
    rng = np.random.default_rng(seed)
    height, width = (int(n) for n in rng.integers(1, 12, 2))
    top, left = int(rng.integers(0, 3)), int(rng.integers(0, 3))
    size = height + top + int(rng.integers(0, 3)), width + left + int(rng.integers(0, 3))
    whole = np.zeros(size, bool)
    whole[top : top + height, left : left + width] = rng.random((height, width)) < rng.random()
    assert encode_at(whole[top : top + height, left : left + width], (top, left), size) == encode(whole)


def test_evaluate_sees_photos_in_tiles_as_predict_does():
    model = tiny_segmenter()
    prompts = pixel_prompts(model)
    samples = [ShapeSample(number, 96, 160) for number in range(3)]
    result = promptseg.evaluate(model, prompts, samples, tile=64, overlap=16, batch_size=4)
    confusion = np.zeros((3, 3), int)
    for sample in samples:
        assert len(np.unique(promptseg.predict(model, prompts, sample.image()))) == 3
        truth = sample.semantic()
        found = promptseg.predict(model, prompts, sample.image(), tile=64, overlap=16)
        np.add.at(confusion, (truth[truth < 255], found[truth < 255]), 1)
    hit, union = np.diag(confusion), confusion.sum(0) + confusion.sum(1) - np.diag(confusion)
    expected = [h / u if u else None for h, u in zip(hit, union, strict=True)]
    assert list(result.per_class.values()) == pytest.approx(expected, abs=2e-3)
    assert result.num_images == 3 and result.per_class != promptseg.evaluate(model, prompts, samples).per_class


def test_each_labelled_pixel_is_in_the_labels_of_one_tile():
    photos = [CarSample(number, 96, 160) for number in range(2)]
    pieces = Pieces.of(photos, Tiling(64, 16))
    assert len(pieces.samples) == 12 and pieces.groups == (0,) * 6 + (1,) * 6
    for group, photo in enumerate(photos):
        own = [sample for sample, of in zip(pieces.samples, pieces.groups, strict=True) if of == group]
        counts = sum(np.bincount(sample.semantic().ravel(), minlength=256)[:3] for sample in own)
        assert counts.tolist() == np.bincount(photo.semantic().ravel(), minlength=256)[:3].tolist()
        for sample in own:
            rows, columns = sample.tile.rows, sample.tile.columns
            assert np.array_equal(sample.image(), photo.image()[rows, columns])
            labels, truth = sample.semantic(), photo.semantic()[rows, columns]
            assert (labels[labels < 255] == truth[labels < 255]).all()
            map_ = sample.panoptic().map
            assert np.array_equal(map_ > 0, labels < 255) and len(sample.objects().segments) == len(
                np.unique(map_[map_ > 0])
            )


def test_tiles_without_labels_are_left_out_and_those_of_a_single_photo_are_held_out_one_by_one():
    photo = ShapeSample(0, 96, 160)
    labels = photo.semantic()
    labels[:, 50:] = 255
    object.__setattr__(photo, "semantic", lambda: labels)
    pieces = Pieces.of([photo], Tiling(48, 0))
    assert {sample.tile.columns.start for sample in pieces.samples} == {0, 37} and pieces.groups == (0, 1, 2, 3)
    labels[:] = 255
    with pytest.raises(PromptsegError, match="nothing to learn"):
        Pieces.of([photo], Tiling(48, 0))


@pytest.mark.parametrize("method", ["ssprompt", "pixprompt"])
def test_a_fit_on_tiles_learns_at_the_scale_of_the_tiles_and_is_used_so(method):
    model = tiny_segmenter()
    shots = [ShapeSample(number, 96, 160) for number in range(2)]
    run = promptseg.fit(model, shots, method, steps=2, tile=64, progress=False)
    assert (run.record.settings.tile, run.record.settings.overlap, len(run.record.draw.ids)) == (64, None, 2)
    photo = shots[0].image()
    found = promptseg.predict(model, run.prompts, photo)
    assert np.array_equal(found, promptseg.predict(model, run.prompts, photo, tile=64, overlap=8))
    again = promptseg.fit(model, shots, method, steps=2, tile=64, progress=False)
    assert all(torch.equal(again.prompts.kinds[name], value) for name, value in run.prompts.kinds.items())
    whole = promptseg.predict(model, run.prompts, photo, tile=0)
    assert whole.shape == found.shape and not np.array_equal(whole, found)


def test_fits_for_objects_take_tiles_too():
    model = tiny_segmenter()
    for task in ("panoptic", "instance"):
        run = promptseg.fit(model, CARS[:2], "ssprompt", task, steps=1, tile=32, progress=False)
        assert np.isfinite(run.losses).all()


def test_a_task_that_cannot_join_tiles_is_refused_at_once():
    class Bare:
        name = "bare"

    from promptseg.tasks.base import tiled_task

    with pytest.raises(PromptsegError, match="'bare' cannot join"):
        tiled_task(Bare())
