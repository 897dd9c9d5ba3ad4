"""The backend beside a running Label Studio: its own requests, its own checks of what comes back.

Label Studio pins versions that cannot stand beside ours, so it has an environment of its own, and `LABEL_STUDIO` names
its command there:

    python -m venv studio && studio/bin/pip install label-studio==1.23.2
    LABEL_STUDIO=studio/bin/label-studio python -m pytest tests/serve/test_label_studio_live.py
"""

import os
import subprocess
import sys
import time
from contextlib import contextmanager

import httpx
import numpy as np
import pytest
from served import png
from test_label_studio import BRUSH, NAMES, SAMPLES, SIZE, annotation, truth

from promptseg.integrations.label_studio.regions import label_map
from promptseg.serve.address import claim

STUDIO = os.environ.get("LABEL_STUDIO")
TOKEN = "0123456789abcdef0123456789abcdef01234567"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(STUDIO is None, reason="LABEL_STUDIO names no Label Studio to test with"),
]
HELD_OUT = (4, 5)


def free_port() -> int:
    with claim("127.0.0.1", 0) as found:
        return found.getsockname()[1]


@contextmanager
def running(command, address, log, **environment):
    """A server, from when it answers."""
    with log.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=os.environ | environment)
    try:
        wait_for(lambda: process.poll() is not None or answers(address), 600)
        assert process.poll() is None, log.read_text()[-2000:]
        yield
    finally:
        process.terminate()
        process.wait(300)  # it learns to the end


def answers(address):
    try:
        return httpx.get(f"{address}/health", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def wait_for(reached, seconds=300):
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.5)


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    """A client of Label Studio's own interface."""
    folder, port = tmp_path_factory.mktemp("studio"), free_port()
    address = f"http://127.0.0.1:{port}"
    user = ["--username", "a@example.com", "--password", "secret12345", "--user-token", TOKEN]
    command = [STUDIO, "start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(port), *user]
    given = {
        "PYTHONPATH": "",
        "LABEL_STUDIO_BASE_DATA_DIR": str(folder),
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "COLLECT_ANALYTICS": "false",
        "LATEST_VERSION_CHECK": "false",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
        # Else Label Studio refuses backends on its own machine.
        "ML_BLOCK_LOCAL_IP": "false",
        "SSRF_PROTECTION_ENABLED": "false",
    }
    headers = {"Authorization": f"Token {TOKEN}"}
    with (
        running(command, address, folder / "log.txt", **given),
        httpx.Client(base_url=address, headers=headers, timeout=300) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def backend(studio, tmp_path_factory):
    """The address of `promptseg label-studio`, and its folder."""
    folder, port = tmp_path_factory.mktemp("backend"), free_port()
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "promptseg", "label-studio", str(folder / "kept"), "--port", str(port)]
    command += ["--label-studio", str(studio.base_url), "--threads", "1"]
    with running(command, address, folder / "log.txt"):
        yield address, folder


def asked(answer):
    assert answer.status_code < 300, answer.text
    return answer.json()


def predictions(studio, project, tasks):
    """What Label Studio has after it asked its backend for predictions of all tasks: versions, and right pixels."""
    action = {"id": "retrieve_tasks_predictions", "project": project}
    asked(studio.post("/api/dm/actions", params=action, json={"selectedItems": {"all": True, "excluded": []}}))
    found = asked(studio.get("/api/predictions/", params={"project": project}))
    newest = {entry["task"]: entry for entry in sorted(found, key=lambda entry: entry["id"])}
    maps = [label_map(newest[tasks[n]]["result"], SIZE, (*NAMES, "background"), 2) for n in HELD_OUT]
    right = np.mean([labels == truth(n) for labels, n in zip(maps, HELD_OUT, strict=True)])
    return {newest[tasks[n]]["model_version"] for n in HELD_OUT}, right


def test_label_studio_gets_labels_that_learn(studio, backend):
    address, folder = backend
    project = asked(studio.post("/api/projects/", json={"title": "shapes", "label_config": BRUSH}))["id"]
    for number, sample in enumerate(SAMPLES):
        file = {"file": (f"{number}.png", png(sample.image()), "image/png")}
        asked(studio.post(f"/api/projects/{project}/import", files=file))
    listed = asked(studio.get("/api/tasks", params={"project": project, "page_size": 100}))["tasks"]
    tasks = {int(task["data"]["picture"].rpartition("-")[2][0]): task["id"] for task in listed}
    # The first annotation is there before the backend.
    asked(studio.post(f"/api/tasks/{tasks[0]}/annotations/", json={"result": annotation(0)["result"]}))
    added = asked(studio.post("/api/ml", json={"project": project, "url": address, "title": "promptseg"}))
    versions, before = predictions(studio, project, tasks)
    assert versions == {"zero-shot"}
    for number in range(1, 4):
        asked(studio.post(f"/api/tasks/{tasks[number]}/annotations/", json={"result": annotation(number)["result"]}))
    kept = folder / f"kept/{project}"
    wait_for(lambda: len(list((kept / "labels").glob("*.png"))) == 3 and list((kept / "runs").glob("*/run.json")))
    studio.post(f"/api/ml/{added['id']}/train", json={})
    wait_for(lambda: len(list((kept / "labels").glob("*.png"))) == 4)
    runs = len(list((kept / "runs").glob("*")))
    wait_for(lambda: len(list((kept / "runs").glob("*/run.json"))) >= max(2, runs))
    versions, after = predictions(studio, project, tasks)
    assert all(version.startswith("run ") for version in versions)
    assert after > before + 0.1 and after > 0.9
    log = (folder / "log.txt").read_text()
    assert "Traceback" not in log and "answers 4" not in log, log
    print(f"right pixels: {before:.3f} before, {after:.3f} after")
