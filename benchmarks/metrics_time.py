"""Milliseconds that each metric takes for one image of 1024 x 2048 pixels and 19 classes.

python benchmarks/metrics_time.py --images 5 --out metrics.json

Generated streets at that size; the answers are the labels moved by a few pixels, for instance segmentation every
object several times until there are 100 detections. The time is that of the processor, on one thread: counting an
image, and apart from it the scores at the end, shared among the images.
"""

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import promptseg
from promptseg.data.sample import PanopticLabels, Sample
from promptseg.files import write_json
from promptseg.label_space import IGNORE
from promptseg.tasks.instances import Instances
from promptseg.tasks.registry import build_task

DETECTIONS = 100
SPEC = "streets:clear?size=2048x1024&train=0&test=0&val={count}"


def moved(labels: PanopticLabels, rng: np.random.Generator) -> PanopticLabels:
    """The same segments, shifted."""
    return PanopticLabels(np.roll(labels.map, rng.integers(-9, 10, 2), (0, 1)), labels.segments)


def detections(labels: PanopticLabels, things: tuple[int, ...], rng: np.random.Generator) -> Instances:
    """Things of the labels in turn, each a little moved, with random scores."""
    objects = [segment for segment in labels.segments if segment.class_id in things]
    chosen = [objects[i % len(objects)] for i in range(DETECTIONS)]
    masks = [np.roll(labels.map == s.id, rng.integers(-9, 10, 2), (0, 1)) for s in chosen]
    scores = torch.from_numpy(np.sort(rng.random(DETECTIONS))[::-1].copy())
    return Instances(torch.tensor([s.class_id for s in chosen]), scores, np.stack(masks))


def cases(sample: Sample, rng: np.random.Generator) -> dict[str, tuple[str, dict[str, Any], Any, Any]]:
    """By name of the metric: task, its settings, truth and answer."""
    semantic, panoptic, objects = sample.semantic(), sample.panoptic(), sample.objects()
    shifted = np.roll(semantic, 5, 1)
    found = detections(panoptic, sample.label_space.thing_ids, rng)
    return {
        "mIoU": ("semantic", {}, semantic, np.where(shifted == IGNORE, 0, shifted)),
        "AP, COCO": ("instance", {"rules": "coco"}, objects, found),
        "AP, Cityscapes": ("instance", {"rules": "cityscapes"}, objects, found),
        "PQ": ("panoptic", {}, panoptic, moved(panoptic, rng)),
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    samples = promptseg.load_dataset(SPEC.format(count=args.images)).val
    rng = np.random.default_rng(0)
    metrics: dict[str, Any] = {}
    milliseconds: dict[str, list[float]] = {}
    for sample in samples:
        for name, (task, settings, truth, answer) in cases(sample, rng).items():
            metric = metrics.setdefault(name, build_task(task, settings).metric(sample.label_space))
            began = time.process_time()
            metric.count(truth, answer)
            milliseconds.setdefault(name, []).append(1000 * (time.process_time() - began))
    report = {}
    for name, metric in metrics.items():
        began = time.process_time()
        metric.compute()
        end = 1000 * (time.process_time() - began) / len(samples)
        report[name] = {"count_ms": round(statistics.median(milliseconds[name]), 1), "compute_ms": round(end, 1)}
        print(f"{name:<16} {report[name]['count_ms']:8.1f} ms an image, {end:6.1f} ms an image at the end")
    if args.out:
        write_json(args.out, report)


if __name__ == "__main__":
    main()
