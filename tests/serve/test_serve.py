"""The endpoint: answers, refusals, the bound, and its end, seen by its clients."""

import asyncio
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from served import HOST, PHOTOS, PICTURES, Held, endpoint, ids, png, save_prompts, told
from shapes import SPACE

import promptseg
from promptseg.cli.main import run
from promptseg.serve import endpoint as endpoint_module
from promptseg.serve import queue as queue_module
from promptseg.serve.address import claim
from promptseg.serve.endpoint import create_endpoint


@pytest.fixture(scope="module")
def prompts(tmp_path_factory):
    return save_prompts(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def labeller(prompts):
    return promptseg.Labeller(prompts, device="cpu")


@pytest.fixture
def client(labeller):
    with endpoint(labeller) as found:
        yield found


def coco(response, tmp_path) -> COCO:
    """The JSON of an answer, read by COCO's own tools."""
    assert response.headers["content-type"] == "application/json"
    (tmp_path / "answer.json").write_bytes(response.content)
    return COCO(str(tmp_path / "answer.json"))


# Answers


def test_a_photo_gives_the_label_map_that_predict_gives(client, labeller):
    answer = client.post("/label", content=PHOTOS[1])
    assert answer.headers["content-type"] == "image/png"
    assert (ids(answer) == labeller([PICTURES[1]])[0]).all()
    picture = Image.open(io.BytesIO(answer.content))
    assert picture.mode == "P" and tuple(picture.getpalette()[3:6]) == SPACE.colors[1]


def test_the_objects_of_a_label_map_cover_it(client, labeller, tmp_path):
    answer = client.post("/label?name=a.png", content=PHOTOS[2], headers={"Accept": "application/json"})
    found, labels = coco(answer, tmp_path), labeller([PICTURES[2]])[0]
    assert found.imgs[1]["file_name"] == "a.png"
    assert {number: entry["name"] for number, entry in found.cats.items()} == dict(enumerate(SPACE.names))
    covered = np.full(labels.shape, 255, np.uint8)
    for entry in found.anns.values():
        mask = found.annToMask(entry).astype(bool)
        assert (covered[mask] == 255).all() and mask.sum() == entry["area"]
        covered[mask] = entry["category_id"]
    assert (covered == labels).all()


def test_instances_are_json_alone(prompts, tmp_path):
    labeller = promptseg.Labeller(prompts, "instance", device="cpu")
    (expected,) = labeller([PICTURES[0]])
    assert len(expected) > 0
    with endpoint(labeller) as client:
        found = coco(client.post("/label", content=PHOTOS[0]), tmp_path)
        masks = [found.annToMask(entry) for entry in found.anns.values()]
        seen = [mask for mask in expected.masks.numpy() if mask.any()]
        assert len(masks) == len(seen) and all((a == b).all() for a, b in zip(masks, seen, strict=True))
        assert "application/json" in told(
            client.post("/label", content=PHOTOS[0], headers={"Accept": "image/png"}), 406
        )


def test_segments_are_a_png_of_their_ids_and_json_about_them(prompts):
    labeller = promptseg.Labeller(prompts, "panoptic", device="cpu", object_threshold=0.01)
    (expected,) = labeller([PICTURES[0]])
    with endpoint(labeller) as client:
        channels = ids(client.post("/label", content=PHOTOS[0])).astype(np.int64)
        about = client.post("/label", content=PHOTOS[0], headers={"Accept": "application/json"}).json()
    assert (channels @ [1, 256, 65536] == expected.map).all()
    listed = about["annotations"][0]["segments_info"]
    assert {s["id"]: s["category_id"] for s in listed} == {s.id: s.class_id for s in expected.segments}


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "image/png"),
        ("image/*;q=0.8, application/json", "image/png"),
        ("text/html, application/json;q=0.5", "application/json"),
        ("application/*", "application/json"),
    ],
)
def test_the_client_chooses_among_the_answers(client, accept, kind):
    assert client.post("/label", content=PHOTOS[0], headers={"Accept": accept}).headers["content-type"] == kind


def test_what_is_served_can_be_asked(client, labeller):
    before = client.get("/health").json()
    client.post("/label", content=PHOTOS[0])
    after = client.get("/health").json()
    assert before["status"] == "ok" and after["labelled"] == before["labelled"] + 1 and after["waiting"] == 0
    version = client.get("/version").json()
    assert version["promptseg"] == promptseg.__version__ and version["model"] == labeller.prompts.model_id
    assert [entry["name"] for entry in version["classes"]] == list(SPACE.names)
    assert version["depend_on"] == json.loads(json.dumps(labeller.about()))


# Refusals


def written(array, form, size=None):
    buffer = io.BytesIO()
    (Image.new("1", size) if size else Image.fromarray(array)).save(buffer, form)
    return buffer.getvalue()


