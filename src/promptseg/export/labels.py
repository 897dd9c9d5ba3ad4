"""Labels in the forms of other tools, one photo at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from promptseg.data.sample import Sample
from promptseg.errors import PromptsegError, unknown_name
from promptseg.export.label_forms import CROWDS, FORMS
from promptseg.export.labelled import Labelled


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        folder: where.
        photos: how many it holds.
        objects: how many, crowds included where the form has them.
        remark: what the form cannot say of these labels; None where it says all.
    """

    folder: Path
    photos: int
    objects: int
    remark: str | None = None


def export_labels(samples: Sequence[Sample], to: str, out: Path) -> Exported:
    """Write the labels of some photos in another form; one photo is in memory at a time.

    Args:
        samples: photos with semantic labels, all of one label space.
        to: a name of `FORMS`.
        out: a folder that is empty or does not exist.

    Raises:
        PromptsegError: an unknown form, no photos, a folder that holds files, or labels that cannot be read.
    """
    if to not in FORMS:
        raise unknown_name("label format", to, FORMS)
    if not samples:
        raise PromptsegError("there are no labelled photos to export: label some, or name another list")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise PromptsegError(f"{out} is not empty: choose a new folder")
    crowds = 0

    def read() -> Iterator[Labelled]:
        nonlocal crowds
        for sample in samples:
            photo = Labelled.of(sample)
            crowds += sum(segment.is_crowd for segment in photo.segments.segments) if photo.segments else 0
            yield photo

    objects = FORMS[to](read(), samples[0].label_space, out)
    remark = f"{crowds} crowds are {CROWDS[to]}" if crowds and to in CROWDS else None
    return Exported(out, len(samples), objects, remark)
