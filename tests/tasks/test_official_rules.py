"""AP and PQ from files to scores against the rules of the official scripts, spelled out pixel by pixel.

Every set is drawn with what makes the rules differ: objects that overlap (COCO), group regions, void, numbered trailers
and small objects (Cityscapes), several crowds of one class (panoptic). It is written as files of its benchmark, read by
the package's own reader, and scored; the oracle sees the drawn arrays only.
"""

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from promptseg import load_dataset
from promptseg.data.sample import PanopticLabels, Segment
from promptseg.tasks.instances import Instances
from promptseg.tasks.registry import build_task

SIZE = (40, 60)
Guess = tuple[int, float, np.ndarray]
"""Class, score and mask."""
Scored = tuple[np.ndarray, list[dict[str, int]], np.ndarray, list[dict[str, int]]]
"""Map of ids and their entries, of truth and of answer."""
SETS = 300
NAMES = ("cup", "plate", "table")


def box(rng: np.random.Generator, smallest: int = 2) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    height, width = rng.integers(smallest, 26, 2)
    top, left = rng.integers(0, SIZE[0] - 2), rng.integers(0, SIZE[1] - 2)
    mask[top : top + height, left : left + width] = True
    return mask


def guesses(rng: np.random.Generator, masks: list[tuple[int, np.ndarray]], classes: int) -> list[Guess]:
    """Detections near the truth, doubles and inventions; scores all differ."""
    found = []
    for class_id, mask in masks:
        for _ in range(rng.integers(0, 3)):
            moved = np.roll(mask, rng.integers(-2, 3, 2), (0, 1))
            found.append((class_id if rng.random() < 0.85 else int(rng.integers(classes)), moved))
    found += [(int(rng.integers(classes)), box(rng)) for _ in range(rng.integers(0, 4))]
    scores = rng.permutation(len(found)) / 100 + 0.01
    return sorted(((c, float(s), m) for (c, m), s in zip(found, scores, strict=True)), key=lambda g: -g[1])


def instances(found: list[Guess]) -> Instances:
    masks = np.array([m for _, _, m in found], bool).reshape(-1, *SIZE)
    class_ids = torch.tensor([c for c, _, _ in found], dtype=torch.long)
    return Instances(class_ids, torch.tensor([s for _, s, _ in found], dtype=torch.float64), torch.from_numpy(masks))


def photo(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(path)


def difference(ours: float | None, theirs: float) -> float:
    return abs((-1.0 if ours is None else ours) - theirs)


# COCO: the official code itself, on masks that overlap


def runs(mask: np.ndarray) -> dict[str, Any]:
    found = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(SIZE), "counts": found["counts"].decode()}


def coco_difference(root: Path, seed: int) -> float:
    rng = np.random.default_rng(seed)
    images, annotations, answers = [], [], []
    for number in range(1, 4):
        photo(root / f"images/{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "height": SIZE[0], "width": SIZE[1]})
        truth = [(int(rng.integers(3)), box(rng), rng.random() < 0.2) for _ in range(rng.integers(0, 6))]
        for class_id, mask, crowd in truth:
            annotations.append({
                "id": len(annotations) + 1, "image_id": number, "category_id": class_id + 1, "iscrowd": int(crowd),
                "segmentation": runs(mask), "area": int(mask.sum()), "bbox": [0, 0, 1, 1],
            })  # fmt: skip
        answers.append(guesses(rng, [(c, m) for c, m, _ in truth], 3))
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": i + 1, "name": n} for i, n in enumerate(NAMES)],
    }
    (root / "annotations.json").write_text(json.dumps(content))
    data, task = load_dataset(f"coco:{root}"), build_task("instance")
    metric = task.metric(data.label_space)
    for sample, answer in zip(data.train, answers, strict=True):
        metric.count(task.labels(sample), instances(answer))
    scores = metric.compute()
    with contextlib.redirect_stdout(io.StringIO()):
        given = COCO(str(root / "annotations.json"))
        entries = [
            {"image_id": n, "category_id": c + 1, "segmentation": runs(m), "score": s}
            for n, answer in enumerate(answers, 1)
            for c, s, m in answer
        ]
        if not entries or not annotations:
            return 0.0
        run = COCOeval(given, given.loadRes(entries), "segm")
        run.evaluate()
        run.accumulate()
        run.summarize()
    precision = run.eval["precision"][0, :, :, 0, -1].mean(0)
    theirs = dict(zip(NAMES, precision.tolist(), strict=True))
    return max(
        difference(scores.values["ap"], run.stats[0]),
        difference(scores.values["ap50"], run.stats[1]),
        *(difference(scores.per_class[name], theirs[name]) for name in NAMES),
    )


# Cityscapes: void by pixel value, groups, trailers, small objects

ROAD, VOID, PERSON, CAR, TRAILER = 7, 0, 24, 26, 30
THINGS = {PERSON: 11, CAR: 13}


