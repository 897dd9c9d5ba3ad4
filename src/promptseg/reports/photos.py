"""What prompts say of photos, as files: answers for programs and overlays for people."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from promptseg.data.photo_pixels import Photo, PhotoPixels, open_photo
from promptseg.label_space import LabelSpace
from promptseg.reports.outlines import drawn
from promptseg.reports.pictures import write_picture
from promptseg.tasks.base import SHOWN_PIXELS, Task
from promptseg.tasks.registry import TASKS, build_task


class PhotoWriter:
    """Writes the answers of a task for one photo after the other, and an overlay of each."""

    def __init__(self, out: Path, label_space: LabelSpace, task: Task[Any], overlays: bool = True) -> None:
        self._space, self._task, self._overlays, self._with_overlays = label_space, task, out / "overlays", overlays
        self._answers = task.writer(out, label_space)

    @property
    def files(self) -> tuple[Path, ...]:
        """The files and folders it writes."""
        return (*self._answers.files, *((self._overlays,) if self._with_overlays else ()))

    def files_of(self, name: str) -> tuple[Path, ...]:
        """The files of a photo alone."""
        overlay = (self._overlays / f"{name}.jpg",) if self._with_overlays else ()
        return (*self._answers.files_of(name), *overlay)

    def add(self, name: str, file_name: str, photo: Photo | PhotoPixels, answer: Any) -> tuple[str, Any]:
        """Write the files of a photo, and return a line about it and what `merge` needs of it, as JSON.

        Args:
            name: what its files are called, without suffix.
            file_name: what the photo is called.
            photo: its pixels, or what they can be read from.
            answer: of the writer's task.

        Raises:
            PromptsegError: the photo cannot be read.
        """
        pixels = open_photo(photo, tiled=True)
        drawing = self._task.drawing(answer, self._space)
        told = self._answers.add(name, file_name, answer, pixels.place)
        if self._with_overlays:
            write_picture(self._overlays / f"{name}.jpg", drawn(pixels.picture(SHOWN_PIXELS), drawing, self._space))
        return drawing.summary, told

    def merge(self, told: Mapping[str, Any]) -> None:
        """Write what is told about all photos together, by name."""
        self._answers.merge(told)


class WholeWriter(PhotoWriter):
    """A writer that keeps what is told about all photos itself: for as many as memory holds."""

    def __init__(self, out: Path, label_space: LabelSpace, task: Task[Any], overlays: bool = True) -> None:
        super().__init__(out, label_space, task, overlays)
        self._told: dict[str, Any] = {}

    def add(self, name: str, file_name: str, photo: Photo | PhotoPixels, answer: Any) -> tuple[str, Any]:
        """As of any writer."""
        line, self._told[name] = super().add(name, file_name, photo, answer)
        return line, self._told[name]

    def finish(self) -> None:
        """Write what is told about all photos together."""
        self.merge(self._told)


class _Writers(Mapping[str, Callable[[Path, LabelSpace], WholeWriter]]):
    """What builds the writer of each task there is, with the task's own settings."""

    def __getitem__(self, name: str) -> Callable[[Path, LabelSpace], WholeWriter]:
        task = build_task(name)
        return lambda out, label_space: WholeWriter(out, label_space, task)

    def __iter__(self) -> Iterator[str]:
        return iter(TASKS)

    def __len__(self) -> int:
        return len(TASKS)


WRITERS = _Writers()
"""The writers by the name of their task."""