NO_PHOTOS = {
    "empty": (lambda: b"", "not an image"),
    "text": (lambda: b"hello", "not an image"),
    "cut short": (lambda: PHOTOS[0][:200], "cannot be read"),
    "floats": (lambda: written(np.zeros((4, 4), np.float32), "TIFF"), "floating-point"),
    "81 megapixels": (lambda: written(None, "PNG", (9_000, 9_000)), "80,000,000 pixels"),
}


@pytest.mark.parametrize("kind", NO_PHOTOS)
def test_what_is_no_photo_is_refused_in_a_line(client, kind):
    content, words = NO_PHOTOS[kind]
    assert words in told(client.post("/label", content=content()), 422)
    assert client.get("/health").json()["waiting"] == 0


def test_bodies_must_say_their_length_and_be_bounded(client):
    assert "Content-Length" in told(client.post("/label", content=iter([PHOTOS[0]])), 411)
    assert "at most 1,000,000" in told(client.post("/label", content=bytes(1_000_001)), 413)


def test_other_paths_methods_and_answers_are_refused(client):
    assert client.get("/label").status_code == 405 and client.post("/health", content=b"").status_code == 405
    assert client.get("/").status_code == client.get("/docs").status_code == 404
    assert "image/png or application/json" in told(
        client.post("/label", content=PHOTOS[0], headers={"Accept": "text/html"}), 406
    )


@pytest.mark.parametrize(
    "headers", [{"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}]
)
def test_without_a_token_only_this_machine_is_answered(client, headers):
    assert client.post("/label", content=PHOTOS[0], headers=headers).status_code == 403
    assert client.post("/label", content=PHOTOS[0], headers={"Origin": f"http://{HOST}"}).status_code == 200


def test_with_a_token_every_host_is_served_to_who_has_it(labeller):
    with endpoint(labeller, token="secret") as client:
        for given in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "secret"}):
            answer = client.post("/label", content=PHOTOS[0], headers=given)
            assert "token" in told(answer, 401) and answer.headers["WWW-Authenticate"] == "Bearer"
            assert client.get("/version", headers=given).status_code == 401
        right = {"Authorization": "Bearer secret", "Host": "labels.example"}
        assert client.post("/label", content=PHOTOS[0], headers=right).status_code == 200
        assert client.get("/health").status_code == 200


def test_a_photo_that_does_not_arrive_gives_its_place_back(labeller, monkeypatch):
    monkeypatch.setattr(endpoint_module, "_BODY_SECONDS", 0.05)
    sent = []

    async def receive():
        await asyncio.sleep(60)

    async def send(message):
        sent.append(message)

    headers = [(b"host", HOST.encode()), (b"content-length", b"10")]
    scope = {"type": "http", "method": "POST", "path": "/label", "query_string": b"", "headers": headers}
    app = create_endpoint(labeller, 1, [HOST], None, 100)
    for _ in range(2):
        asyncio.run(app(scope, receive, send))
    assert [message["status"] for message in sent if "status" in message] == [408, 408]


# The bound


def test_beyond_the_bound_there_is_a_503_and_nothing_is_lost(prompts, labeller):
    held, expected = Held(prompts), labeller(PICTURES)
    with endpoint(held, bound=3) as client, ThreadPoolExecutor(3) as pool:
        accepted = [pool.submit(client.post, "/label", content=PHOTOS[index]) for index in range(3)]
        wait_for(lambda: client.get("/health").json()["waiting"] == 3)
        refused = client.post("/label", content=PHOTOS[3])
        assert "3 photos wait" in told(refused, 503) and int(refused.headers["Retry-After"]) >= 1
        held.may.set()
        for future, labels in zip(accepted, expected, strict=False):
            assert (ids(future.result()) == labels).all()
        assert (ids(client.post("/label", content=PHOTOS[3])) == expected[3]).all()


def wait_for(reached, seconds=60):
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_photos_that_wait_are_labelled_together(prompts, labeller, monkeypatch):
    monkeypatch.setattr(queue_module, "at_once", lambda device: 4)
    held, expected = Held(prompts), labeller(PICTURES)
    with endpoint(held) as client, ThreadPoolExecutor(6) as pool:
        first = pool.submit(client.post, "/label", content=PHOTOS[0])
        assert held.started.acquire(timeout=60)
        others = [pool.submit(client.post, "/label", content=content) for content in PHOTOS[1:]]
        wait_for(lambda: client.get("/health").json()["waiting"] == 6)
        time.sleep(0.3)  # all are decoded, or the batch is only smaller
        held.may.set()
        for future, labels in zip([first, *others], expected, strict=True):
            assert (ids(future.result()) == labels).all()
    assert held.batches[0] == 1 and max(held.batches) > 1 and sum(held.batches) == 6


