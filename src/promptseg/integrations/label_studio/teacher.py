"""Labels photos in one thread, and learns from annotations in another: who asks for labels does not wait for a fit."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from promptseg.engine.defaults import default_prompts
from promptseg.engine.fit import fit
from promptseg.engine.predict import Labeller
from promptseg.errors import PromptsegError, system_error
from promptseg.integrations.label_studio.config import Interface
from promptseg.integrations.label_studio.photos import LabelStudio
from promptseg.integrations.label_studio.project import ProjectFolder
from promptseg.integrations.label_studio.regions import Region, regions_of
from promptseg.models.base import PromptableSegmenter
from promptseg.models.registry import load_model

ResultT = TypeVar("ResultT")
_LOG = logging.getLogger(__name__)
METHOD = "pixprompt"
"""What learns: it is solved within seconds, so the next photo's proposal knows of the last one."""
LEAST = 2
"""Photos to learn from: how strongly is chosen on photos that are held out."""


class Teacher:
    """The model behind the backend."""

    def __init__(self, root: Path, studio: LabelStudio, model: str, device: str | None, seed: int) -> None:
        """Take a folder for all projects, where photos come from, and a model, which is loaded when it is needed."""
        self._root, self._studio, self._name, self._device, self._seed = root, studio, model, device, seed
        self._labelling, self._learning = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
        self._loading, self._counting = Lock(), Lock()
        self._loaded: PromptableSegmenter | None = None
        self._coming: Counter[str] = Counter()
        self._labellers: dict[tuple[str, str, tuple[str, ...]], Labeller] = {}

    def version(self, project: str) -> str:
        """What answers for a project."""
        return self._folder(project).version()

    def predict(self, project: str, config: str, tasks: Sequence[Mapping[str, Any]]) -> tuple[str, list[list[Region]]]:
        """The version that answers, and regions for each task; none for a photo that cannot be had, which is told.

        Raises:
            PromptsegError: an interface without a tool that draws areas, or a model that cannot be loaded.
        """
        interface = Interface.parse(config)
        version = self._do(lambda: self._labeller(project, interface)[0])
        return version, [self._regions(project, interface, task) for task in tasks]

    def annotated(self, project: str, config: str, tasks: Sequence[Mapping[str, Any]]) -> Future[None]:
        """Take tasks with their `annotations`, and learn when no more are waiting; returns at once.

        Raises:
            PromptsegError: an interface without a tool that draws areas.
        """
        interface = Interface.parse(config)
        return self._later(project, lambda: self._keep_all(project, interface, tasks))

    def deleted(self, project: str, annotations: Sequence[int]) -> Future[None]:
        """Forget annotations, and learn anew from the others; returns at once."""
        return self._later(project, lambda: self._folder(project).forget(annotations))

    def train(self, project: str, config: str) -> Future[None]:
        """Fetch every annotation of a project, and learn from them; returns at once.

        Raises:
            PromptsegError: an interface without a tool that draws areas.
        """
        interface = Interface.parse(config)

        def fetch() -> None:
            self._keep_all(project, interface, self._studio.annotated(project))

        return self._later(project, fetch)

    def close(self) -> None:
        """Finish what was taken on."""
        self._labelling.shutdown()
        self._learning.shutdown()

    def _model(self) -> PromptableSegmenter:
        with self._loading:
            if self._loaded is None:
                self._loaded = load_model(self._name, self._device)
            return self._loaded

    def _folder(self, project: str) -> ProjectFolder:
        return ProjectFolder(self._root / project)

    def _do(self, job: Callable[[], ResultT]) -> ResultT:
        return self._labelling.submit(job).result()

    def _later(self, project: str, job: Callable[[], object]) -> Future[None]:
        self._count(project, 1)

        def all_of_it() -> None:
            try:
                job()
                if self._coming[project] == 1:  # else the last one learns from all
                    self._learn(project)
            except Exception as error:  # nobody waits for it: it is told, and the backend goes on
                told = str(error) if isinstance(error, PromptsegError) else system_error(error)
                _LOG.error("project %s: %s", project, told or error, exc_info=None if told else error)
            finally:
                self._count(project, -1)

        return self._learning.submit(all_of_it)

    def _count(self, project: str, by: int) -> None:
        with self._counting:
            self._coming[project] += by

    def _keep_all(self, project: str, interface: Interface, tasks: Sequence[Mapping[str, Any]]) -> None:
        for task in tasks:
            self._keep(project, interface, task)

    def _keep(self, project: str, interface: Interface, task: Mapping[str, Any]) -> None:
        """Keep the newest annotation of a task; what cannot be used is told."""
        valid = [a for a in task.get("annotations") or [] if isinstance(a, dict) and not a.get("was_cancelled")]
        if not valid:
            return
        try:
            photo = self._studio.photo((task.get("data") or {}).get(interface.key))
            self._folder(project).keep(str(int(task["id"])), valid[-1], photo, interface)
        except PromptsegError as error:
            _LOG.error("project %s, task %s: %s", project, task.get("id"), error)

    def _learn(self, project: str) -> None:
        folder = self._folder(project)
        if len(samples := folder.samples()) < LEAST:
            _LOG.info("project %s: %s annotated photos; learning begins with %s", project, len(samples), LEAST)
            return
        out = folder.next_run()
        fit(self._model(), samples, METHOD, seed=self._seed, out=out, progress=False)
        _LOG.info("project %s: learned from %s photos: %s", project, len(samples), out)

    def _labeller(self, project: str, interface: Interface) -> tuple[str, Labeller]:
        folder = self._folder(project)
        space, version = folder.space(interface), folder.version()
        key = (project, version, space.names)
        if key not in self._labellers:
            learned = folder.prompts()
            prompts = default_prompts(self._model(), space) if learned is None else learned
            self._labellers = {key: Labeller(prompts, "semantic", model=self._model())}
        return version, self._labellers[key]

    def _regions(self, project: str, interface: Interface, task: Mapping[str, Any]) -> list[Region]:
        try:
            photo = self._studio.photo((task.get("data") or {}).get(interface.key))
        except PromptsegError as error:
            _LOG.error("project %s, task %s: %s", project, task.get("id"), error)
            return []

        def labelled() -> list[Region]:
            _, labeller = self._labeller(project, interface)
            return regions_of(labeller([photo])[0], labeller.prompts.class_names, interface)

        return self._do(labelled)
