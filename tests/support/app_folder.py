"""A folder of generated photos for the tests of the app, and requests to its routes."""

import json
import zlib
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from fastapi.testclient import TestClient

from promptseg.app.photos import PhotoFolder
from promptseg.app.server import create_app
from promptseg.app.session import Session
from promptseg.data.registry import load_dataset
from promptseg.reports.pictures import write_picture

HOST, TOKEN = "127.0.0.1:8017", "a-token"
CLASSES = ("road", "sky", "building", "background")
MERGED = {"road": 0, "sidewalk": 0, "sky": 1, "building": 2}
"""Classes of Cityscapes as the classes of the tests; all others are background."""


def make_folder(root: Path, count: int = 12, size: str = "256x128", images: bool = False) -> list[np.ndarray]:
    """Write photos 00.jpg, 01.jpg, ... of generated streets; returns their label maps in `CLASSES`."""
    data = load_dataset(f"streets:clear?size={size}&train={count}&val=1&test=1")
    table = np.full(256, 3, np.uint8)
    for number, name in enumerate(data.label_space.names):
        table[number] = MERGED.get(name, 3)
    table[255] = 255
    for number, sample in enumerate(data.train):
        write_picture(root / ("images" if images else "") / f"{number:02}.jpg", sample.image())
    return [table[sample.semantic()] for sample in data.train]


SIZE = (64, 128)
"""Of the photos of `make_town`."""


def make_town(root: Path) -> list[np.ndarray]:
    """Five photos and one that is broken; returns the label maps of the five."""
    truth = make_folder(root, 5, "128x64")
    (root / "broken.jpg").write_bytes(b"\xff\xd8 not a photo")
    return truth


def write_classes(root: Path, names=CLASSES) -> None:
    (root / "classes.json").write_text(json.dumps(list(names)))


@contextmanager
def opened(root: Path, model: str = "seem-lite", running: bool = True):
    """The session of a folder and a client that may talk to it."""
    session = Session(PhotoFolder(root), model)
    client = TestClient(create_app(session, [HOST], TOKEN), base_url=f"http://{HOST}", follow_redirects=False)
    client.cookies.set("promptseg-8017", TOKEN)
    if running:
        session.loop.start()
    try:
        yield session, client
    finally:
        if running:
            session.loop.stop()


def packed(labels: np.ndarray) -> bytes:
    return zlib.compress(labels.tobytes())


def unpacked(response, dtype=np.uint8) -> np.ndarray:
    size = int(response.headers["X-Height"]), int(response.headers["X-Width"])
    return np.frombuffer(zlib.decompress(response.content), dtype).reshape(size)


def put_labels(client: TestClient, photo: str, labels: np.ndarray, version: str, **query):
    return client.put(
        "/api/labels", params={"photo": photo, **query}, content=packed(labels), headers={"If-Match": f'"{version}"'}
    )


def wait_for(client: TestClient, reached, seconds: float = 60) -> dict:
    """Wait for news until `reached(status)`."""
    import time

    status, end = client.get("/api/status").json(), time.monotonic() + seconds
    while not reached(status):
        assert time.monotonic() < end, status
        status = client.get("/api/status", params={"after": status["version"]}).json()
    return status


def version_of(client: TestClient, photo: str) -> str:
    return client.get("/api/labels", params={"photo": photo}).headers["ETag"].strip('"')


def told(response, status: int) -> str:
    """The one line of an answer that must refuse."""
    assert response.status_code == status, response.text
    detail = response.json()["detail"]
    assert isinstance(detail, str) and "\n" not in detail and detail
    return detail
