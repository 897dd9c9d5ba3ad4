"""The backend for Label Studio, asked as its `ml/api_connector.py` and webhooks ask; its files come from a stand-in."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from served import png, told
from shapes import ShapeSample

import promptseg
from promptseg import PromptsegError
from promptseg.cli.main import run
from promptseg.integrations.label_studio.backend import create_backend
from promptseg.integrations.label_studio.brush import decode_brush, encode_brush
from promptseg.integrations.label_studio.config import Interface
from promptseg.integrations.label_studio.photos import LabelStudio
from promptseg.integrations.label_studio.regions import label_map, regions_of
from promptseg.integrations.label_studio.teacher import Teacher

HOST = "127.0.0.1:9090"
NAMES = ("car", "sky")
BRUSH = """<View><Image name="photo" value="$picture"/><BrushLabels name="tool" toName="photo">
<Label value="car" background="#ff0000"/><Label value="sky"/></BrushLabels></View>"""
POLYGONS = BRUSH.replace("BrushLabels", "PolygonLabels")
WITH_BACKGROUND = BRUSH.replace('<Label value="sky"/>', '<Label value="sky"/><Label value="background"/>')
SAMPLES = [ShapeSample(number, 96, 160) for number in range(6)]
SIZE = (96, 160)


def truth(number: int) -> np.ndarray:
    """Class ids as the backend has them: car, sky, background."""
    return np.array([2, 0, 1, *[2] * 253], np.uint8)[SAMPLES[number].semantic()]


# Regions

SDK_MASK = np.zeros((5, 7), bool)
SDK_MASK[1:4, 2:6] = SDK_MASK[4, 0] = True
SDK_BYTES = [0, 0, 0, 140, 57, 27, 254, 35, 0, 191, 255, 108, 2, 255, 253, 176, 11, 255, 241, 128, 71, 255, 133, 192, 0]
"""What `mask2rle` of label-studio-sdk 2.1.2 makes of it."""
SINGLE_VALUES = "".join(
    [f"{8:032b}", "00111", "0010", "0011", "0111", "1111", "0", "00", "111"]
    + [f"{v:08b}" for v in (9, 9, 9, 127, 9, 9, 9, 128)]
)
"""Two pixels of a brush with soft borders, as single values."""


def test_brush_regions_are_those_of_label_studio_s_own_package():
    assert encode_brush(SDK_MASK) == SDK_BYTES
    assert (decode_brush(SDK_BYTES, (5, 7)) == SDK_MASK).all()
    single = [int(SINGLE_VALUES[i : i + 8].ljust(8, "0"), 2) for i in range(0, len(SINGLE_VALUES), 8)]
    assert decode_brush(single, (1, 2)).tolist() == [[False, True]]


@given(arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40))))
@settings(max_examples=50, deadline=None)
def test_a_brush_region_comes_back(mask):
    assert (decode_brush(encode_brush(mask), mask.shape) == mask).all()


def test_runs_longer_than_a_length_holds_come_back():
    mask = np.zeros((300, 300), bool)
    mask[10:290] = True
    assert (decode_brush(encode_brush(mask), mask.shape) == mask).all()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([], "broken"),
        (SDK_BYTES[:15], "broken"),
        (["x"], "broken"),
        ([256], "broken"),
        (SDK_BYTES, "on a photo of 9x9"),
    ],
)
def test_broken_brush_regions_are_told(content, words):
    with pytest.raises(PromptsegError, match=words):
        decode_brush(content, (9, 9) if words != "broken" else (5, 7))


@pytest.mark.parametrize("config", [BRUSH, POLYGONS])
def test_a_label_map_comes_back_from_its_regions(config):
    interface, labels = Interface.parse(config), truth(0)
    regions = regions_of(labels, (*NAMES, "background"), interface)
    assert {region["from_name"] for region in regions} == {"tool"} and {r["to_name"] for r in regions} == {"photo"}
    assert (label_map(regions, SIZE, (*NAMES, "background"), 2) == labels).all()


def test_polygons_are_in_percent_of_the_photo():
    region = {
        "type": "polygonlabels",
        "value": {"points": [[0, 0], [50, 0], [50, 100], [0, 100]], "polygonlabels": ["car"]},
    }
    found = label_map([region, {"type": "choices", "value": {}}], SIZE, NAMES, 255)
    assert (found[:, :80] == 0).all() and (found[:, 80:] == 255).all()


@pytest.mark.parametrize(
    ("region", "words"),
    [
        ({"type": "brushlabels", "value": {"rle": [], "brushlabels": ["tree"]}}, "'tree'"),
        ({"type": "brushlabels", "value": {"rle": 3, "brushlabels": ["car"]}}, "broken"),
        ({"type": "polygonlabels", "value": {"polygonlabels": ["car"]}}, "no points"),
        ({"type": "polygonlabels", "value": {"points": [[0, 0]], "polygonlabels": ["car"]}}, "polygon"),
        ({"type": "polygonlabels", "image_rotation": 90, "value": {"points": [], "polygonlabels": ["car"]}}, "turned"),
    ],
)
def test_regions_that_cannot_be_read_are_told(region, words):
    with pytest.raises(PromptsegError, match=words):
        label_map([region], SIZE, NAMES, 255)


@pytest.mark.parametrize("config", ["", "<View/>", "<View", BRUSH.replace('toName="photo"', 'toName="text"')])
def test_interfaces_without_a_tool_that_draws_areas_are_told(config):
    with pytest.raises(PromptsegError, match="interface"):
        Interface.parse(config)


# The backend


class Studio(BaseHTTPRequestHandler):
    """A stand-in for Label Studio: photos and an export, for who has the token."""

    exported = ()

    def do_GET(self):
        content = {f"/data/upload/{n}.png": png(SAMPLES[n].image()) for n in range(6)}
        content["/api/projects/7/export?exportType=JSON"] = json.dumps(self.exported).encode()
        allowed = self.headers["Authorization"] == "Token key"
        self.send_response(401 if not allowed else 200 if self.path in content else 404)
        self.end_headers()
        if allowed and self.path in content:
            self.wfile.write(content[self.path])

    def log_message(self, *words):
        pass


@pytest.fixture(scope="module")
def address():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Studio)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def backend(address, tmp_path):
    """A client of a backend, and what works behind it."""
    studio = LabelStudio(address, None)
    teacher = Teacher(tmp_path / "studio", studio, "seem-lite", "cpu", 0)
    with TestClient(create_backend(teacher, studio, [HOST], None), base_url=f"http://{HOST}") as client:
        client.post("/setup", json={"project": "7.1700000000", "schema": BRUSH, "access_token": "key"})
        yield client, teacher


def task(number):
    return {"id": number + 1, "data": {"picture": f"/data/upload/{number}.png"}}


def annotation(number, config=BRUSH):
    regions = regions_of(truth(number), (*NAMES, "background"), Interface.parse(config))
    return {"id": 100 + number, "result": regions, "was_cancelled": False}


def event(number, action="ANNOTATION_CREATED", config=BRUSH):
    project = {"id": 7, "label_config": config, "title": "town"}
    return {"action": action, "project": project, "task": task(number), "annotation": annotation(number, config)}


def predicted(client, numbers, config=BRUSH):
    body = {"tasks": [task(n) for n in numbers], "project": "7.1700000000", "label_config": config, "params": {}}
    answer = client.post("/predict", json=body)
    assert answer.status_code == 200, answer.text
    results = answer.json()["results"]
    assert len(results) == len(numbers)
    labels = [label_map(found["result"], SIZE, (*NAMES, "background"), 2) for found in results]
    return {found["model_version"] for found in results}, labels


def wait(teacher):
    """Until everything that was sent is learned."""
    teacher.deleted("0", []).result(300)


def test_it_says_that_it_is_there(backend):
    client, _ = backend
    assert client.get("/health").json()["status"] == "UP"
    body = {"project": "7.1700000000", "schema": BRUSH, "hostname": "http://elsewhere", "access_token": "key"}
    assert client.post("/setup", json=body).json() == {"model_version": "zero-shot"}


@pytest.mark.slow
def test_it_learns_from_annotations_and_labels_better(backend, tmp_path):
    client, teacher = backend
    held_out = [4, 5]
    version, before = predicted(client, held_out)
    assert version == {"zero-shot"}
    for number in range(4):
        answer = client.post("/webhook", json=event(number, config=(BRUSH, POLYGONS)[number % 2]))
        assert answer.status_code == 201
    wait(teacher)
    version, after = predicted(client, held_out)
    assert len(version) == 1 and version.pop().startswith("run ")

    def right(maps):
        return np.mean([labels == truth(n) for labels, n in zip(maps, held_out, strict=True)])

    assert right(after) > right(before) + 0.1 and right(after) > 0.9
    # What it keeps is a folder of photos that the rest of promptseg reads, with the labels that were drawn.
    data = promptseg.load_dataset(str(tmp_path / "studio/7"))
    assert [sample.id for sample in data.train] == ["1", "2", "3", "4"]
    for sample in data.train:
        assert (sample.semantic() == truth(int(sample.id) - 1)).all()
        assert (sample.image() == SAMPLES[int(sample.id) - 1].image()).all()


def test_one_photo_is_kept_and_nothing_learned_yet(backend, tmp_path, caplog):
    client, teacher = backend
    client.post("/webhook", json=event(0))
    wait(teacher)
    assert client.post("/setup", json={"project": "7"}).json() == {"model_version": "zero-shot"}
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
    assert [sample.id for sample in promptseg.load_dataset(str(tmp_path / "studio/7")).train] == ["1"]


def test_changed_and_deleted_annotations_are_followed(backend, tmp_path, monkeypatch):
    client, teacher = backend
    fits = []
    monkeypatch.setattr(Teacher, "_learn", lambda self, project: fits.append(project))
    client.post("/webhook", json=event(0))
    changed = event(0, "ANNOTATION_UPDATED")
    changed["annotation"]["result"] = []
    client.post("/webhook", json=changed)
    client.post("/webhook", json=event(1))
    skipped = event(2)
    skipped["annotation"]["was_cancelled"] = True
    client.post("/webhook", json=skipped)
    wait(teacher)
    data = promptseg.load_dataset(str(tmp_path / "studio/7"))
    assert [sample.id for sample in data.train] == ["1", "2"] and (data.train[0].semantic() == 2).all()
    deleted = {"action": "ANNOTATIONS_DELETED", "annotations": [{"id": 100}], "project": {"id": 7}}
    client.post("/webhook", json=deleted)
    wait(teacher)
    assert [s.id for s in promptseg.load_dataset(str(tmp_path / "studio/7")).train] == ["2"]
    assert "7" in fits
    other = client.post("/webhook", json={"action": "PROJECT_UPDATED", "project": {"id": 7}}).json()
    assert other == {"status": "PROJECT_UPDATED changes nothing here"}


def test_training_takes_what_was_annotated_before(backend, tmp_path, monkeypatch):
    client, teacher = backend
    monkeypatch.setattr(Teacher, "_learn", lambda self, project: None)
    monkeypatch.setattr(Studio, "exported", [task(n) | {"annotations": [annotation(n)]} for n in (0, 3)])
    client.post("/webhook", json={"action": "START_TRAINING", "project": {"id": 7, "label_config": BRUSH}})
    sent = [task(2) | {"annotations": [annotation(2)]}]
    client.post("/train", json={"annotations": sent, "project": "7.1700000000", "label_config": BRUSH})
    wait(teacher)
    assert [s.id for s in promptseg.load_dataset(str(tmp_path / "studio/7")).train] == ["1", "3", "4"]


def test_where_the_background_can_be_drawn_the_rest_is_not_labelled(backend, tmp_path, monkeypatch):
    client, teacher = backend
    monkeypatch.setattr(Teacher, "_learn", lambda self, project: None)
    client.post("/webhook", json=event(0, config=WITH_BACKGROUND))
    wait(teacher)
    (sample,) = promptseg.load_dataset(str(tmp_path / "studio/7")).train
    assert (sample.semantic() == truth(0)).all()  # the drawn background included
    nothing = event(1, config=WITH_BACKGROUND)
    nothing["annotation"]["result"] = nothing["annotation"]["result"][:1]
    client.post("/webhook", json=nothing)
    wait(teacher)
    labels = promptseg.load_dataset(str(tmp_path / "studio/7")).train[1].semantic()
    assert set(np.unique(labels)) == {0, 255}


def test_photos_of_other_addresses_are_not_fetched(backend, caplog):
    client, _ = backend
    for place, words in (
        ("http://169.254.169.254/secret", "alone"),
        ("file:///etc/passwd", "alone"),
        ("/data/upload/99.png", "answers 404"),
        (None, "names no photo"),
        ("/api/projects/7/export?exportType=JSON", "not an image"),
    ):
        caplog.clear()
        body = {"tasks": [{"id": 1, "data": {"picture": place}}], "project": "7", "label_config": BRUSH}
        answer = client.post("/predict", json=body)
        assert answer.json()["results"][0]["result"] == [] and words in caplog.text


def test_a_wrong_token_of_label_studio_is_told(address):
    with pytest.raises(PromptsegError, match="LABEL_STUDIO_API_KEY"):
        LabelStudio(address, "wrong").photo("/data/upload/0.png")


def test_mistakes_in_requests_are_told(backend):
    client, _ = backend
    body = {"tasks": [], "project": "7", "label_config": "<View/>"}
    assert "interface" in told(client.post("/predict", json=body), 422)
    assert "'../x'" in told(client.post("/predict", json=body | {"project": "../x", "label_config": BRUSH}), 422)
    assert "tasks" in told(client.post("/predict", json={}), 422)
    assert told(client.post("/predict", content=iter([b"{}"])), 411)
    assert client.post("/setup", json={"project": "7"}, headers={"Host": "evil.example"}).status_code == 403
    assert client.post("/setup", json={"project": "7"}, headers={"Origin": "http://evil.example"}).status_code == 403


def test_elsewhere_every_path_begins_with_the_token(address, tmp_path):
    studio = LabelStudio(address, "key")
    teacher = Teacher(tmp_path, studio, "seem-lite", "cpu", 0)
    with TestClient(create_backend(teacher, studio, [], "secret"), base_url="http://backend.example") as client:
        assert client.get("/secret/health").status_code == 200
        for path in ("/health", "/wrong/health", "/", "/secret"):
            assert client.get(path).status_code in (401, 404)
        assert client.get("/health").status_code == 401


def test_mistakes_on_the_command_line_are_told(tmp_path, capsys):
    for arguments, words in ((["--label-studio", "localhost"], "http://localhost:8080"), (["--model", "none"], "none")):
        assert run(["label-studio", str(tmp_path), *arguments]) == 2
        err = capsys.readouterr().err
        assert words in err and err.count("\n") == 1
