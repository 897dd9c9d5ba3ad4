"""Draws of shots: the published test vectors, and the properties that the rules promise."""

import hashlib
import json
import math
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
from places import SHARED

from promptseg import PromptsegError, draw_shots
from promptseg.data.few_shot import restore_shots
from promptseg.data.registry import load_dataset
from promptseg.data.sample import Split
from promptseg.label_space import ClassInfo, LabelSpace

CAMVID = SHARED / "camvid"
SPACE = LabelSpace("toy", tuple(ClassInfo(f"class {c}", (c, c, c)) for c in range(6)))


@dataclass(frozen=True)
class Toy:
    """A sample whose labels are given; it has no photo, as no draw may look at one."""

    id: str
    labels: np.ndarray
    label_space: LabelSpace = SPACE

    def image(self):
        raise AssertionError("a draw reads labels only")

    panoptic = objects = image

    def semantic(self):
        return self.labels


def toys(seed, count=40):
    """Samples of 10x10 pixels; class c is in about one of c + 1 images, class 5 in none of some seeds."""
    rng = np.random.default_rng(seed)
    samples = []
    for i in range(count):
        labels = np.full((10, 10), 255, np.uint8)
        for c in range(6):
            if rng.random() < 1 / (1 + c * c):
                labels[c] = c
        samples.append(Toy(f"part {i % 3}/{i:03}", labels))
    return samples


def classes_of(sample, threshold=1):
    return {c for c in range(6) if (sample.labels == c).sum() >= threshold}


def available(samples):
    return [sum(c in classes_of(s) for s in samples) for c in range(6)]


SEEDS = range(8)


@pytest.mark.parametrize("rule", ["cover", "union"])
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("k", [1, 3, 8, 100])
def test_every_class_is_in_k_images_or_in_all_it_has(seed, k, rule):
    samples = toys(seed)
    shots = draw_shots(samples, k, seed, rule)
    there = available(samples)
    for c in range(6):
        assert sum(c in classes_of(s) for s in shots) >= min(k, there[c])
    assert len(set(shots.ids)) == len(shots) <= min(k * 6, len(samples))
    assert all(classes_of(s) for s in shots)


@pytest.mark.parametrize("rule", ["cover", "union"])
@pytest.mark.parametrize("seed", SEEDS)
def test_order_of_files_plays_no_part(seed, rule):
    samples = toys(seed)
    shuffled = [samples[i] for i in np.random.default_rng(9).permutation(len(samples))]
    assert draw_shots(samples, 4, 0, rule).ids == draw_shots(shuffled, 4, 0, rule).ids


@pytest.mark.parametrize("seed", SEEDS)
def test_cover_is_nested_and_adds_at_most_one_image_per_class_and_round(seed):
    lists = [draw_shots(toys(seed), k, 1).ids for k in range(1, 12)]
    for smaller, larger in pairwise(lists):
        assert larger[: len(smaller)] == smaller and len(larger) - len(smaller) <= 6


@pytest.mark.parametrize("seed", SEEDS)
def test_no_image_of_cover_could_be_left_out_when_it_was_drawn(seed):
    samples = toys(seed)
    there, got, k = available(samples), [0] * 6, 5
    for sample in draw_shots(samples, k, 0):
        assert any(got[c] < min(k, there[c]) for c in classes_of(sample))
        for c in classes_of(sample):
            got[c] += 1


@pytest.mark.parametrize("seed", SEEDS)
def test_union_is_the_join_of_lists_drawn_for_each_class_alone(seed):
    samples = toys(seed)
    expected = set()
    for c in range(6):
        showing = [s.id for s in samples if c in classes_of(s)]
        showing.sort(key=lambda i: hashlib.sha256(f"7:{c}:{i}".encode()).hexdigest())
        expected |= set(showing[:4])
    assert set(draw_shots(samples, 4, 7, "union").ids) == expected
    assert set(draw_shots(samples, 3, 7, "union").ids) <= expected


def test_the_rarest_class_chooses_first():
    def toy(name, *shown):
        labels = np.full((10, 10), 255, np.uint8)
        for c in shown:
            labels[c] = c
        return Toy(name, labels)

    samples = [toy("common", 0), toy("common too", 0), toy("both", 0, 3)]
    for seed in range(20):
        assert draw_shots(samples, 1, seed).ids == ("both",)


