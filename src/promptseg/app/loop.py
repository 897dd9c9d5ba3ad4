"""The loop: one thread that encodes, learns and answers, while requests read what it has found so far.

Every turn does one small thing, the most urgent first: what a request asks for; learning, when labels have changed; the
answer for the photo that is open; a glance at one more photo.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from promptseg.app.classes import ClassFile
from promptseg.app.labels import NEW, LabelledPhoto, LabelStore
from promptseg.app.order import Glance, Outlook
from promptseg.app.photos import PhotoFolder
from promptseg.app.record import Records, confusion
from promptseg.errors import PromptsegError
from promptseg.label_space import IGNORE, LabelSpace

if TYPE_CHECKING:
    from promptseg.app.learner import Learner
    from promptseg.prompts import Prompts

ResultT = TypeVar("ResultT")
_PAUSE = 0.5
"""Seconds between news of photos that were looked at."""
_STOPPED = "learning has stopped: start promptseg app again"


@dataclass(frozen=True)
class Knowledge:
    """What the model knows now: prompts, the photos they were learned from, and a number that grows with each change.

    Without photos the prompts are the model's own, for the class names alone.
    """

    number: int
    space: LabelSpace
    prompts: "Prompts"
    zero_shot: "Prompts"
    photos: frozenset[str] = frozenset()
    seconds: float = 0.0


@dataclass
class Seen:
    """What is known of one photo, by the number of the knowledge behind it."""

    number: int
    glance: Glance
    outlook: Outlook


@dataclass
class News:
    """What requests tell the page of the loop."""

    version: int = 0
    words: str = "starting"
    busy: bool = True
    problem: str | None = None
    faults: dict[str, str] = field(default_factory=dict)


class Loop:
    """Learns from the labels of a folder, in a thread of its own."""

    learner: "Learner"
    """Of the loop's thread; use it in `ask`."""

    def __init__(
        self,
        folder: PhotoFolder,
        labels: LabelStore,
        classes: ClassFile,
        records: Records,
        load: "Callable[[], Learner]",
    ) -> None:
        """Prepare to work.

        Args:
            folder: the photos.
            labels: their labels.
            classes: the classes.
            records: what is remembered of the photos.
            load: loads the model, on the loop's thread: the page is there before it.
        """
        self.folder, self.labels, self.classes, self.records, self._load = folder, labels, classes, records, load
        self.news = News()
        self.knowledge: Knowledge | None = None
        self.seen: dict[str, Seen] = {}
        self.auto = True
        self._change = threading.Condition()
        self._jobs: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._unscored: deque[str] = deque()
        self._stale, self._stopping = True, False
        self._said = 0.0
        self._learned: tuple[Any, ...] | None = None
        self._open: str | None = None
        self._answer: tuple[str, int, NDArray[np.uint8]] | None = None
        self._thread = threading.Thread(target=self._run, name="learning", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def end(self) -> None:
        """End after the present turn; nobody waits for news any more."""
        with self._change:
            self._stopping = True
            self._change.notify_all()

    def stop(self) -> None:
        """End, and wait until it has."""
        self.end()
        self._thread.join(timeout=30)

    def ask(self, job: Callable[[], ResultT]) -> ResultT:
        """Run a job on the loop's thread, before anything else that waits; raises what it raises.

        Raises:
            PromptsegError: the loop has stopped.
        """
        future: Future[ResultT] = Future()
        with self._change:
            if self._stopping:
                raise PromptsegError(_STOPPED)
            self._jobs.append((job, future))
            self._change.notify_all()
        return future.result()

    def labels_changed(self, learn: bool = False) -> None:
        """Learn again: at once, or when learning by itself is on; every open page hears of the change."""
        with self._change:
            self.news.version += 1
            self._stale = self._stale or self.auto or learn
            self._change.notify_all()

    def confirmed(self, id_: str) -> None:
        """A photo was confirmed: learn from it, and score what was predicted before."""
        with self._change:
            self._unscored.append(id_)
        self.labels_changed()

    def open(self, id_: str) -> None:
        """The photo the user looks at is answered before all others."""
        with self._change:
            self._open = id_
            self._change.notify_all()

    def rescanned(self) -> None:
        """The list of photos was read again: forget what is gone, and try the broken ones once more."""
        with self._change:
            self.seen = {id_: seen for id_, seen in self.seen.items() if id_ in self.folder.photos}
            self.news.faults.clear()
        self.labels_changed()

    def wait(self, version: int, seconds: float) -> None:
        """Return when there is news after `version`, or when time is up."""
        with self._change:
            self._change.wait_for(lambda: self.news.version > version or self._stopping, timeout=seconds)

    def answer(self, id_: str, zero_shot: bool = False) -> tuple[NDArray[np.uint8], int]:
        """The answer (H, W) for a photo and the number of the knowledge behind it; computed on the loop's thread.

        Raises:
            PromptsegError: no classes yet, or the photo cannot be read.
        """
        return self.ask(lambda: self._answered(id_, zero_shot))

    def _answered(self, id_: str, zero_shot: bool) -> tuple[NDArray[np.uint8], int]:
        known = self._known()
        if zero_shot:
            return self.learner.answer(known.zero_shot, self.folder.read(id_)), known.number
        if self._answer is None or self._answer[:2] != (id_, known.number):
            self._answer = (id_, known.number, self.learner.answer(known.prompts, self.folder.read(id_)))
        return self._answer[2], known.number

    def _known(self) -> Knowledge:
        if self.knowledge is None:
            raise PromptsegError("there are no classes yet: name at least one")
        return self.knowledge

    def _run(self) -> None:
        try:
            self._say("loading the model", busy=True)
            self.learner = self._load()
            while not self._stopping:
                self._turn()
        except Exception as error:
            self._say("stopped", busy=False, problem=f"learning has stopped: {error}")
            if not isinstance(error, PromptsegError):
                raise
        finally:
            self._stopping = True
            while self._jobs:
                self._jobs.popleft()[1].set_exception(PromptsegError(_STOPPED))

    def _turn(self) -> None:
        if self._jobs:
            job, future = self._jobs.popleft()
            try:
                future.set_result(job())
            except Exception as error:
                future.set_exception(error)
        elif self._stale:
            self._stale = False
            self._learn()
        elif self._open is not None and self._look_at(self._open, full=True):
            pass
        elif self._unscored:
            self._score(self._unscored.popleft())
        elif (id_ := self._unseen()) is not None:
            self._look_at(id_, full=False)
            if time.monotonic() - self._said > _PAUSE:
                left = sum(self._is_unseen(i) for i in self.folder.photos)
                self._say(f"looking at the photos, {left} to go", busy=True)
        else:
            self._rest()

    def _rest(self) -> None:
        if self.news.busy:
            self._say(self._at_rest(), busy=False)
        with self._change:
            looked = self._open
            self._change.wait_for(
                lambda: self._jobs or self._stale or self._stopping or self._unscored or self._open != looked
            )

    def _at_rest(self) -> str:
        known = self.knowledge
        if known is None:
            return "waiting for the names of your classes"
        if not known.photos:
            return "zero-shot: paint a few strokes of each class, and learning begins"
        return f"learned from {counted(len(known.photos))} in {known.seconds:.1f} s"

    def _learn(self) -> None:
        """Learn from all labels there are; without any, know the class names alone."""
        space, _ = self.classes.read()
        if space is None:
            return
        started = time.monotonic()
        shots = self._shots(space)
        content = (space, *((shot.id, shot.version) for shot in shots))
        if content == self._learned:
            return
        number = self.knowledge.number + 1 if self.knowledge is not None else 1
        # Prompts for other names say nothing of these classes.
        known = self.knowledge if self.knowledge and self.knowledge.space.names == space.names else None
        self._say(f"learning from {counted(len(shots))}" if shots else "reading the class names", busy=True)
        zero_shot = known.zero_shot if known else self.learner.zero_shot(space)
        self._hold(shots, known, zero_shot)
        try:
            prompts = self.learner.learn(shots, zero_shot) if shots else zero_shot
        except PromptsegError as error:
            self._say("learning failed", busy=False, problem=str(error))
            return
        photos = frozenset(shot.id for shot in shots)
        self.knowledge = Knowledge(number, space, prompts, zero_shot, photos, time.monotonic() - started)
        self._learned, self.news.problem = content, None
        self._say("learned", busy=True)

    def _shots(self, space: LabelSpace) -> list[LabelledPhoto]:
        """Photos with labels that a person drew or confirmed; what cannot be read is told, and left out."""
        confirmed, records = set(self.records.confirmed()), self.records.all()
        shots = []
        for id_ in self.folder.photos:
            try:
                version = self._drawn(id_, None if id_ in confirmed or id_ not in records else records[id_].poured)
                if version == NEW:
                    continue
                labels = self.labels.at(id_, version, len(space))
                if (labels != IGNORE).any():
                    shots.append(LabelledPhoto(id_, space, self.folder.read(id_), labels, version))
            except PromptsegError as error:
                self._fault(id_, error)
        return shots

    def _drawn(self, id_: str, poured: str | None) -> str:
        """The version of labels that a person drew: where a proposal is poured into them, the one before."""
        before = None if poured is None else self.labels.before(id_, poured)
        return self.labels.version(id_) if before is None else before

    def _hold(self, shots: list[LabelledPhoto], known: Knowledge | None, zero_shot: "Prompts") -> None:
        """Keep what is predicted of photos of which nothing was learned yet: the score's test before train."""
        learned, prompts = (known.photos, known.prompts) if known else (frozenset[str](), zero_shot)
        for shot in shots:
            if shot.id not in learned and self.records.of(shot.id).held is None:
                self.records.hold(shot.id, self.learner.answer(prompts, shot.photo), len(learned))

    def _score(self, id_: str) -> None:
        """Set the prediction that was kept, and zero-shot, against the labels of a confirmed photo."""
        try:
            known, held = self._known(), self.records.held(id_)
            labels, _ = self.labels.read(id_, len(known.space))
            if held is None or held.shape != labels.shape:
                return
            zero_shot = self.learner.answer(known.zero_shot, self.folder.read(id_))
            counts = [confusion(labels, answer, known.space.names) for answer in (held, zero_shot)]
            self.records.change(id_, learned=counts[0], zero_shot=counts[1])
        except PromptsegError as error:
            self._fault(id_, error)
        self._say(self.news.words, busy=True)

    def _is_unseen(self, id_: str) -> bool:
        known = self.knowledge
        if known is None or id_ in self.news.faults or self.folder.photos[id_].fault:
            return False
        return id_ not in self.seen or self.seen[id_].number != known.number

    def _unseen(self) -> str | None:
        return next(filter(self._is_unseen, self.folder.photos), None)

    def _look_at(self, id_: str, full: bool) -> bool:
        """Glance at a photo, and answer it in full if asked; False if there was nothing to do."""
        known = self.knowledge
        if known is None or id_ in self.news.faults or id_ not in self.folder.photos:
            return False
        done = self._answer is not None and self._answer[:2] == (id_, known.number)
        if (done or not full) and not self._is_unseen(id_):
            return False
        try:
            if full and not done:
                self._answered(id_, zero_shot=False)
            else:
                self._glance(id_, known)
        except PromptsegError as error:
            self._fault(id_, error)
        self.news.busy = True
        return True

    def _glance(self, id_: str, known: Knowledge) -> None:
        photo, before = self.folder.read(id_), self.seen.get(id_)
        glance = self.learner.glance(known.prompts, photo)
        if before is None:
            outlook = Outlook(self.learner.summary(photo), glance.sureness, 0.0)
        else:
            change = float((glance.labels != before.glance.labels).mean())
            outlook = replace(before.outlook, sureness=glance.sureness, change=change)
        self.seen[id_] = Seen(known.number, glance, outlook)

    def _fault(self, id_: str, error: Exception) -> None:
        self.news.faults[id_] = str(error)

    def _say(self, words: str, busy: bool, problem: str | None = None) -> None:
        with self._change:
            self.news.words, self.news.busy = words, busy
            self.news.problem = problem or self.news.problem
            self.news.version += 1
            self._said = time.monotonic()
            self._change.notify_all()


def counted(photos: int) -> str:
    """`1 photo`, `2 photos`."""
    return f"{photos} photo{'s' * (photos != 1)}"
