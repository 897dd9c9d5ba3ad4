"""The folder of one Label Studio project: photos that people annotated, their labels, and what was learned from them.

It is a folder of one's own photos as `promptseg fit` reads it: `images`, `labels`, `classes.json`; beside them `runs`,
the newest of which labels, and `annotations.json`, which says what each label map comes from.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptseg.data.file_sample import FileSample
from promptseg.data.formats.classes_json import class_rows, read_classes
from promptseg.data.images import read_labels, write_labels
from promptseg.data.label_space import BACKGROUND
from promptseg.engine.runs import PROMPTS, RECORD
from promptseg.files import read_json, write_json
from promptseg.integrations.label_studio.config import Interface
from promptseg.integrations.label_studio.regions import label_map
from promptseg.label_space import IGNORE, ClassInfo, LabelSpace
from promptseg.prompts import Prompts
from promptseg.reports.pictures import write_picture

ZERO_SHOT = "zero-shot"
"""The version of answers before anything is learned."""
_GREY = (187, 187, 187)
_CLASSES = Lock()
"""Who labels and who learns may both find a new class."""


class ProjectFolder:
    """What is kept of a project."""

    def __init__(self, root: Path) -> None:
        """Open a folder; it need not exist."""
        self._root = root

    def space(self, interface: Interface) -> LabelSpace:
        """The classes: those of the interface, and the background. A class keeps its id, new ones come after the old.

        Raises:
            PromptsegError: a `classes.json` that cannot be used, or too many classes.
        """
        with _CLASSES:
            return self._space(interface)

    def _space(self, interface: Interface) -> LabelSpace:
        path = self._root / "classes.json"
        known = read_classes(path).classes if path.is_file() else ()
        wanted = interface.classes
        if not interface.has_background:
            wanted = (*wanted, ClassInfo(BACKGROUND, _GREY))
        names = [info.name for info in known]
        space = LabelSpace(self._root.name, (*known, *(info for info in wanted if info.name not in names)))
        if len(space) > len(known):
            write_json(path, {"classes": class_rows(space)})
        return space

    def keep(self, task: str, annotation: Mapping[str, Any], photo: NDArray[np.uint8], interface: Interface) -> None:
        """Keep a photo and what somebody drew on it, in place of what was known of it.

        Raises:
            PromptsegError: the annotation cannot be read.
        """
        space = self.space(interface)
        # Who submits an annotation is done with the photo: what is left out is background, where that cannot be drawn.
        rest = IGNORE if interface.has_background else space.names.index(BACKGROUND)
        size = (photo.shape[0], photo.shape[1])
        labels = label_map(annotation.get("result") or [], size, space.names, rest)
        write_picture(self._root / "images" / f"{task}.png", photo)
        write_labels(self._root / "labels" / f"{task}.png", labels, space.colors)
        write_json(self._root / "annotations.json", self._sources() | {task: annotation.get("id")})

    def forget(self, annotations: Collection[int]) -> bool:
        """Forget the photos whose annotations were deleted; returns whether there was any."""
        sources = self._sources()
        gone = [task for task, annotation in sources.items() if annotation in annotations]
        for task in gone:
            (self._root / "labels" / f"{task}.png").unlink(missing_ok=True)
            (self._root / "images" / f"{task}.png").unlink(missing_ok=True)
            del sources[task]
        if gone:
            write_json(self._root / "annotations.json", sources)
        return bool(gone)

    def samples(self) -> Sequence[FileSample]:
        """The annotated photos."""
        if not self._sources():
            return ()
        space = read_classes(self._root / "classes.json")
        return [
            FileSample(path.stem, space, self._root / "images" / path.name, path, read_labels)
            for path in sorted((self._root / "labels").glob("*.png"))
        ]

    def next_run(self) -> Path:
        """A folder for the next fit."""
        return self._root / "runs" / str(1 + max(self._runs(), default=0))

    def version(self) -> str:
        """What answers, as Label Studio lists it: the newest run, or zero-shot."""
        finished = self._finished()
        return f"run {max(finished)}" if finished else ZERO_SHOT

    def prompts(self) -> Prompts | None:
        """What was learned last; none before anything was.

        Raises:
            PromptsegError: files that are broken.
        """
        finished = self._finished()
        return Prompts.load(self._root / "runs" / str(max(finished)) / PROMPTS) if finished else None

    def _runs(self) -> list[int]:
        return [int(path.name) for path in (self._root / "runs").glob("*") if path.name.isdecimal()]

    def _finished(self) -> list[int]:
        return [number for number in self._runs() if (self._root / "runs" / str(number) / RECORD).is_file()]

    def _sources(self) -> dict[str, Any]:
        path = self._root / "annotations.json"
        found = read_json(path) if path.is_file() else {}
        return found if isinstance(found, dict) else {}
