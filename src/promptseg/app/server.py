"""The routes of the page. Photos are named in the query, so an id is never part of a path."""

import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import FastAPI, Header, Request, Response
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from promptseg.app.export import export
from promptseg.app.guard import PageGuard
from promptseg.app.labels import ConflictError
from promptseg.app.photos import UnknownPhotoError
from promptseg.app.session import Session
from promptseg.data.images import jpeg
from promptseg.serve.faults import add_errors

PAGE = Path(__file__).parent / "page"
WAIT_SECONDS = 20.0
"""How long a request for news is kept open."""

Version = Annotated[str, Header(alias="If-Match")]
Point = tuple[float, float]


class ClassesBody(BaseModel):
    """The classes in id order, as `classes.json` has them."""

    classes: list[dict[str, Any]]


class ObjectBody(BaseModel):
    """Where an object is, in pixels of the photo."""

    points: list[Point] = Field(default=[], max_length=100)
    negative: list[Point] = Field(default=[], max_length=100)
    boxes: list[tuple[float, float, float, float]] = Field(default=[], max_length=20)


class ExportBody(BaseModel):
    """In which form, and of which photos."""

    to: str
    photos: Literal["confirmed", "all"] = "confirmed"


class LearnBody(BaseModel):
    """Learn now (`now`), and whether to learn by itself from here on."""

    now: bool = False
    auto: bool | None = None


def create_app(session: Session, hosts: Collection[str], token: str) -> PageGuard:
    """The application for a folder; `hosts` and `token` as `PageGuard` takes them."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    _add_folder_routes(app, session)
    _add_photo_routes(app, session)
    _add_label_routes(app, session)
    add_errors(app, {UnknownPhotoError: 404, ConflictError: 412})
    app.mount("/", StaticFiles(directory=PAGE))
    return PageGuard(app, hosts, token)


def _add_folder_routes(app: FastAPI, session: Session) -> None:
    @app.get("/")
    def page() -> FileResponse:
        return FileResponse(PAGE / "index.html")

    @app.get("/api/folder")
    def folder(rescan: bool = False) -> dict[str, Any]:
        if rescan:
            session.rescan()
        return session.overview()

    @app.get("/api/status")
    async def status(after: int = -1) -> dict[str, Any]:
        if after >= 0:
            await run_in_threadpool(session.loop.wait, after, WAIT_SECONDS)
        return await run_in_threadpool(session.status)

    @app.get("/api/look")
    def look() -> dict[str, Any]:
        return session.look()

    @app.put("/api/classes")
    def put_classes(body: ClassesBody, version: Version) -> dict[str, Any]:
        session.classes.write(body.classes, version.strip('"'))
        session.loop.labels_changed(learn=True)
        return session.overview()

    @app.post("/api/learn")
    def learn(body: LearnBody) -> dict[str, Any]:
        session.loop.auto = session.loop.auto if body.auto is None else body.auto
        session.loop.labels_changed(learn=body.now)
        return {"auto": session.loop.auto}

    @app.post("/api/export")
    def export_all(body: ExportBody) -> dict[str, Any]:
        return export(session, body.to, body.photos == "all")


def _add_photo_routes(app: FastAPI, session: Session) -> None:
    @app.get("/api/thumbnail")
    def thumbnail(photo: str) -> Response:
        return Response(session.folder.thumbnail(photo), media_type="image/jpeg")

    @app.get("/api/photo")
    def read_photo(photo: str) -> Response:
        pixels = session.folder.read(photo)
        session.loop.open(photo)
        return Response(jpeg(pixels, 92), media_type="image/jpeg")

    @app.get("/api/overlay")
    def overlay(
        photo: str, source: Literal["learned", "zero-shot", "labels"] = "learned", only: int | None = None
    ) -> Response:
        return Response(session.overlay(photo, source, only), media_type="image/jpeg")

    @app.get("/api/prediction")
    def prediction(photo: str, source: Literal["learned", "zero-shot"] = "learned") -> Response:
        session.folder.find(photo)
        labels, number = session.loop.answer(photo, zero_shot=source == "zero-shot")
        return _packed(labels, {"X-Knowledge": str(number)})

    @app.get("/api/regions")
    def regions(photo: str, size: int = 24) -> Response:
        return _packed(session.regions(photo, size).astype("<u4"), {})

    @app.post("/api/object")
    def find_object(photo: str, body: ObjectBody) -> Response:
        pixels = session.folder.read(photo)
        pointed = {name: value for name, value in body.model_dump().items() if value}
        mask = session.loop.ask(lambda: session.loop.learner.find(pixels, pointed))
        return _packed(mask.astype(np.uint8), {})


def _add_label_routes(app: FastAPI, session: Session) -> None:
    @app.get("/api/labels")
    def read_labels(photo: str) -> Response:
        labels, version = session.labels.read(photo, len(session.classes.names()))
        steps = session.labels.steps(photo)
        state = {"X-Undo": str(int(steps.can_undo)), "X-Redo": str(int(steps.can_redo))}
        return _packed(labels, {"ETag": f'"{version}"', **state})

    @app.put("/api/labels")
    async def write_labels(photo: str, request: Request, version: Version, poured: bool = False) -> dict[str, Any]:
        body = await request.body()
        return await run_in_threadpool(session.save, photo, body, version.strip('"'), poured)

    @app.post("/api/undo")
    def undo(photo: str, version: Version) -> dict[str, Any]:
        return session.step(photo, -1, version.strip('"'))

    @app.post("/api/redo")
    def redo(photo: str, version: Version) -> dict[str, Any]:
        return session.step(photo, +1, version.strip('"'))

    @app.post("/api/confirm")
    def confirm(photo: str, version: Version, confirmed: bool = True) -> dict[str, Any]:
        session.confirm(photo, confirmed, version.strip('"'))
        return {"photos": session.photos()}


def _packed(values: np.ndarray[Any, Any], headers: dict[str, str]) -> Response:
    """Numbers (H, W) as zlib data, with their size in headers."""
    height, width = values.shape
    packed = zlib.compress(np.ascontiguousarray(values).tobytes(), 1)
    size = {"X-Height": str(height), "X-Width": str(width)}
    return Response(packed, media_type="application/octet-stream", headers=size | headers)
