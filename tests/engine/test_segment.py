"""`segment`: one object of a photo that is pointed at or named, from the edge to the mask."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from commands import answer, refused
from PIL import Image
from tiny import VERSIONS, tiny_segmenter

import promptseg
from promptseg.errors import PromptsegError
from promptseg.files import read_json
from promptseg.models.base import ImageFeatures, Prediction
from promptseg.models.capabilities import ObjectPrompt
from promptseg.models.seem.pointing.one_object import best_mask
from promptseg.models.seem.pointing.points import prompt_masks

PHOTO = np.random.default_rng(0).integers(0, 256, (40, 80, 3), np.uint8)
YES, NO = 6.0, -6.0


class Finder:
    """A model that remembers what it was asked, and answers with a mask of its own."""

    id, object_prompts, resampling = "finder", ("text", "points", "boxes", "negative", "strokes"), "bilinear"

    def __init__(self, logits: torch.Tensor) -> None:
        self.logits = logits

    def input_size(self, size, short_side=None):
        assert size == (40, 80) and short_side is None
        return 20, 40

    def encode_image(self, images):
        assert images[0].shape == (3, 20, 40)
        return ImageFeatures((20, 40), ((20, 40),))

    def segment(self, features, prompt, seed=0):
        self.asked, self.seed = prompt, seed
        return Prediction(torch.zeros(1, 1, 1), self.logits, features.canvas, features.image_sizes)


@pytest.fixture
def finder() -> Finder:
    return Finder(torch.full((1, 1, 20, 40), NO))


def test_places_arrive_in_pixels_of_the_encoded_image(finder):
    promptseg.segment(
        finder,
        PHOTO,
        text="a car",
        points=[(10, 4)],
        boxes=[(0, 0, 80, 40)],
        strokes=[[(2, 2), (40, 20)]],
        negative=[(80, 40)],
        seed=3,
    )
    inside = (39.0, 19.0)  # the far edges are the last pixels
    expected = ObjectPrompt("a car", ((5.0, 2.0),), (inside,), ((0.0, 0.0, *inside),), (((1.0, 1.0), (20.0, 10.0)),))
    assert vars(finder.asked) == vars(expected)
    assert finder.seed == 3


def test_mask_is_at_the_photo_s_size_and_the_score_is_its_mean_probability(finder):
    finder.logits[..., :20] = YES
    found = promptseg.segment(finder, PHOTO, points=[(1, 1)])
    assert found.mask.shape == (40, 80) and found.mask.dtype == bool
    assert found.mask[:, :39].all() and not found.mask[:, 41:].any()
    assert found.score == pytest.approx(1 / (1 + np.exp(-YES)), abs=0.01)
    assert found.logits is finder.logits


def test_nothing_found_scores_zero(finder):
    found = promptseg.segment(finder, PHOTO, text="unicorn")
    assert found.score == 0 and not found.mask.any()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "nothing to find: give a text, a point"),
        ({"negative": [(1, 1)]}, "nothing to find"),
        ({"text": "  "}, "the text is empty"),
        ({"points": [(80.5, 3)]}, "point 80.5,3 is outside the photo, which is 80 wide and 40 high"),
        ({"points": [(3, -1)]}, "point 3,-1 is outside"),
        ({"points": [(float("nan"), 1)]}, "point nan,1 is outside"),
        ({"points": [(1, 1)], "negative": [(1, 41)]}, "negative point 1,41 is outside"),
        ({"strokes": [[(1, 1), (1, 99)]]}, "stroke 1,99 is outside"),
        ({"strokes": [[]]}, "a stroke has no place"),
        ({"boxes": [(1, 1, 90, 5)]}, "box 90,5 is outside"),
        ({"boxes": [(9, 1, 3, 5)]}, "box 9,1,3,5 has no area"),
    ],
)
def test_prompts_that_point_nowhere_are_refused(finder, given, message):
    with pytest.raises(PromptsegError, match=message) as caught:
        promptseg.segment(finder, PHOTO, **given)
    assert "\n" not in str(caught.value)


def test_a_kind_that_the_model_does_not_take_is_refused(finder):
    round_before = promptseg.segment(finder, PHOTO, text="car")
    with pytest.raises(PromptsegError, match="finder takes no previous: give it text or points"):
        promptseg.segment(finder, PHOTO, text="car", previous=round_before)


def test_a_model_without_such_prompts_is_refused():
    with pytest.raises(PromptsegError, match="plain does not take points, boxes or phrases"):
        promptseg.segment(type("Plain", (), {"id": "plain"})(), PHOTO, text="car")


def test_prompts_become_pixels():
    prompt = ObjectPrompt(
        points=((2.9, 1.2),), negative=((7.0, 5.0),), boxes=((5.0, 0.0, 7.0, 1.0),), strokes=(((0.0, 6.0), (8.0, 6.0)),)
    )
    inside, outside = prompt_masks(prompt, (8, 9))
    drawn = ["".join(".#"[int(pixel)] for pixel in row) for row in inside[0]]
    assert drawn == [".###.###.", ".###.###.", ".###.....", ".........", ".........", *["#########"] * 3]
    assert outside[0].nonzero().tolist() == [[y, x] for y in (4, 5, 6) for x in (6, 7, 8)]


def drawn_masks(*rows: str) -> torch.Tensor:
    """Mask logits (1, N, h, w): each row of text is a mask of three lines."""
    return torch.tensor([[[[YES if ink == "#" else NO for ink in line] for line in row.split()] for row in rows]])


@pytest.mark.parametrize(
    ("prompt", "likeness", "best"),
    [
        (ObjectPrompt(points=((2.0, 6.0),)), None, 0),
        (ObjectPrompt(points=((18.0, 6.0),)), None, 2),
        (ObjectPrompt(points=((14.0, 6.0),), negative=((22.0, 6.0),)), None, 1),
        (ObjectPrompt(strokes=(((2.0, 6.0), (22.0, 6.0)),)), None, 2),
        (ObjectPrompt(boxes=((12.0, 4.0, 16.0, 8.0),)), None, 1),
        (ObjectPrompt(boxes=((0.0, 0.0, 24.0, 12.0),)), None, 2),
        (ObjectPrompt(text="x"), [0.0, 9.0, 1.0, 5.0], 1),
        # A word alone would take the second, but the point is not on it.
        (ObjectPrompt(text="x", points=((2.0, 6.0),)), [4.0, 5.0, 0.0, 0.0], 0),
    ],
)
def test_queries_that_see_no_prompt_are_chosen_by_it(prompt, likeness, best):
    masks = drawn_masks("##.... ##.... ##....", "...... ...#.. ......", "...... ###### ......", "...... ...... ......")
    masks[0, 2] = drawn_masks("...#.. ###### ...#..")
    chosen = best_mask(masks, (12, 24), prompt, None if likeness is None else torch.tensor(likeness))
    assert torch.equal(chosen, masks[:, best : best + 1])


@pytest.mark.parametrize("version", ["v1", "v0", "demo"])
def test_words_are_heard_by_the_rows_that_answer_points(version):
    model = tiny_segmenter(config=VERSIONS[version])
    image = model.encode_image([torch.from_numpy(PHOTO).permute(2, 0, 1)])
    prompt = ObjectPrompt(points=((10.0, 20.0),))
    masks = [model.segment(image, replace(prompt, text=text)).mask_logits for text in (None, "car", "sky")]
    assert not torch.allclose(masks[0], masks[1]) and not torch.allclose(masks[1], masks[2])


@pytest.mark.parametrize("version", ["v1", "v0"])
def test_the_round_before_is_remembered(version):
    model = tiny_segmenter(config=VERSIONS[version])
    first = promptseg.segment(model, PHOTO, points=[(10, 20)])
    halves = torch.where(torch.arange(first.logits.shape[3]) < 10, YES, NO).expand_as(first.logits)
    left, right = (
        promptseg.segment(model, PHOTO, points=[(10, 20)], previous=replace(first, logits=logits)).logits
        for logits in (halves, -halves)
    )
    assert not torch.allclose(left, first.logits) and not torch.allclose(left, right)


@pytest.fixture(scope="module")
def street():
    sample = promptseg.load_dataset("streets:clear").val[5]
    return sample.image(), sample.panoptic(), sample.label_space.names


def overlap(found: np.ndarray, truth: np.ndarray) -> float:
    return float((found & truth).sum() / (found | truth).sum())


def test_the_bundled_model_finds_what_it_knows(street):
    photo, truth, names = street
    car = next(segment.id for segment in truth.segments if names[segment.class_id] == "car")
    mask = truth.map == car
    rows, columns = np.nonzero(mask)
    box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    place = (int(np.median(columns)), int(np.median(rows)))
    model = promptseg.load_model("seem-lite")
    for given in (
        {"points": [place]},
        {"boxes": [box]},
        {"points": [place], "text": "car"},
        {"strokes": [[place, (95, 66)]]},
    ):
        assert overlap(promptseg.segment(model, photo, **given).mask, mask) > 0.7, given
    sky = next(segment.id for segment in truth.segments if names[segment.class_id] == "sky")
    assert overlap(promptseg.segment(model, photo, text="sky").mask, truth.map == sky) > 0.8


def test_the_command_writes_mask_overlay_and_record(capsys, tmp_path, street):
    Image.fromarray(street[0]).save(tmp_path / "photo.png")
    out = tmp_path / "out"
    code, said, _ = answer(
        capsys, "segment", tmp_path / "photo.png", "--text", "car", "--point", "107,67", "--out", out
    )
    assert code == 0 and "score 0.9" in said
    mask = np.asarray(Image.open(out / "mask.png"))
    assert mask.shape == street[0].shape[:2] and set(np.unique(mask)) == {0, 255}
    record = read_json(out / "segment.json")
    assert record["prompt"] == {"text": "car", "points": [[107.0, 67.0]]} and record["model"] == "seem-lite"
    assert record["share"] == pytest.approx(float((mask > 0).mean()))
    overlay = np.asarray(Image.open(out / "overlay.jpg").convert("RGB")).astype(int)
    assert overlay.shape[0] > mask.shape[0], "the words stand below the photo"
    tinted = np.abs(overlay[: mask.shape[0]] - street[0]).sum(axis=2) > 60
    assert overlap(tinted, mask > 0) > 0.8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--point", "3"], "--point 3: expected x,y"),
        (["--point", "a,b"], "--point a,b: expected x,y"),
        (["--box", "1,2,3"], "--box 1,2,3: expected x0,y0,x1,y1"),
        (["--stroke", "1,2;3"], "--stroke 3: expected x,y"),
        (["--point", "999,3"], "point 999,3 is outside the photo"),
        (["--negative", "1,3"], "nothing to find"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(capsys, tmp_path, arguments, message):
    Image.fromarray(PHOTO).save(tmp_path / "photo.png")
    assert message in refused(capsys, "segment", tmp_path / "photo.png", "--out", tmp_path / "out", *arguments)
    assert not (tmp_path / "out").exists()


def test_a_tile_is_looked_at_as_if_it_were_the_photo():
    model = tiny_segmenter(config=VERSIONS["v1"])
    photo = np.random.default_rng(1).integers(0, 256, (100, 200, 3), np.uint8)
    found = promptseg.segment(model, photo, points=[(150, 40)], boxes=[(140, 30, 170, 50)], tile=64)
    rows, columns = found.seen
    assert (rows, columns) == (slice(8, 72), slice(123, 187))
    alone = promptseg.segment(model, photo[rows, columns], points=[(27, 32)], boxes=[(17, 22, 47, 42)])
    assert np.array_equal(found.mask[rows, columns], alone.mask) and found.score == alone.score
    assert found.mask.sum() == alone.mask.sum() and found.mask.shape == (100, 200)
    again = promptseg.segment(model, photo, points=[(180, 70)], previous=found)
    assert again.seen == found.seen
    assert promptseg.segment(model, photo, points=[(199, 99)], tile=64).seen == (slice(36, 100), slice(136, 200))
    assert promptseg.segment(model, photo, points=[(0, 0)], tile=150).seen == (slice(0, 100), slice(0, 150))
    for wrong, words in (
        ({"text": "car", "tile": 64}, "words do not say where"),
        ({"boxes": [(0, 0, 90, 10)], "tile": 64}, "90 pixels large"),
        ({"points": [(20, 20)], "previous": found}, "20,20 is outside the tile"),
        ({"points": [(20, 20)], "tile": 3}, "at least 32"),
    ):
        with pytest.raises(PromptsegError, match=words):
            promptseg.segment(model, photo, **wrong)
