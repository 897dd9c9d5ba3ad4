"""Average precision: COCO's rules against another library, those of Cityscapes against their steps one by one."""

import contextlib
import io
from typing import Any

import numpy as np
import pytest
from drawn_segments import SIZE, SPACE, instances, labels_of, random_instances, random_truth
from hotcoco import COCO, COCOeval
from places import SHARED

import promptseg
from promptseg.data.sample import ObjectLabels, Segment
from promptseg.label_space import LabelSpace
from promptseg.tasks.answer_files import categories, image_entry
from promptseg.tasks.average_precision import CityscapesAP, CocoAP
from promptseg.tasks.base import Scores
from promptseg.tasks.instances import Instances, encode

SAMPLES = SHARED / "samples"
Pair = tuple[ObjectLabels, Instances]
THINGS = {i: SPACE.names[i] for i in SPACE.thing_ids}


def random_pairs(seed: int, count: int = 5) -> list[Pair]:
    rng = np.random.default_rng(seed)
    truths = [random_truth(rng) for _ in range(count)]
    return [(ObjectLabels.of(truth), random_instances(rng, truth)) for truth in truths]


def scores_of(metric: CocoAP | CityscapesAP, pairs: list[Pair]) -> Scores:
    for truth, found in pairs:
        metric.count(truth, found)
    return metric.compute()


def run_lengths(mask: np.ndarray) -> dict[str, Any]:
    lengths = encode(mask)
    return {"size": list(lengths["size"]), "counts": lengths["counts"].decode()}


def oracle(space: LabelSpace, pairs: list[Pair]) -> dict[str, Any]:
    """AP50 of every class, and both means, by the other library; -1 where there are no objects."""
    images = [image_entry(i, f"{i}.jpg", labels.map.shape) for i, (labels, _) in enumerate(pairs)]
    things = {i: space.names[i] for i in space.thing_ids}
    truth: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for image, (labels, answer) in enumerate(pairs):
        for index, s in enumerate(labels.segments):
            if s.class_id in things:
                mask = labels.mask(index)
                entry = {"id": len(truth) + 1, "image_id": image, "category_id": s.class_id, "area": float(mask.sum())}
                truth.append(entry | {"iscrowd": int(s.is_crowd), "segmentation": run_lengths(mask), "bbox": [0] * 4})
        for class_id, score, mask in zip(answer.class_ids, answer.scores, answer.masks, strict=True):
            entry = {"image_id": image, "category_id": int(class_id), "score": float(score)}
            found.append({**entry, "segmentation": run_lengths(mask.numpy())})
    given = COCO({"images": images, "annotations": truth, "categories": categories(space)})
    with contextlib.redirect_stdout(io.StringIO()):
        run = COCOeval(given, given.load_res(found), "segm")
        run.params.cat_ids = list(things)
        run.evaluate()
        run.accumulate()
        run.summarize()
    precision = np.array(run.eval["precision"])[0, :, :, 0, -1].mean(0)
    return {"ap": run.stats[0], "ap50": run.stats[1], "per_class": dict(zip(things.values(), precision, strict=True))}


def check_against_oracle(space: LabelSpace, pairs: list[Pair]) -> None:
    scores, expected = scores_of(CocoAP(space), pairs), oracle(space, pairs)
    assert scores.values["ap50"] == pytest.approx(expected["ap50"], abs=1e-9)
    assert scores.values["ap"] == pytest.approx(expected["ap"], abs=1e-9)
    for name, value in scores.per_class.items():
        assert (-1 if value is None else value) == pytest.approx(expected["per_class"][name], abs=1e-9)