def test_a_photo_that_cannot_be_labelled_harms_no_other(prompts, labeller, monkeypatch):
    class Choosy(Held):
        def __call__(self, photos):
            answers = super().__call__(photos)
            if any(photo.shape[0] == 13 for photo in photos):
                raise RuntimeError("CUDA out of memory")
            return answers

    monkeypatch.setattr(queue_module, "at_once", lambda device: 4)
    held, small = Choosy(prompts), png(PICTURES[0][:13])
    with endpoint(held) as client, ThreadPoolExecutor(3) as pool:
        first = pool.submit(client.post, "/label", content=PHOTOS[0])
        assert held.started.acquire(timeout=60)
        broken = pool.submit(client.post, "/label", content=small)
        other = pool.submit(client.post, "/label", content=PHOTOS[1])
        wait_for(lambda: client.get("/health").json()["waiting"] == 3)
        held.may.set()
        assert "out of memory" in told(broken.result(), 500)
        assert (ids(first.result()) == labeller([PICTURES[0]])[0]).all()
        assert (ids(other.result()) == labeller([PICTURES[1]])[0]).all()


def test_nobody_labels_for_a_client_that_has_gone(prompts):
    held = Held(prompts)

    async def left():
        queue = queue_module.LabelQueue(held, 2)
        with pytest.raises(queue_module.ClientDisconnect), queue.place():
            await queue.label(PHOTOS[0], lambda: asyncio.sleep(0, True))
        return queue.held

    assert asyncio.run(left()) == 0 and held.batches == []


# The command


def test_mistakes_on_the_command_line_are_told(prompts, tmp_path, capsys):
    for arguments, words in (
        ([str(tmp_path / "none")], "none"),
        ([str(prompts), "--queue", "0"], "--queue is 0"),
        ([str(prompts), "--megabytes", "0"], "--megabytes is 0"),
        ([str(prompts), "--task", "depth"], "unknown task 'depth'"),
        ([str(prompts), "--host", "198.51.100.7"], "cannot be used here"),
    ):
        assert run(["serve", *arguments, "--device", "cpu"]) == 2
        err = capsys.readouterr().err
        assert words in err and err.count("\n") == 1
    with claim("127.0.0.1", 0) as taken:
        assert run(["serve", str(prompts), "--port", str(taken.getsockname()[1])]) == 2
        assert "in use" in capsys.readouterr().err


def started(prompts, *more, environment=None):
    """A running command, and what it printed before it serves."""
    command = [sys.executable, "-m", "promptseg", "serve", str(prompts), "--port", "0", "--threads", "1", *more]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | (environment or {}),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    return process, [process.stdout.readline() for _ in range(3)]


def post(address, content, token=None):
    """Status and body of an answer, as a program of the standard library sees it."""
    given = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(address, content, given), timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_ends_it_when_what_was_accepted_is_done(prompts, labeller, name):
    picture = np.tile(PICTURES[0], (30, 30, 1))
    expected = labeller([picture])[0]
    process, said = started(prompts)
    try:
        address = re.search(r"http://\S+/label", said[0])[0]
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(post(address, png(picture)))) for _ in range(6)]
        for thread in threads:
            thread.start()
        health = address.replace("/label", "/health")
        wait_for(lambda: json.load(urllib.request.urlopen(health))["waiting"] == 6)
        process.send_signal(getattr(signal, name))
        for thread in threads:
            thread.join(60)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.communicate()
    assert [status for status, _ in answers] == [200] * 6
    assert all((np.array(Image.open(io.BytesIO(body))) == expected).all() for _, body in answers)
    with pytest.raises(urllib.error.URLError, match="refused"):
        post(address, PHOTOS[0])


@pytest.mark.slow
def test_other_addresses_than_loopback_want_a_token(prompts):
    process, said = started(prompts, "--host", "0.0.0.0", environment={"PROMPTSEG_TOKEN": "of the environment"})
    try:
        address = f"http://127.0.0.1:{re.search(r':([0-9]+)/label', said[0])[1]}/label"
        assert "of the environment" not in "".join(said) and "PROMPTSEG_TOKEN" in said[1]
        assert post(address, PHOTOS[0])[0] == 401
        assert post(address, PHOTOS[0], "of the environment")[0] == 200
        # Refused before it was read to its end, and told all the same.
        assert post(address, bytes(40_000_000), "of the environment")[0] == 413
    finally:
        process.terminate()
        process.communicate(timeout=60)
    process, said = started(prompts, "--host", "0.0.0.0")
    try:
        address = f"http://127.0.0.1:{re.search(r':([0-9]+)/label', said[0])[1]}/label"
        token = re.search(r"Bearer ([\w-]+)", said[1])[1]
        assert post(address, PHOTOS[0])[0] == 401 and post(address, PHOTOS[0], token)[0] == 200
    finally:
        process.terminate()
        process.communicate(timeout=60)
