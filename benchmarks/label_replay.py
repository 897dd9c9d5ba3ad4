"""The label app replayed: photos are confirmed one by one with their true labels, as a user would draw them.

    python benchmarks/label_replay.py ../shared/real/weeds

Prints the mean IoU on the `val` photos after some confirmed photos, in the order that the app offers and in random
order, and the seconds from a confirmation to the next photo's new proposal: by the clock and of the processor
(medians), and the most processor seconds. Photos are copied to a temporary folder.
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from promptseg import load_dataset
from promptseg.app.labels import NEW
from promptseg.app.photos import PhotoFolder
from promptseg.app.session import Session
from promptseg.data.formats.classes_json import class_rows
from promptseg.data.sample import Dataset, Sample
from promptseg.tasks.semantic import MeanIoU

POINTS = (1, 2, 4, 8, 16)
ORDERS = ("offered", "random")


class Seconds(NamedTuple):
    """Of a clock, and of this process on any core: what the clock would say if nothing else ran, or less."""

    clock: float
    processor: float


@contextmanager
def opened(samples: list[Sample], data: Dataset, model: str, seed: int) -> Iterator[Session]:
    """A session over copies of some photos, without their labels."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "photos"
        root.mkdir()
        for sample in samples:
            source = sample.image_path  # type: ignore[attr-defined]
            shutil.copyfile(source, root / f"{number_of(sample)}{source.suffix}")
        session = Session(PhotoFolder(root), model, device="cpu", seed=seed)
        session.classes.write(class_rows(data.label_space), NEW)
        session.loop.start()
        session.loop.auto = False
        try:
            rest(session)
            yield session
        finally:
            session.loop.stop()


def number_of(sample: Sample) -> str:
    """A photo's name in the folder: its id without folders."""
    return sample.id.rpartition("/")[2]


def rest(session: Session) -> None:
    """Wait until the loop has looked at everything."""
    while session.loop.news.busy or session.loop.knowledge is None:
        assert session.loop.news.problem is None, session.loop.news.problem
        session.loop.wait(session.loop.news.version, 1)


def confirm(session: Session, sample: Sample, upcoming: str) -> Seconds:
    """Confirm the true labels of a photo, and wait until the next photo's proposal is there."""
    known = session.loop.knowledge
    assert known is not None
    photo = number_of(sample)
    version = session.labels.write(photo, sample.semantic(), session.labels.version(photo), known.space.colors)
    session.loop.open(upcoming)
    start = time.perf_counter(), time.process_time()
    session.confirm(photo, True, version)
    session.loop.labels_changed(learn=True)
    while session.loop.knowledge is known:
        assert session.loop.news.problem is None, session.loop.news.problem
        session.loop.wait(session.loop.news.version, 1)
    session.loop.answer(upcoming)
    return Seconds(time.perf_counter() - start[0], time.process_time() - start[1])


def score(session: Session, data: Dataset) -> float:
    """Mean IoU of the page's answers on the val photos."""
    known, metric = session.loop.knowledge, MeanIoU(data.label_space.names)
    assert known is not None

    def count() -> None:
        for sample in data.val:
            metric.count(sample.semantic(), session.loop.learner.answer(known.prompts, sample.image()))

    session.loop.ask(count)
    return metric.compute().values["miou"] or 0.0


def replay(data: Dataset, model: str, photos: int, order: str, seed: int) -> tuple[dict[int, float], list[Seconds]]:
    """Mean IoU by confirmed photos (0 = zero-shot), and the seconds of every confirmation."""
    drawn = np.random.default_rng(seed).permutation(len(data.train))[:photos]
    samples = {number_of(sample): sample for sample in (data.train[int(i)] for i in drawn)}
    left, found, seconds = list(samples), {}, []
    with opened(list(samples.values()), data, model, seed) as session:
        found[0] = score(session, data)
        for count in range(1, max(POINTS) + 1):
            if order == "offered":
                rest(session)
                offered = [offer.id for offer in session.next_photos(session.records.confirmed())]
                left = [*(i for i in offered if i in left), *(i for i in left if i not in offered)]
            photo = left.pop(0)
            seconds.append(confirm(session, samples[photo], left[0]))
            if count in POINTS:
                found[count] = score(session, data)
                print(f"{order}, seed {seed}, {count}: {found[count]:.4f}, {seconds[-1]}", file=sys.stderr)
    return found, seconds


def main() -> None:
    """Run, and print a table in Markdown and the numbers as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="a data set with train and val photos that are files")
    parser.add_argument("--model", default="seem-lite")
    parser.add_argument("--photos", type=int, default=20, help="photos of the folder, drawn from train")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    data = load_dataset(given.data)
    runs = {order: [replay(data, given.model, given.photos, order, seed) for seed in given.seeds] for order in ORDERS}
    print(f"| order | {' | '.join(map(str, (0, *POINTS)))} | seconds | processor | most |")
    print(f"| --- {'| ---: ' * (len(POINTS) + 4)}|")
    for order, found in runs.items():
        cells = []
        for count in (0, *POINTS):
            values = [100 * scores[count] for scores, _ in found]
            spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.1f}{spread}")
        seconds = [value for _, times in found for value in times]
        clock, processor = ([value[i] for value in seconds] for i in range(2))
        times = f"{statistics.median(clock):.2f} | {statistics.median(processor):.2f} | {max(processor):.2f}"
        print(f"| {order} | {' | '.join(cells)} | {times} |")
    print(json.dumps({order: [{"miou": s, "seconds": t} for s, t in found] for order, found in runs.items()}))


if __name__ == "__main__":
    main()
