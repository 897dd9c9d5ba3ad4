"""What leaves the page: prompts, and the labels of the folder in the forms of other tools, each in a new folder."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from promptseg.app.loop import counted
from promptseg.data.file_sample import FileSample
from promptseg.data.images import read_labels
from promptseg.data.sample import ObjectLabels, PanopticLabels, Sample
from promptseg.errors import PromptsegError
from promptseg.export.label_forms import FORMS
from promptseg.export.labels import export_labels
from promptseg.label_space import LabelSpace

if TYPE_CHECKING:
    from promptseg.app.session import Session

PROMPTS = "prompts"
FOLDER = "exports"


@dataclass(frozen=True)
class AnsweredPhoto:
    """A photo of the folder with what the model says of it: a `Sample`."""

    session: "Session"
    id: str
    label_space: LabelSpace

    @property
    def image_path(self) -> Path:
        """Its file."""
        return self.session.folder.find(self.id).path

    def image(self) -> NDArray[np.uint8]:
        """The photo, (H, W, 3) uint8 RGB."""
        return self.session.folder.read(self.id)

    def semantic(self) -> NDArray[np.uint8]:
        """Class ids, (H, W) uint8."""
        return self.session.loop.answer(self.id)[0]

    def panoptic(self) -> PanopticLabels:
        """None: label maps know no objects."""
        raise PromptsegError(f"{self.id}: label maps have no instance labels; use the task 'semantic'")

    def objects(self) -> ObjectLabels:
        """None, as for `panoptic`."""
        return ObjectLabels.of(self.panoptic())


def export(session: "Session", to: str, everything: bool) -> dict[str, Any]:
    """Write prompts, or labels in a form of `FORMS`, to a new folder below `exports`.

    Args:
        session: the open folder.
        to: `prompts`, or a name of `FORMS`.
        everything: all photos, those that are not confirmed with what the model says; else the confirmed ones alone.

    Returns:
        `path` of what was written, `words` about it, and `commands` to go on with.

    Raises:
        PromptsegError: nothing to write yet, or an unknown form.
    """
    out = _new_folder(session, to)
    if to == PROMPTS:
        return _export_prompts(session, out)
    done = export_labels(_samples(session, everything), to, out)
    return {
        "path": str(out),
        "words": f"{counted(done.photos)} with {done.objects} objects",
        "commands": [f"promptseg data check {_quoted(f'{prefix}{out}')}" for prefix in _READERS.get(to, ())],
    }


_READERS = {"coco": ("coco:",), "yolo": ("yolo:",), "labelme": ("labelme:",), "voc": ("voc:",), "folder": ("",)}
"""What to write before the folder so that the command line reads it back."""


def _export_prompts(session: "Session", out: Path) -> dict[str, Any]:
    known = session.loop.knowledge
    if known is None or not known.photos:
        raise PromptsegError("nothing was learned yet: paint a few strokes of each class first")
    known.prompts.save(out)
    root = session.folder.root
    return {
        "path": str(out),
        "words": f"prompts learned from {counted(len(known.photos))} for {len(known.space)} classes",
        "commands": [
            f"promptseg predict --prompts {_quoted(out)} --out labelled NEW_PHOTOS",
            f"promptseg fit --data {_quoted(f'{root}?train=confirmed')} --out runs/{_quoted(root.name)}",
        ],
    }


def _samples(session: "Session", everything: bool) -> list[Sample]:
    space, confirmed = session.classes.space(), set(session.records.confirmed())
    samples: list[Sample] = []
    for id_, photo in session.folder.photos.items():
        if id_ in confirmed:
            samples.append(FileSample(id_, space, photo.path, session.labels.path(id_), read_labels))
        elif everything and not photo.fault and id_ not in session.loop.news.faults:
            samples.append(AnsweredPhoto(session, id_, space))
    if not samples:
        raise PromptsegError("no photo is confirmed yet: confirm one, or export all")
    return samples


def _new_folder(session: "Session", to: str) -> Path:
    """`exports/FORM`, or the first free one of `exports/FORM-2`, `-3`, ...

    Raises:
        PromptsegError: an unknown form.
    """
    if to not in (PROMPTS, *FORMS):
        raise PromptsegError(f"unknown form {to!r}: choose one of {', '.join((PROMPTS, *FORMS))}")
    start = session.folder.inside(session.folder.root / FOLDER / to)
    number, out = 2, start
    while out.exists():
        number, out = number + 1, start.with_name(f"{to}-{number}")
    return out


def _quoted(value: object) -> str:
    return shlex.quote(str(value))