def cityscapes_map(rng: np.random.Generator) -> np.ndarray:
    map_ = np.full(SIZE, ROAD, np.int64)
    map_[rng.integers(10, 30) :] = VOID
    for number in range(rng.integers(1, 9)):
        label = int(rng.choice((PERSON, CAR, CAR, TRAILER)))
        grouped = rng.random() < 0.25
        map_[box(rng, smallest=6)] = label if grouped else 1000 * label + number
    return map_


def official_ap(images: list[tuple[np.ndarray, list[Guess]]], label: int, threshold: float) -> float | None:
    """AP of one label: the benchmark's steps."""
    hits, scores, missed, there = [], [], 0, False
    for map_, found in images:
        values = [int(v) for v in np.unique(map_) if v == label or v // 1000 == label]
        truth = {v: map_ == v for v in values}
        own = [(s, m) for c, s, m in found if c == THINGS[label] and m.any()]
        counted = [v for v in values if v >= 1000 and truth[v].sum() >= 100]
        there |= bool(counted)

        def iou(mask: np.ndarray, value: int, truth: dict[int, np.ndarray] = truth) -> float:
            return (mask & truth[value]).sum() / (mask | truth[value]).sum()

        for value in counted:
            matched = sorted((s for s, m in own if iou(m, value) > threshold), reverse=True)
            missed += not matched
            scores += matched
            hits += [True, *[False] * (len(matched) - 1)] if matched else []
        void = np.isin(map_, [*range(7), 9, 10, 14, 15, 16, 18, 29, 30])
        for score, mask in own:
            if any(iou(mask, value) > threshold for value in values):
                continue
            ignored = (mask & void).sum()
            for value in values:
                inside = (mask & truth[value]).sum()
                ignored += inside * (int(value < 1000) + int(truth[value].sum() < 100))
            if ignored / mask.sum() <= threshold:
                scores.append(score)
                hits.append(False)
    if not there:
        return None
    if not any(hits):
        return 0.0
    points = []
    for level in sorted(set(scores)):
        kept = [hit for hit, score in zip(hits, scores, strict=True) if score >= level]
        points.append((sum(kept) / len(kept), sum(kept) / (sum(hits) + missed)))
    points.append((1.0, 0.0))
    recall = [points[0][1], *(r for _, r in points), 0.0]
    return sum(p * (recall[i] - recall[i + 2]) / 2 for i, (p, _) in enumerate(points))


def cityscapes_difference(root: Path, seed: int) -> float:
    rng = np.random.default_rng(seed)
    images = []
    for number in range(3):
        map_ = cityscapes_map(rng)
        stem = f"a/a_{number:06}_000019"
        photo(root / f"leftImg8bit/train/{stem}_leftImg8bit.png")
        photo(root / f"leftImg8bit/val/{stem}_leftImg8bit.png")
        labels = np.where(map_ >= 1000, map_ // 1000, map_)
        for split in ("train", "val"):
            for name, array in (("instanceIds", map_.astype(np.uint16)), ("labelIds", labels.astype(np.uint8))):
                path = root / f"gtFine/{split}/{stem}_gtFine_{name}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(path)
        masks = [(THINGS.get(v // 1000 or v, 13), map_ == v) for v in np.unique(map_).tolist() if v > 20]
        found = [(11 if c == 0 else 13 if c == 1 else c, s, m) for c, s, m in guesses(rng, masks, 2)]
        images.append((map_, found))
    data, task = load_dataset(f"cityscapes:{root}"), build_task("instance", {"rules": "cityscapes"})
    metric = task.metric(data.label_space)
    for sample, (_, found) in zip(data.val, images, strict=True):
        metric.count(task.labels(sample), instances(found))
    scores = metric.compute()
    expected = {label: official_ap(images, label, 0.5) for label in THINGS}
    every = [official_ap(images, label, t) for label in THINGS for t in np.arange(0.5, 1.0, 0.05)]
    known = [value for value in every if value is not None]
    return max(
        difference(scores.per_class["person"], -1.0 if expected[PERSON] is None else expected[PERSON]),
        difference(scores.per_class["car"], -1.0 if expected[CAR] is None else expected[CAR]),
        difference(scores.values["ap"], float(np.mean(known)) if known else -1.0),
    )


# Panoptic: several crowds of a class, of which the script keeps the last


def official_pq(images: list[Scored], class_id: int) -> float | None:
    """PQ of one class: the script's steps, on maps of ids and lists in the order of the JSON."""
    overlap, hits, errors, misses = 0.0, 0, 0, 0
    for truth, truth_infos, answer, answer_infos in images:
        matched_truth, matched_answer = set(), set()
        for t in truth_infos:
            for a in answer_infos:
                if t["iscrowd"] or t["category_id"] != a["category_id"]:
                    continue
                one, other = truth == t["id"], answer == a["id"]
                both = (one & other).sum()
                union = one.sum() + other.sum() - both - (other & (truth == 0)).sum()
                if both and both / union > 0.5:
                    matched_truth.add(t["id"])
                    matched_answer.add(a["id"])
                    if t["category_id"] == class_id:
                        hits, overlap = hits + 1, overlap + both / union
        crowds: dict[int, int] = {}
        for t in truth_infos:
            if t["id"] in matched_truth:
                continue
            if t["iscrowd"]:
                crowds[t["category_id"]] = t["id"]
            elif t["category_id"] == class_id:
                misses += 1
        for a in answer_infos:
            if a["id"] in matched_answer or a["category_id"] != class_id:
                continue
            own = answer == a["id"]
            ignored = (own & (truth == 0)).sum()
            if class_id in crowds:
                ignored += (own & (truth == crowds[class_id])).sum()
            errors += ignored / own.sum() <= 0.5
    if hits + errors + misses == 0:
        return None
    return overlap / (hits + errors / 2 + misses / 2)


def drawn_map(rng: np.random.Generator, crowds: bool) -> tuple[np.ndarray, list[dict[str, int]]]:
    map_, infos = np.zeros(SIZE, np.int64), {}
    map_[: rng.integers(0, 40)] = 1
    infos[1] = {"id": 1, "category_id": 0, "iscrowd": 0}
    for _ in range(rng.integers(1, 9)):
        id_ = int(rng.integers(2, 2**24))
        map_[box(rng)] = id_
        infos[id_] = {"id": id_, "category_id": int(rng.integers(1, 3)), "iscrowd": int(crowds and rng.random() < 0.4)}
    present = [info for id_, info in infos.items() if (map_ == id_).any()]
    rng.shuffle(present)  # type: ignore[arg-type]
    return map_, present


def panoptic_difference(root: Path, seed: int) -> float:
    rng = np.random.default_rng(seed)
    images, annotations, listed = [], [], []
    for number in range(3):
        truth, infos = drawn_map(rng, crowds=True)
        if rng.random() < 0.7:  # near the truth
            answer = np.roll(truth, rng.integers(-2, 3, 2), (0, 1))
            found = [info | {"iscrowd": 0} for info in infos if (answer == info["id"]).any() and rng.random() < 0.9]
            answer = np.where(np.isin(answer, [info["id"] for info in found]), answer, 0)
        else:
            answer, found = drawn_map(rng, crowds=False)
        images.append((truth, infos, answer, found))
        photo(root / f"val/{number}.png")
        path = root / f"annotations/panoptic_val/{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.stack([truth % 256, truth // 256 % 256, truth // 65536], -1).astype(np.uint8)).save(path)
        listed.append({"id": number, "file_name": f"{number}.png"})
        annotations.append({"image_id": number, "file_name": f"{number}.png", "segments_info": infos})
    categories = [{"id": i, "name": name, "isthing": int(i > 0)} for i, name in enumerate(NAMES)]
    content = {"images": listed, "annotations": annotations, "categories": categories}
    (root / "annotations/panoptic_val.json").write_text(json.dumps(content))
    data, task = load_dataset(f"coco_panoptic:{root}"), build_task("panoptic")
    metric = task.metric(data.label_space)
    for sample, (_, _, answer, found) in zip(data.val, images, strict=True):
        segments = tuple(Segment(info["id"], info["category_id"]) for info in found)
        metric.count(task.labels(sample), PanopticLabels(answer.astype(np.int32), segments))
    scores = metric.compute()
    expected = [official_pq(images, class_id) for class_id in range(3)]
    ours = [scores.per_class[name] for name in NAMES]
    known = [value for value in expected if value is not None]
    return max(
        difference(scores.values["pq"], float(np.mean(known)) if known else -1.0),
        *(difference(one, -1.0 if other is None else other) for one, other in zip(ours, expected, strict=True)),
    )


RULES = {"coco": coco_difference, "cityscapes": cityscapes_difference, "panoptic": panoptic_difference}


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("sets", [8, pytest.param(SETS, marks=pytest.mark.slow)])
def test_random_sets_score_as_the_official_rules_say(rules: str, sets: int, tmp_path: Path) -> None:
    largest = max(RULES[rules](tmp_path / str(seed), seed) for seed in range(sets))
    print(f"largest difference of {rules} over {sets} sets: {largest:.2g}")
    assert largest < 1e-9


def test_a_numbered_trailer_is_background(tmp_path: Path) -> None:
    """One car and one trailer; a detection on each, the trailer's the surer: right, wrong, so AP50 is 0.25."""
    map_ = np.full(SIZE, ROAD, np.uint16)
    map_[:20, :20], map_[20:, 30:50] = 26001, 30001
    for split in ("train", "val"):
        photo(tmp_path / f"leftImg8bit/{split}/a/a_0_0_leftImg8bit.png")
        path = tmp_path / f"gtFine/{split}/a/a_0_0_gtFine_instanceIds.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(map_).save(path)
    data, task = load_dataset(f"cityscapes:{tmp_path}"), build_task("instance", {"rules": "cityscapes"})
    metric = task.metric(data.label_space)
    metric.count(task.labels(data.val[0]), instances([(13, 0.9, map_ == 30001), (13, 0.8, map_ == 26001)]))
    assert metric.compute().per_class["car"] == pytest.approx(0.25)
    assert {s.class_id for s in data.val[0].panoptic().segments} == {0, 13}  # void there, as in the panoptic files
    assert (data.val[0].panoptic().map[map_ == 30001] == 0).all()