@pytest.mark.parametrize("seed", range(8))
def test_cocos_rules_score_as_in_another_library(seed: int) -> None:
    check_against_oracle(SPACE, random_pairs(seed))


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="no samples beside the repository")
@pytest.mark.parametrize("folder", ["coco_panoptic", "coco_stuff21"])
def test_objects_of_real_photos_score_as_in_another_library(folder: str) -> None:
    data, rng = promptseg.load_dataset(f"coco_panoptic:{SAMPLES / folder}"), np.random.default_rng(0)
    pairs = []
    for sample in (*data.train, *data.val):
        truth = sample.panoptic()
        moved = np.roll(truth.map, rng.integers(-9, 10, 2), (0, 1))
        things = [s for s in truth.segments if s.class_id in data.label_space.thing_ids]
        found = [(s.class_id, round(float(rng.random()), 2), moved == s.id) for s in things if rng.random() < 0.9]
        pairs.append((ObjectLabels.of(truth), instances(found)))
    check_against_oracle(data.label_space, pairs)


def by_the_steps(pairs: list[Pair], class_id: int, overlap: float, smallest: int) -> float | None:
    """AP of one class, step by step as the benchmark's rules have it, on sets of pixels."""
    points: list[tuple[float, bool]] = []
    missed, objects = 0, 0
    for labels, found in pairs:

        def pixels(mask: np.ndarray) -> set[tuple[int, int]]:
            return set(map(tuple, np.argwhere(mask)))

        void = pixels(labels.map == 0)
        truth = [(s, pixels(labels.mask(i))) for i, s in enumerate(labels.segments) if s.class_id == class_id]
        counted = [shape for s, shape in truth if not s.is_crowd and len(shape) >= smallest]
        objects += len(counted)
        masks = list(found.masks.numpy())
        answers = zip(found.class_ids.tolist(), found.scores.tolist(), masks, strict=True)
        guesses = [(score, pixels(mask)) for c, score, mask in answers if c == class_id and mask.any()]
        for shape in counted:
            scores = sorted(s for s, guess in guesses if len(guess & shape) / len(guess | shape) > overlap)
            missed += not scores
            points += [(s, False) for s in scores[:-1]] + [(s, True) for s in scores[-1:]]
        for score, guess in guesses:
            if any(len(guess & shape) / len(guess | shape) > overlap for _, shape in truth):
                continue
            ignored = len(guess & void)
            for s, shape in truth:
                ignored += len(guess & shape) * (s.is_crowd + (len(shape) < smallest))
            if ignored / len(guess) <= overlap:
                points.append((score, False))
    if not objects:
        return None
    if not any(hit for _, hit in points):
        return 0.0
    curve = []
    for threshold in sorted({score for score, _ in points}):
        kept = [hit for score, hit in points if score >= threshold]
        curve.append((sum(kept) / len(kept), sum(kept) / (sum(hit for _, hit in points) + missed)))
    curve.append((1.0, 0.0))
    recalls = [curve[0][1], *(recall for _, recall in curve), 0.0]
    return sum(p * (recalls[i] - recalls[i + 2]) / 2 for i, (p, _) in enumerate(curve))


@pytest.mark.parametrize("seed", range(4))
def test_cityscapes_rules_score_as_their_steps_one_by_one(seed: int) -> None:
    pairs = random_pairs(seed, count=3)
    scores = scores_of(CityscapesAP(SPACE), pairs)
    expected = {name: by_the_steps(pairs, i, 0.5, 100) for i, name in THINGS.items()}
    assert scores.per_class == pytest.approx(expected, abs=1e-12)
    every = [by_the_steps(pairs, i, overlap, 100) for i in THINGS for overlap in np.arange(0.5, 1.0, 0.05)]
    assert scores.values["ap"] == pytest.approx(np.mean([value for value in every if value is not None]))
    sizes = [labels.mask(i).sum() for labels, _ in pairs for i, s in enumerate(labels.segments) if is_object(s)]
    assert scores.values["small"] == pytest.approx(np.mean([size < 100 for size in sizes]))


def is_object(segment: Segment) -> bool:
    return segment.class_id in THINGS and not segment.is_crowd


def square(left: int, width: int = 20, top: int = 20, height: int = 20) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[top : top + height, left : left + width] = True
    return mask


