"""The routes of `promptseg serve`: a photo in, its labels out; health; and what is served."""

import asyncio
import json
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Scope

from promptseg.data.formats.classes_json import class_rows
from promptseg.engine.predict import Labeller
from promptseg.errors import PromptsegError, system_error
from promptseg.export.answers import Answer, coco_answer, png_answer
from promptseg.label_space import LabelSpace
from promptseg.serve.faults import add_errors
from promptseg.serve.guard import SAFE, Guard, drain, is_token, refused, refused_body, refused_host, refused_page
from promptseg.serve.queue import FullError, LabelQueue
from promptseg.version import __version__

PNG, JSON = "image/png", "application/json"
FORMS = {"semantic": (PNG, JSON), "instance": (JSON,), "panoptic": (PNG, JSON)}
"""What the answers of each task can be sent as, the first unless another is asked for."""
_BODY_SECONDS = 60
"""How long a photo may take to arrive."""


class LateError(PromptsegError):
    """A photo did not arrive in time."""


class EndpointGuard(Guard):
    """Lets through who has the token; where there is none, who is on this machine and no page of another site."""

    def __init__(self, app: ASGIApp, hosts: Collection[str], token: str | None, most: int) -> None:
        """Wrap an application.

        Args:
            app: the application.
            hosts: what the Host header may say, with port, where there is no token.
            token: what `Authorization: Bearer` must say, if anything.
            most: largest body, bytes.
        """
        super().__init__(app)
        self._hosts, self._token, self._most = frozenset(hosts), token, most

    def refusal(self, scope: Scope, headers: Headers) -> Response | None:
        """The answer to a request that may not pass; all may ask for health."""
        safe = scope["method"] in SAFE
        if safe and scope["path"] == "/health":
            return None
        if self._token is None:
            stranger = refused_host(headers, self._hosts) or refused_page(headers)
        elif is_token(headers.get("authorization", ""), f"Bearer {self._token}"):
            stranger = None
        else:
            stranger = refused(401, "send the token: Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"})
        return stranger or (None if safe else refused_body(headers, self._most))


def create_endpoint(labeller: Labeller, bound: int, hosts: Collection[str], token: str | None, most: int) -> ASGIApp:
    """The application that labels photos.

    Args:
        labeller: labels them.
        bound: how many photos are accepted at a time; who comes then gets 503 with Retry-After.
        hosts: as for `EndpointGuard`, and so `token` and `most`.
        token: see there.
        most: see there.

    Raises:
        PromptsegError: a task whose answers cannot be sent.
    """
    if labeller.task.name not in FORMS:
        raise PromptsegError(f"answers of the task {labeller.task.name!r} cannot be sent: choose {', '.join(FORMS)}")
    queue = LabelQueue(labeller, bound)

    @asynccontextmanager
    async def working(app: FastAPI) -> AsyncIterator[None]:
        worker = asyncio.create_task(queue.work())
        yield
        worker.cancel()
        with suppress(asyncio.CancelledError):
            await worker

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=working)
    _add_routes(app, labeller, queue, bound)
    _add_failures(app)
    return EndpointGuard(app, hosts, token, most)


def _add_routes(app: FastAPI, labeller: Labeller, queue: LabelQueue, bound: int) -> None:
    space, forms = labeller.prompts.label_space, FORMS[labeller.task.name]

    @app.get("/health")
    def health() -> dict[str, Any]:
        return {"status": "ok", "waiting": queue.held, "bound": bound, "labelled": queue.labelled}

    @app.get("/version")
    def version() -> dict[str, Any]:
        served = {"model": labeller.prompts.model_id, "answers": list(forms), "depend_on": labeller.about()}
        return {"promptseg": __version__, **served, "classes": class_rows(space)}

    @app.post("/label")
    async def label(request: Request, name: str = "photo") -> Response:
        form = _form(request.headers.get("accept", "*/*"), forms)
        if form is None:
            await drain(request.receive)
            return refused(406, f"there is no such answer: Accept {' or '.join(forms)}")
        try:
            with queue.place():
                answer = await queue.label(await _body(request), request.is_disconnected)
                content = await run_in_threadpool(_written, answer, space, form, name)
        except FullError:
            await drain(request.receive)
            raise
        return Response(content, media_type=form)


def _written(answer: Answer, space: LabelSpace, form: str, name: str) -> bytes:
    return png_answer(answer, space) if form == PNG else json.dumps(coco_answer(answer, space, name)).encode()


async def _body(request: Request) -> bytes:
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            return await request.body()
    except TimeoutError:
        raise LateError(f"the photo took over {_BODY_SECONDS} s to arrive: send it again") from None


def _form(accept: str, forms: tuple[str, ...]) -> str | None:
    """The first of the forms that a request accepts."""
    for asked in (part.partition(";")[0].strip() for part in accept.split(",")):
        for form in forms:
            if asked in (form, "*/*", f"{form.partition('/')[0]}/*"):
                return form
    return None


def _add_failures(app: FastAPI) -> None:
    """Answers to what goes wrong on the way."""
    add_errors(app, {LateError: 408})

    @app.exception_handler(FullError)
    def full(request: Request, error: FullError) -> Response:
        return refused(503, str(error), {"Retry-After": str(error.seconds)})

    @app.exception_handler(ClientDisconnect)
    def gone(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=499)  # for nobody: the client has gone

    @app.exception_handler(Exception)
    def failed(request: Request, error: Exception) -> Response:
        return refused(500, system_error(error) or "the photo could not be labelled; the log of the server says why")
