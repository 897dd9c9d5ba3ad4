"""Everything about one folder that the routes answer from: files, records, and the loop that learns."""

import zlib
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from promptseg.app.classes import ClassFile
from promptseg.app.labels import LabelStore
from promptseg.app.loop import Loop
from promptseg.app.order import Offer, offers
from promptseg.app.photos import THUMBNAIL, PhotoFolder, shrunk
from promptseg.app.record import PhotoRecord, Records, score
from promptseg.app.regions import LARGEST, SMALLEST, regions
from promptseg.data.formats.classes_json import class_rows
from promptseg.data.images import jpeg, resize_labels
from promptseg.data.label_space import BACKGROUND
from promptseg.errors import PromptsegError
from promptseg.label_space import IGNORE
from promptseg.models.registry import unknown_words
from promptseg.reports.pictures import overlay

if TYPE_CHECKING:
    from promptseg.app.learner import Learner

MAX_OFFERS = 12


class Session:
    """One folder, open in the app."""

    def __init__(self, folder: PhotoFolder, model: str, device: str | None = None, seed: int = 0) -> None:
        """Open a folder; the model is loaded when the loop starts."""
        self.folder, self.model = folder, model
        self.labels, self.classes, self.records = LabelStore(folder), ClassFile(folder), Records(folder)
        self.loop = Loop(folder, self.labels, self.classes, self.records, self._load)
        self._device, self._seed = device, seed
        self._zero_shot: dict[tuple[str, tuple[str, ...]], NDArray[np.uint8]] = {}

    def overview(self) -> dict[str, Any]:
        """The folder for the page: classes, and every photo with its state."""
        space, version = self.classes.read()
        return {
            "folder": self.folder.root.name,
            "path": str(self.folder.root),
            "model": self.model,
            "classes": [] if space is None else class_rows(space),
            "classes_version": version,
            "offered_class": BACKGROUND,
            "unknown_words": unknown_words(self.model, self.classes.names()),
            "photos": self.photos(),
        }

    def rescan(self) -> None:
        """Look for new photos, and at the broken ones again."""
        self.folder.rescan()
        self.loop.rescanned()

    def photos(self) -> list[dict[str, Any]]:
        """Every photo with its state, and why it cannot be used if so."""
        confirmed, records = set(self.records.confirmed()), self.records.all()
        faults, labelled = self.loop.news.faults, self.labels.labelled()
        return [
            {
                "id": id_,
                "state": self._state(id_, records.get(id_, PhotoRecord()), id_ in confirmed, labelled),
                "fault": photo.fault or faults.get(id_),
            }
            for id_, photo in self.folder.photos.items()
        ]

    def status(self) -> dict[str, Any]:
        """What the loop does and knows, the score, and what to label next."""
        news, known = self.loop.news, self.loop.knowledge
        confirmed = self.records.confirmed()
        return {
            "version": news.version,
            "words": news.words,
            "busy": news.busy,
            "problem": news.problem,
            "auto": self.loop.auto,
            "knowledge": 0 if known is None else known.number,
            "learned_from": 0 if known is None else len(known.photos),
            "classes_version": self.classes.read()[1],
            "score": score(self.records.all(), confirmed, self.classes.names()),
            "next": [vars(offer) for offer in self.next_photos(confirmed)],
            "photos": self.photos(),
            "object_prompts": self.loop.learner.object_prompts if known is not None else (),
        }

    def next_photos(self, confirmed: tuple[str, ...]) -> list[Offer]:
        """The photos to label next, the best first."""
        outlooks = {id_: seen.outlook for id_, seen in self.loop.seen.copy().items()}
        return offers(outlooks, set(confirmed))[:MAX_OFFERS]

    def look(self) -> dict[str, Any]:
        """Shares of the classes, sureness and change of every photo that was looked at, and the mean shares."""
        count, rows = len(self.classes.names()), []
        for id_, seen in sorted(self.loop.seen.copy().items()):
            pixels = np.bincount(seen.glance.labels.ravel(), minlength=count)[:count]
            shares = (pixels / seen.glance.labels.size).round(5).tolist()
            rows.append({"id": id_, "shares": shares, "sureness": seen.outlook.sureness, "change": seen.outlook.change})
        mean = np.mean([row["shares"] for row in rows], axis=0).tolist() if rows else [0.0] * count
        return {"photos": rows, "shares": mean}

    def save(self, id_: str, body: bytes, expected: str, poured: bool) -> dict[str, Any]:
        """Save labels that the page sent, compressed; `poured` says that a proposal is in them.

        Raises:
            PromptsegError: not zlib, or labels that do not fit; `ConflictError` for another version.
        """
        space = self.classes.space()
        present, _ = self.labels.read(id_, len(space))
        labels = np.frombuffer(_inflated(body, present.size), np.uint8).reshape(present.shape)
        version = self.labels.write(id_, labels, expected, space.colors)
        first = self.records.of(id_).poured
        if poured and (first is None or self.labels.before(id_, first) is None):  # else one is in the labels already
            self.records.change(id_, poured=version)
        self.loop.labels_changed()
        return self._label_state(id_, version)

    def step(self, id_: str, by: int, expected: str) -> dict[str, Any]:
        """Undo (-1) or redo (+1).

        Raises:
            PromptsegError: as `LabelStore.step`.
        """
        version = self.labels.step(id_, by, expected)
        labels, _ = self.labels.read(id_, len(self.classes.names()))
        if (labels == IGNORE).all():
            self.records.confirm(id_, False)
        self.loop.labels_changed()
        return self._label_state(id_, version)

    def confirm(self, id_: str, confirmed: bool, expected: str) -> None:
        """Confirm the labels of a photo, or take that back.

        Raises:
            PromptsegError: nothing is labelled; `ConflictError` for another version.
        """
        labels, version = self.labels.read(id_, len(self.classes.names()))
        self.labels.check(id_, expected)
        if confirmed and (labels == IGNORE).all():
            raise PromptsegError(f"{id_}: nothing is labelled yet; paint something, or take the proposal")
        record, records = self.records.of(id_), self.records.all()
        if confirmed:
            number = record.number or 1 + max((other.number for other in records.values()), default=0)
            self.records.change(id_, number=number, corrected=record.poured not in (None, version))
        self.records.confirm(id_, confirmed)
        if confirmed:
            self.loop.confirmed(id_)
        else:
            self.loop.labels_changed()

    def overlay(self, id_: str, source: str, only: int | None) -> bytes:
        """A small JPEG of a photo under its classes: `learned`, `zero-shot` or `labels`; `only` shows one class.

        Raises:
            PromptsegError: an unknown source or class, or nothing to show yet.
        """
        space = self.classes.space()
        if only is not None and not 0 <= only < len(space):
            raise PromptsegError(f"class {only}: there are 0..{len(space) - 1}")
        photo = shrunk(self.folder.read(id_), THUMBNAIL)
        labels = resize_labels(self._small_labels(id_, source), (photo.shape[0], photo.shape[1]))
        if only is not None:
            labels = np.where(labels == only, labels, np.uint8(IGNORE))
        return jpeg(overlay(photo, labels, space.colors, 0.55), 85)

    def regions(self, id_: str, size: int) -> NDArray[np.int32]:
        """Regions of about `size` pixels a side.

        Raises:
            PromptsegError: a size out of bounds, or a photo that cannot be read.
        """
        if not SMALLEST <= size <= LARGEST:
            raise PromptsegError(f"regions of {size} pixels: give {SMALLEST} to {LARGEST}")
        photo = self.folder.read(id_)
        maps = self.loop.ask(lambda: self.loop.learner.maps(photo).numpy())
        return regions(photo, size, maps)

    def _state(self, id_: str, record: PhotoRecord, confirmed: bool, labelled: Collection[str]) -> str:
        if confirmed:
            return "corrected" if record.corrected else "confirmed"
        if id_ in labelled:
            return "started"
        return "proposed" if id_ in self.loop.seen else "untouched"

    def _load(self) -> "Learner":
        # Here, so that the page is there before PyTorch is.
        from promptseg.app.learner import Learner

        return Learner(self.model, self._device, self._seed)

    def _label_state(self, id_: str, version: str) -> dict[str, Any]:
        steps = self.labels.steps(id_)
        return {"version": version, "can_undo": steps.can_undo, "can_redo": steps.can_redo}

    def _small_labels(self, id_: str, source: str) -> NDArray[np.uint8]:
        loop, known = self.loop, self.loop.knowledge
        if source == "labels":
            return self.labels.read(id_, len(self.classes.names()))[0]
        if known is None or source not in ("learned", "zero-shot"):
            raise PromptsegError(f"no {source} answer for {id_}: choose learned, zero-shot or labels, once there are")
        if source == "learned" and id_ in loop.seen:
            return loop.seen[id_].glance.labels
        photo, prompts = self.folder.read(id_), known.prompts if source == "learned" else known.zero_shot
        key = (id_, known.space.names)
        if source == "learned" or key not in self._zero_shot:
            labels = loop.ask(lambda: loop.learner.glance(prompts, photo).labels)
            if source == "learned":
                return labels
            self._zero_shot[key] = labels
        return self._zero_shot[key]


def _inflated(body: bytes, size: int) -> bytes:
    """Decompress exactly `size` bytes, and never more.

    Raises:
        PromptsegError: not zlib, or another number of bytes.
    """
    reader = zlib.decompressobj()
    try:
        content = reader.decompress(body, size + 1)
    except zlib.error:
        raise PromptsegError("the labels are not zlib data: send the class ids of all pixels, compressed") from None
    if len(content) != size or not reader.eof:
        raise PromptsegError(f"the labels are not {size} pixels: send the class id of every pixel of the photo")
    return content
