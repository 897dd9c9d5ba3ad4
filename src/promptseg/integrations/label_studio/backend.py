"""The routes that Label Studio calls.

Requests and answers are those of Label Studio's `ml/api_connector.py`; answers hold what its own package for backends
puts into them.
"""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI, Response
from pydantic import BaseModel
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Scope

from promptseg.errors import PromptsegError
from promptseg.integrations.label_studio.photos import LARGEST, LabelStudio
from promptseg.integrations.label_studio.teacher import Teacher
from promptseg.serve.faults import add_errors
from promptseg.serve.guard import SAFE, Guard, is_token, refused, refused_body, refused_host, refused_page

ANNOTATED = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED")
DELETED = "ANNOTATIONS_DELETED"
TRAIN = "START_TRAINING"


class SetupBody(BaseModel):
    """A project that gets the backend, and a token of who made it."""

    project: str
    access_token: str = ""


class PredictBody(BaseModel):
    """Tasks to label."""

    tasks: list[dict[str, Any]]
    project: str = "0"
    label_config: str = ""


class TrainBody(BaseModel):
    """Tasks with annotations, as Label Studio sends them where it sends no events."""

    annotations: list[dict[str, Any]]
    project: str = "0"
    label_config: str = ""


class EventBody(BaseModel):
    """Something that happened in a project."""

    action: str
    project: dict[str, Any] = {}
    task: dict[str, Any] = {}
    annotation: dict[str, Any] = {}
    annotations: list[dict[str, Any]] = []


class BackendGuard(Guard):
    """Lets through who knows the secret start of every path; where there is none, who is on this machine."""

    def __init__(self, app: ASGIApp, hosts: Collection[str], token: str | None) -> None:
        """Wrap an application.

        Args:
            app: the application.
            hosts: what the Host header may say, with port, where there is no token.
            token: what every path begins with, if anything: Label Studio sends no header with its events.
        """
        super().__init__(app)
        self._hosts, self._token = frozenset(hosts), token

    def refusal(self, scope: Scope, headers: Headers) -> Response | None:
        """The answer to a request that may not pass."""
        if self._token is None:
            stranger = refused_host(headers, self._hosts) or refused_page(headers)
        elif is_token(scope["path"].lstrip("/").partition("/")[0], self._token):
            stranger = None
        else:
            stranger = refused(401, "take the address with its token that promptseg label-studio printed")
        return stranger or (None if scope["method"] in SAFE else refused_body(headers, LARGEST))


def create_backend(teacher: Teacher, studio: LabelStudio, hosts: Collection[str], token: str | None) -> ASGIApp:
    """The application; `hosts` and `token` as for `BackendGuard`."""

    @asynccontextmanager
    async def working(app: FastAPI) -> AsyncIterator[None]:
        yield
        teacher.close()

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=working)
    router = APIRouter(prefix="" if token is None else f"/{token}")
    _add_states(router, teacher, studio)
    _add_work(router, teacher)
    app.include_router(router)
    add_errors(app, {})
    return BackendGuard(app, hosts, token)


def _add_states(router: APIRouter, teacher: Teacher, studio: LabelStudio) -> None:
    @router.get("/health")
    def health() -> dict[str, str]:
        return {"status": "UP", "model_class": "promptseg"}

    @router.post("/setup")
    def setup(body: SetupBody) -> dict[str, str]:
        studio.use(body.access_token)
        return {"model_version": teacher.version(_project(body.project))}


def _add_work(router: APIRouter, teacher: Teacher) -> None:
    @router.post("/predict")
    def predict(body: PredictBody) -> dict[str, Any]:
        version, found = teacher.predict(_project(body.project), body.label_config, body.tasks)
        return {"results": [{"result": regions, "model_version": version} for regions in found]}

    @router.post("/train", status_code=201)
    def train(body: TrainBody) -> dict[str, str]:
        teacher.annotated(_project(body.project), body.label_config, body.annotations)
        return {"status": "learning"}

    @router.post("/webhook", status_code=201)
    def event(body: EventBody) -> dict[str, str]:
        project, config = _project(body.project.get("id")), str(body.project.get("label_config") or "")
        if body.action in ANNOTATED:
            teacher.annotated(project, config, [body.task | {"annotations": [body.annotation]}])
        elif body.action == DELETED:
            teacher.deleted(project, [annotation.get("id", -1) for annotation in body.annotations])
        elif body.action == TRAIN:
            teacher.train(project, config)
        else:
            return {"status": f"{body.action} changes nothing here"}
        return {"status": "learning"}


def _project(given: object) -> str:
    """The number of a project, which Label Studio gives with the time that it was made, as 5.1700000000.

    Raises:
        PromptsegError: it is none.
    """
    number = str(given).partition(".")[0]
    if not (number.isascii() and number.isdecimal()):
        raise PromptsegError(f"project {given!r}: expected its number")
    return str(int(number))
