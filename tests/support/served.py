"""An endpoint for tests: photos of shapes, a tiny model, and labellers that wait or break."""

import io
import json
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from fastapi.testclient import TestClient
from PIL import Image
from shapes import SHAPES, SPACE
from tiny import tiny_folder

import promptseg
from promptseg.engine.defaults import default_prompts
from promptseg.serve.endpoint import create_endpoint

HOST = "127.0.0.1:8018"
PICTURES = [sample.image() for sample in SHAPES]


def save_prompts(folder: Path) -> Path:
    """Default prompts of a tiny model, both saved below a folder."""
    model = promptseg.load_model(str(tiny_folder(folder / "model")), device="cpu")
    default_prompts(model, SPACE).save(folder / "prompts")
    return folder / "prompts"


def png(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


PHOTOS = [png(picture) for picture in PICTURES]


@contextmanager
def endpoint(labeller, bound=8, token=None, most=1_000_000):
    app = create_endpoint(labeller, bound, [HOST], token, most)
    with TestClient(app, base_url=f"http://{HOST}", raise_server_exceptions=False) as client:
        yield client


def ids(response) -> np.ndarray:
    """The label map of an answer."""
    assert response.status_code == 200, response.text
    return np.array(Image.open(io.BytesIO(response.content)))


def told(response, status: int) -> str:
    """The one line of an answer that must refuse."""
    assert response.status_code == status, response.text
    detail = json.loads(response.content)["detail"]
    assert detail and "\n" not in detail
    return detail


class Held(promptseg.Labeller):
    """Labels nothing until it may; remembers how many photos came together."""

    def __init__(self, prompts, **options):
        super().__init__(prompts, device="cpu", **options)
        self.started, self.may, self.batches = threading.Semaphore(0), threading.Event(), []

    def __call__(self, photos):
        self.batches.append(len(photos))
        self.started.release()
        assert self.may.wait(60)
        return super().__call__(photos)
