"""Labelling many photos into a folder of results, one after the other, without those that it knows already."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from promptseg.data.defects import DefectError
from promptseg.data.photo_pixels import PhotoPixels
from promptseg.engine.answers import at_once
from promptseg.engine.predict import Labeller
from promptseg.engine.result_folder import Record, ResultFolder
from promptseg.errors import PromptsegError
from promptseg.features.encode import read_ahead
from promptseg.files import file_digest
from promptseg.progress import Progress
from promptseg.reports.photos import PhotoWriter

_READ_AHEAD = 1
"""Photos that wait for their turn: of 48 megapixels each has 144 MB."""


@dataclass(frozen=True, eq=False)
class _Photo:
    """A photo on its way: what is known of it, and its pixels; none where there is nothing to do, or an error."""

    path: Path
    record: Record
    pixels: PhotoPixels | None
    error: str | None = None


class LabelRun:
    """One process that labels photos.

    Attributes:
        before: how many it found finished.
    """

    def __init__(
        self,
        labeller: Labeller,
        writer: PhotoWriter,
        folder: ResultFolder,
        *,
        say: Callable[[str], None],
        fail: Callable[[str], None],
    ) -> None:
        """Take what does the work.

        Args:
            labeller: labels photos.
            writer: writes what it says of them.
            folder: what is finished.
            say: takes a line about each photo.
            fail: takes a line about each photo that cannot be labelled.
        """
        self._labeller, self._writer, self._folder = labeller, writer, folder
        self._say, self._fail = say, fail
        self.before = 0

    def label(self, photos: Sequence[tuple[str, Path]]) -> int:
        """Label photos, given with the names of their results; returns how many are finished."""
        bar, finished = Progress(True), 0
        with bar.running():
            read = read_ahead((self._read(*photo) for photo in photos), _READ_AHEAD)
            tracked = (photo for _, photo in zip(bar.track(photos, "predict"), read, strict=True))
            while batch := list(islice(tracked, at_once(self._labeller.device))):
                finished += self._finish(batch)
        return finished

    def _read(self, name: str, path: Path) -> _Photo:
        """What is to be done for a photo."""
        record: Record = {"name": name, "path": str(path.resolve())}
        known = self._folder.known.get(name)
        try:
            record["content"] = file_digest(path)
            if known is None:
                return _Photo(path, record, self._labeller.open(path))
            if known["content"] == record["content"]:
                complete = all(file.exists() for file in self._writer.files_of(name))
                return _Photo(path, record, None if complete else self._labeller.open(path))
            if known["path"] != record["path"]:
                other = f"{path}: another photo, {known['path']}, has its results under the name {name} here"
                raise PromptsegError(f"{other}: choose another folder")
            return _Photo(path, record, self._labeller.open(path))
        except PromptsegError as error:
            return _Photo(path, record, None, str(error))

    def _finish(self, batch: Sequence[_Photo]) -> int:
        """Label photos and write what is said of them; how many are finished then."""
        for photo in batch:
            if photo.error is not None:
                self._fail(photo.error)
        done = sum(photo.pixels is None and photo.error is None for photo in batch)
        self.before += done
        for photo, pixels, answer in self._answers([photo for photo in batch if photo.pixels is not None]):
            name = photo.record["name"]
            summary, told = self._writer.add(name, f"{name}{photo.path.suffix}", pixels, answer)
            self._folder.add(photo.record | {"summary": summary, "told": told})
            self._say(f"{photo.path}: {summary}")
            done += 1
        return done

    def _answers(self, photos: Sequence[_Photo]) -> Iterator[tuple[_Photo, PhotoPixels, object]]:
        given = [photo.pixels for photo in photos if photo.pixels is not None]
        try:
            answers = self._labeller(given)
        except DefectError as error:  # of a raster, which is read while it is labelled
            if len(photos) == 1:
                self._fail(str(error))
                return
            for photo in photos:
                yield from self._answers([photo])
            return
        yield from zip(photos, given, answers, strict=True)