CAR, BUS = 2, 4


def truth_of(*parts: tuple[np.ndarray, int, bool], void: np.ndarray | None = None) -> ObjectLabels:
    map_ = np.ones(SIZE, np.int32)
    kinds = {1: (0, False)}
    for number, (mask, class_id, crowd) in enumerate(parts, 2):
        map_[mask] = number
        kinds[number] = (class_id, crowd)
    if void is not None:
        map_[void] = 0
    return ObjectLabels.of(labels_of(map_, kinds))


def ap50(metric: type[CocoAP | CityscapesAP], truth: ObjectLabels, *found: tuple[int, float, np.ndarray]) -> Any:
    return scores_of(metric(SPACE), [(truth, instances(list(found)))]).per_class["car"]


@pytest.mark.parametrize("metric", [CocoAP, CityscapesAP])
def test_what_both_rules_agree_on(metric: type[CocoAP | CityscapesAP]) -> None:
    two = truth_of((square(0), CAR, False), (square(40), CAR, False))
    assert ap50(metric, two, (CAR, 0.9, square(0)), (CAR, 0.8, square(40))) == pytest.approx(1, abs=1e-9)
    assert ap50(metric, two) == 0
    assert ap50(metric, two, (BUS, 0.9, square(0))) == 0
    assert ap50(metric, truth_of(), (CAR, 0.9, square(0))) is None
    crowd = truth_of((square(0), CAR, False), (square(40, 40), CAR, True))
    found = ((CAR, 0.9, square(50, 10)), (CAR, 0.8, square(0)))
    assert ap50(metric, crowd, *found) == pytest.approx(1, abs=1e-9)  # what lies in a crowd is no error
    assert ap50(metric, crowd, (CAR, 0.8, square(0))) == pytest.approx(1, abs=1e-9)  # and it is not missed


def test_where_the_rules_differ() -> None:
    void = truth_of((square(0), CAR, False), void=square(40))
    found = ((CAR, 0.9, square(40)), (CAR, 0.8, square(0)))
    assert ap50(CityscapesAP, void, *found) == 1
    assert ap50(CocoAP, void, *found) == pytest.approx(0.5)  # void protects no detection
    small = truth_of((square(0), CAR, False), (square(40, 9, 20, 9), CAR, False))
    assert ap50(CityscapesAP, small, (CAR, 0.8, square(0))) == 1
    assert ap50(CocoAP, small, (CAR, 0.8, square(0))) == pytest.approx(51 / 101)  # recalls 0, 0.01 .. 0.5 are reached
    half = truth_of((square(0, 20), CAR, False))
    assert ap50(CityscapesAP, half, (CAR, 0.8, square(0, 10))) == 0  # an IoU of one half is no match
    assert ap50(CocoAP, half, (CAR, 0.8, square(0, 10))) == pytest.approx(1)


def test_the_curve_of_cityscapes_by_hand() -> None:
    # right at 0.9, wrong at 0.8, right at 0.7: precision 2/3, 1/2, 1 and recall 1, 1/2, 1/2, then (1, 0)
    truth = truth_of((square(0), CAR, False), (square(25), CAR, False))
    found = ((CAR, 0.9, square(0)), (CAR, 0.8, square(60)), (CAR, 0.7, square(25)))
    expected = 2 / 3 * (1 - 0.5) / 2 + 0.5 * (1 - 0.5) / 2 + 1 * (0.5 - 0) / 2 + 1 * (0.5 - 0) / 2
    assert ap50(CityscapesAP, truth, *found) == pytest.approx(expected)


def test_detections_beyond_the_limit_do_not_count() -> None:
    truth = truth_of((square(0), CAR, False))
    found = instances([(CAR, 0.9, square(50)), (CAR, 0.8, square(0))])
    assert scores_of(CocoAP(SPACE, max_detections=1), [(truth, found)]).per_class["car"] == 0