def test_seeds_differ():
    assert len({draw_shots(toys(0), 4, seed).ids for seed in range(5)}) > 1


def test_small_regions_do_not_count_unless_nothing_larger_is_there():
    large, small = np.full((10, 10), 255, np.uint8), np.full((10, 10), 255, np.uint8)
    large[:3], small[0, :3] = 1, 1
    large[9, 9] = 4  # class 4 is nowhere larger than one pixel
    shots = draw_shots([Toy("large", large), Toy("small", small)], 2, min_frac=0.1)
    assert shots.ids == ("large",)
    assert shots.draw.available["class 1"] == 1 and shots.draw.available["class 4"] == 1


@pytest.mark.parametrize(("pixels", "shown"), [(209, 1), (210, 2)])
def test_the_threshold_is_rounded_up(pixels, shown):
    labels = np.full((1024, 2048), 255, np.uint8)
    labels.ravel()[:pixels] = 2
    assert math.ceil(1e-4 * labels.size) == 210
    full = Toy("full", np.full((10, 10), 2, np.uint8))
    assert draw_shots([full, Toy("x", labels)], 2).draw.available["class 2"] == shown


def test_record_tells_the_whole_draw(tmp_path):
    samples = toys(3)
    there = available(samples)
    shots = draw_shots(Split(samples, "toy town", "train"), 9, 2)
    draw = shots.draw
    assert (draw.dataset, draw.split, draw.rule) == ("toy town", "train", "cover")
    assert (draw.k, draw.seed, draw.min_frac) == (9, 2, 1e-4)
    assert draw.ids == shots.ids and draw.available == {f"class {c}": there[c] for c in range(6)}
    assert draw.drawn == {f"class {c}": sum(c in classes_of(s) for s in shots) for c in range(6)}
    assert draw.short == {f"class {c}": there[c] for c in range(6) if there[c] < 9}
    assert draw.short, "the toy set should have a rare class"
    assert draw.sha256 == hashlib.sha256("\n".join(shots.ids).encode()).hexdigest()
    shots.save(tmp_path / "shots.json")
    content = json.loads((tmp_path / "shots.json").read_text())
    assert content["ids"] == list(shots.ids) and content["sha256"] == draw.sha256 and content["k"] == 9


def test_exactly_k_images_are_not_short():
    rarest = min(n for n in available(toys(3)) if n)
    assert all(found < rarest for found in draw_shots(toys(3), rarest).draw.short.values())
    assert rarest in draw_shots(toys(3), rarest + 1).draw.short.values()


def test_a_plain_list_has_no_name():
    draw = draw_shots(toys(0), 2).draw
    assert draw.dataset is None and draw.split is None


def test_shots_are_a_sequence_of_the_samples():
    samples = toys(0)
    shots = draw_shots(samples, 2)
    assert shots[0] in samples and [s.id for s in shots[1:]] == list(shots.ids[1:]) and shots.label_space is SPACE


def test_restore_gives_the_same_shots_whatever_the_order(tmp_path):
    samples = toys(1)
    shots = draw_shots(samples, 4, 3, "union")
    shots.save(tmp_path / "shots.json")
    for draw in (shots.draw, tmp_path / "shots.json", str(tmp_path / "shots.json")):
        again = restore_shots(samples[::-1], draw)
        assert again.ids == shots.ids and list(again) == list(shots) and again.draw == shots.draw


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ids": ["part 0/000"]}, "its ids do not fit its sha256"),
        ({"sha256": "0"}, "its ids do not fit its sha256"),
        ({"ids": []}, r"shots\.json: a draw without images: draw again"),
        ({"ids": [1]}, r"shots\.json: field ids\[0\] is 1, expected text"),
        ({"ids": None}, r"shots\.json: field ids is None, expected a list"),
        ({"got": {}}, r"shots\.json: unknown field got, expected one of ids, sha256"),
    ],
)
def test_damaged_files_of_draws_are_refused(tmp_path, change, said):
    samples, path = toys(1), tmp_path / "shots.json"
    draw_shots(samples, 2).save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(PromptsegError, match=said):
        restore_shots(samples, path)


