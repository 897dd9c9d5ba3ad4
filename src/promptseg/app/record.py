"""What the app remembers of each photo: whether it is confirmed, and how well it was predicted before that.

The confirmed photos are a list of the folder, `splits/confirmed.txt`, so `--data 'FOLDER?train=confirmed'` is all that
the command line needs. The rest lies in `.promptseg`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from promptseg.app.labels import OWN, digest, locked
from promptseg.app.photos import PhotoFolder
from promptseg.data.images import read_labels
from promptseg.errors import PromptsegError
from promptseg.files import atomic_path, read_json, write_json, write_text
from promptseg.typed_json import from_json

Confusion = tuple[tuple[int, ...], ...]
"""(C, C) pixel counts: row = true class, column = predicted class."""
MOVING = 5
"""Photos of the moving mean."""
_MOST = 2**40
"""More pixels than a photo has."""
LEVEL = 0.005
"""Gain in mIoU up to which learning is called no better than zero-shot."""


@dataclass(frozen=True)
class PhotoRecord:
    """One photo.

    Attributes:
        poured: version of the labels that came of the first proposal poured into them; None if none was. Such labels
            are the model's own answer, so until they are confirmed what is learned from is the version before.
        corrected: whether the labels were changed after the proposal was poured in, and before they were confirmed.
        held: number of photos behind the prediction that was kept before any label of this photo was learned from;
            None if there is none.
        number: place in the order of confirmation, from 1.
        learned: that prediction against the confirmed labels.
        zero_shot: the model's own answer against the confirmed labels.
    """

    poured: str | None = None
    corrected: bool = False
    held: int | None = None
    number: int = 0
    learned: Confusion | None = None
    zero_shot: Confusion | None = None

    def __post_init__(self) -> None:
        """Refuse counts that are none."""
        for rows in filter(None, (self.learned, self.zero_shot)):
            if any(len(row) != len(rows) or not all(0 <= count < _MOST for count in row) for row in rows):
                raise PromptsegError("learned and zero_shot must have counts of pixels, as many rows as columns")


class Records:
    """Reads and writes the records of one folder; every change is made under the folder's lock."""

    def __init__(self, folder: PhotoFolder) -> None:
        self._root = folder.root
        self._path = folder.root / OWN / "photos.json"
        self._list = folder.root / "splits" / "confirmed.txt"

    def all(self) -> dict[str, PhotoRecord]:
        """Every photo of which something is remembered."""
        content = read_json(self._path) if self._path.is_file() else {}
        if not isinstance(content, dict):
            raise PromptsegError(f"{self._path}: expected a JSON object of photos; delete it to forget the scores")
        return {id_: from_json(PhotoRecord, fields, f"{self._path}: {id_}") for id_, fields in content.items()}

    def of(self, id_: str) -> PhotoRecord:
        """The record of a photo; an empty one if nothing is remembered."""
        return self.all().get(id_, PhotoRecord())

    def change(self, id_: str, **changes: Any) -> PhotoRecord:
        """Change fields of a photo's record; returns the new one."""
        with locked(self._root):
            records = self.all()
            record = records[id_] = replace(records.get(id_, PhotoRecord()), **changes)
            write_json(self._path, {key: asdict(value) for key, value in records.items()})
        return record

    def confirmed(self) -> tuple[str, ...]:
        """Ids of the confirmed photos, in the order of the list.

        Raises:
            PromptsegError: the list is no text.
        """
        if not self._list.is_file():
            return ()
        try:
            lines = self._list.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError:
            raise PromptsegError(f"{self._list}: not UTF-8 text; save it as such, or delete it") from None
        return tuple(filter(None, map(str.strip, lines)))

    def confirm(self, id_: str, confirmed: bool) -> None:
        """Put a photo on the list of the confirmed ones, or take it off."""
        with locked(self._root):
            others = [other for other in self.confirmed() if other != id_]
            write_text(self._list, "".join(f"{line}\n" for line in ([*others, id_] if confirmed else others)))

    def hold(self, id_: str, prediction: NDArray[np.uint8], learned_from: int) -> None:
        """Keep a prediction (H, W) made before anything of the photo's labels was learned."""
        with atomic_path(self._held(id_)) as temporary:
            Image.fromarray(prediction).save(temporary, "PNG")
        self.change(id_, held=learned_from)

    def held(self, id_: str) -> NDArray[np.uint8] | None:
        """The prediction (H, W) that was kept."""
        path = self._held(id_)
        return read_labels(path) if path.is_file() else None

    def _held(self, id_: str) -> Any:
        return self._root / OWN / "held" / f"{digest(id_.encode())}.png"


def confusion(truth: NDArray[np.uint8], answer: NDArray[np.uint8], names: Sequence[str]) -> Confusion:
    """Pixel counts of a label map (H, W) against an answer of the same size."""
    from promptseg.tasks.semantic import MeanIoU

    metric = MeanIoU(names)
    metric.count(truth, answer)
    return tuple(tuple(map(int, row)) for row in metric.confusion)


def score(
    records: Mapping[str, PhotoRecord], confirmed: Collection[str], names: Sequence[str]
) -> dict[str, Any] | None:
    """Test before train: how well the last photos were predicted before they were confirmed; None before the first.

    Counted are confirmed photos whose kept prediction came from at least one labelled photo.

    Returns:
        `photos` in the mean, `learned` and `zero_shot` mIoU (0..1) with `classes` and `zero_shot_classes` (IoU by
        class, None where it occurs nowhere), `history` (mIoU of each photo in order), and `words`.
    """
    rows = [r for id_, r in records.items() if id_ in confirmed and r.held and r.learned and r.zero_shot]
    rows.sort(key=lambda record: record.number)
    if not rows:
        return None
    learned, classes = _iou([r.learned for r in rows[-MOVING:]], names)
    zero_shot, zero_shot_classes = _iou([r.zero_shot for r in rows[-MOVING:]], names)
    return {
        "photos": min(len(rows), MOVING),
        "learned": learned,
        "zero_shot": zero_shot,
        "classes": classes,
        "zero_shot_classes": zero_shot_classes,
        "history": [_iou([row.learned], names)[0] for row in rows],
        "words": "no better than zero-shot so far" if learned <= zero_shot + LEVEL else "better than zero-shot",
    }


def _iou(confusions: Sequence[Confusion | None], names: Sequence[str]) -> tuple[float, list[float | None]]:
    """MIoU and IoU by class of a sum of confusions; those of fewer classes count as far as they go."""
    from promptseg.tasks.semantic import MeanIoU

    metric = MeanIoU(names)
    for counts in filter(None, confusions):
        known = min(len(counts), len(names))
        metric.confusion[:known, :known] += np.array(counts)[:known, :known]
    scores = metric.compute()
    return scores.values["miou"] or 0.0, [scores.per_class[name] for name in names]
