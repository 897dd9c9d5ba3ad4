"""Panoptic quality against another library, by way of files in COCO's form, and on segments drawn by hand."""

from pathlib import Path

import numpy as np
import pytest
from drawn_segments import SPACE, labels_of, random_segments, random_truth
from hotcoco.panoptic import pq_compute
from places import SHARED

import promptseg
from promptseg.data.sample import PanopticLabels
from promptseg.files import write_json
from promptseg.label_space import ClassInfo, LabelSpace
from promptseg.tasks.answer_files import categories, image_entry, segment_entries, write_segment_ids
from promptseg.tasks.panoptic import PanopticQuality

SAMPLES = SHARED / "samples"
Pair = tuple[PanopticLabels, PanopticLabels]


def write_coco(folder: Path, name: str, space: LabelSpace, images: list[PanopticLabels]) -> Path:
    """A panoptic JSON and its PNGs."""
    listed, annotations = [], []
    for number, labels in enumerate(images):
        listed.append(image_entry(number, f"{number}.jpg", labels.map.shape))
        crowds = {segment.id: int(segment.is_crowd) for segment in labels.segments}
        entries = [{**entry, "iscrowd": crowds[entry["id"]]} for entry in segment_entries(labels)]
        annotations.append({"image_id": number, "file_name": f"{number}.png", "segments_info": entries})
        write_segment_ids(folder / name / f"{number}.png", labels)
    write_json(folder / f"{name}.json", {"images": listed, "annotations": annotations, "categories": categories(space)})
    return folder / f"{name}.json"


def ours(space: LabelSpace, pairs: list[Pair]) -> tuple[dict[str, float | None], dict[str, float | None]]:
    metric = PanopticQuality(space)
    for truth, answer in pairs:
        metric.count(truth, answer)
    scores = metric.compute()
    return scores.values, scores.per_class


def check_against_oracle(folder: Path, space: LabelSpace, pairs: list[Pair]) -> None:
    truth = write_coco(folder, "truth", space, [pair[0] for pair in pairs])
    answer = write_coco(folder, "answer", space, [pair[1] for pair in pairs])
    expected = pq_compute(str(truth), str(answer))
    values, per_class = ours(space, pairs)
    for group, end in (("All", ""), ("Things", "_things"), ("Stuff", "_stuff")):
        for name in ("pq", "sq", "rq"):
            value = values[name + end]
            assert (0.0 if value is None else value) == pytest.approx(expected[group][name], abs=1e-9), (group, name)
    for number, name in enumerate(space.names):
        value = per_class[name]
        assert (-1.0 if value is None else value) == pytest.approx(expected["per_class"][number]["pq"], abs=1e-9), name


@pytest.mark.parametrize("seed", range(12))
def test_random_segments_score_as_in_another_library(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    truths = [random_truth(rng) for _ in range(4)]
    check_against_oracle(tmp_path, SPACE, [(truth, random_segments(rng, truth)) for truth in truths])


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="no samples beside the repository")
@pytest.mark.parametrize("folder", ["coco_panoptic", "coco_stuff21"])
def test_segments_of_real_photos_score_as_in_another_library(folder: str, tmp_path: Path) -> None:
    data, rng = promptseg.load_dataset(f"coco_panoptic:{SAMPLES / folder}"), np.random.default_rng(0)
    pairs = []
    for sample in [*data.train, *data.val][:6]:
        truth = sample.panoptic()
        kinds = {s.id: (s.class_id, False) for s in truth.segments}
        pairs.append((truth, labels_of(np.roll(truth.map, rng.integers(-9, 10, 2), (0, 1)), kinds)))
    check_against_oracle(tmp_path, data.label_space, pairs)


def test_nothing_found_and_nothing_there(tmp_path: Path) -> None:
    nothing = labels_of(np.zeros((60, 90), np.int32), {})
    truth = random_truth(np.random.default_rng(0))
    check_against_oracle(tmp_path, SPACE, [(truth, nothing)])
    assert ours(SPACE, [(truth, nothing)])[0]["pq"] == 0
    assert ours(SPACE, [(nothing, nothing)])[0]["pq"] is None
    assert ours(SPACE, [(nothing, truth)])[0]["pq"] is None  # all of it lies on void
    assert ours(SPACE, [(truth, truth)])[0]["pq_stuff"] == 1


AB = LabelSpace("ab", (ClassInfo("a", (0, 0, 0)), ClassInfo("b", (0, 0, 0), True)))


def row(*values: int) -> np.ndarray:
    return np.array([values], np.int32)


def drawn(truth: np.ndarray, answer: np.ndarray, crowd: bool = False) -> dict[str, float | None]:
    """The PQ of both classes: segments 1 to 3 are a, from 4 on b; segment 9 is a crowd if asked for."""
    kinds = {i: (int(i > 3), crowd and i == 9) for i in range(1, 10)}
    return ours(AB, [(labels_of(truth, kinds), labels_of(answer, kinds))])[1]


def test_a_match_must_exceed_one_half() -> None:
    assert drawn(row(1, 1, 2, 2, 2, 2), row(1, 1, 1, 1, 0, 0))["a"] == pytest.approx(0 / 2)
    # 3 of 4 pixels shared: a match of IoU 3/4; 2 is missed
    assert drawn(row(1, 1, 1, 1, 2), row(1, 1, 1, 0, 0))["a"] == pytest.approx(0.75 / 1.5)


def test_void_is_taken_out_of_the_union() -> None:
    assert drawn(row(1, 1, 0, 0, 0), row(1, 1, 1, 1, 1))["a"] == 1.0


def test_a_prediction_mostly_on_void_or_a_crowd_of_its_class_is_no_error() -> None:
    truth = row(4, 4, 9, 9, 9, 9, 0, 0, 1, 1)
    assert drawn(truth, row(4, 4, 0, 0, 0, 5, 5, 5, 0, 0), crowd=True)["b"] == 1.0
    assert drawn(truth, row(4, 4, 5, 5, 5, 0, 0, 0, 5, 5), crowd=True)["b"] == 1.0
    assert drawn(truth, row(4, 4, 5, 5, 0, 0, 0, 0, 5, 5), crowd=True)["b"] == pytest.approx(1 / 1.5)
    assert drawn(truth, row(4, 4, 0, 0, 0, 0, 0, 0, 0, 0), crowd=True)["b"] == 1.0  # a crowd cannot be missed
    assert drawn(truth, row(4, 4, 1, 1, 1, 0, 0, 0, 1, 1), crowd=True)["a"] == 0.0  # a crowd of another class


def test_ids_beyond_any_table_count_too() -> None:
    kinds = {2**30 + 1: (0, False), 2**30 + 2: (1, False)}
    labels = labels_of(np.array([[2**30 + 1, 2**30 + 2, 0]], np.int32), kinds)
    assert ours(AB, [(labels, labels)])[0]["pq"] == 1.0