def test_restore_needs_all_samples(tmp_path):
    samples = toys(1)
    shots = draw_shots(samples, 2)
    with pytest.raises(PromptsegError, match=f"1 of its {len(shots)} ids are not in the data, first '{shots.ids[0]}'"):
        restore_shots([s for s in samples if s.id != shots.ids[0]], shots.draw)
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(PromptsegError, match=r"list\.json: found \[\], expected a JSON object"):
        restore_shots(samples, tmp_path / "list.json")


OTHER = LabelSpace("other", SPACE.classes[:2])
EMPTY = Toy("nothing", np.full((4, 4), 255, np.uint8))


@pytest.mark.parametrize(
    ("samples", "options", "said"),
    [
        (toys(0), {"k": 0}, "k is 0, but a draw needs at least 1 image per class"),
        (toys(0), {"rule": "all"}, "unknown rule of a draw 'all': choose one of cover, union"),
        (toys(0), {"min_frac": 1.5}, "min_frac is 1.5, but it is a share"),
        (toys(0), {"min_frac": -0.1}, "min_frac is -0.1"),
        (toys(0), {"min_frac": math.nan}, "min_frac is nan"),
        ([], {}, "the list of samples is empty"),
        (Split([], "town", "day"), {}, "the split 'day' of town is empty"),
        ([*toys(0), toys(0)[5]], {}, "two samples have the id 'part 2/005'"),
        ([*toys(0), replace(EMPTY, label_space=OTHER)], {}, "sample 'nothing' has other classes than 'part 0/000'"),
        ([EMPTY], {}, "none of 1 samples has a labelled pixel"),
    ],
)
def test_draws_that_cannot_be(samples, options, said):
    with pytest.raises(PromptsegError, match=said) as error:
        draw_shots(samples, **options)
    assert "\n" not in str(error.value)


# From the protocol: list, rule, k -> images, SHA-256 of the ids joined with newlines; seed 0.
VECTORS = [
    ("day_train", "cover", 4, 6, "4b69c2fd2da6e26b4a12bbf55b4086bce29ad051460aa616b97b68d58e0333ce"),
    ("day_train", "cover", 16, 22, "587c6e288b9dca5c52b9aff55f23c622fb6674023f01197a24dd212932eb5cfa"),
    ("day_train", "union", 4, 41, "2bce55b85ede2a8c421d3485d7af2aff910c973c8ed9dc5ae9d2631be71de759"),
    ("dusk_train", "cover", 4, 7, "311a49c5f6640b7ed4f8875955479ac20ead228067f84f50b6aae9248547c64b"),
    ("dusk_train", "cover", 16, 22, "bff8475a28d2432b0401a84f8bf4c7bb38e3dd206872718af476718fe4298a04"),
    ("dusk_train", "union", 4, 30, "91f3f7bd5ba951cf5d23a46f2484ab7c5c0f0c15ad68ee50e10a0e885aee48ab"),
]
needs_camvid = pytest.mark.skipif(not CAMVID.is_dir(), reason="CamVid is not beside the repository")


@needs_camvid
@pytest.mark.parametrize(("split", "rule", "k", "images", "digest"), VECTORS)
def test_camvid_vectors(split, rule, k, images, digest):
    shots = draw_shots(load_dataset(f"{CAMVID}?train={split}").train, k, 0, rule)
    assert len(shots) == images and hashlib.sha256("\n".join(shots.ids).encode()).hexdigest() == digest


@needs_camvid
def test_camvid_counts():
    day = draw_shots(load_dataset(f"{CAMVID}?train=day_train").train).draw
    assert list(day.drawn.values()) == [22, 22, 22, 22, 21, 16, 22, 16, 22, 22, 17]
    assert list(day.available.values()) == [304, 303, 303, 305, 287, 257, 288, 160, 298, 257, 153]
    dusk = draw_shots(load_dataset(f"{CAMVID}?train=dusk_train").train).draw
    assert dusk.short == {"fence": 13}


@needs_camvid
def test_camvid_sizes_over_seeds():
    read = [Toy(s.id, s.semantic(), s.label_space) for s in load_dataset(f"{CAMVID}?train=day_train").train]
    sizes = {k: [len(draw_shots(read, k, seed)) for seed in range(3)] for k in (1, 8, 12)}
    assert sizes == {1: [1, 1, 2], 8: [11, 12, 11], 12: [16, 18, 16]}
    assert len(draw_shots(read, 8, 0, "union")) == 77
