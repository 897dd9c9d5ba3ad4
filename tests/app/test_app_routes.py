"""Every route of the app without a browser: what it answers, and what it says to bad input."""

import io
import json
import shutil

import numpy as np
import pytest
from app_folder import (
    CLASSES,
    HOST,
    SIZE,
    TOKEN,
    make_town,
    opened,
    packed,
    put_labels,
    told,
    unpacked,
    version_of,
    write_classes,
)
from fastapi.testclient import TestClient
from PIL import Image

from promptseg import load_dataset
from promptseg.app.photos import PhotoFolder
from promptseg.app.server import create_app
from promptseg.app.session import Session


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Five photos and a broken one."""
    root = tmp_path_factory.mktemp("source")
    make_town(root)
    return root


@pytest.fixture
def root(source, tmp_path):
    shutil.copytree(source, tmp_path / "town")
    return tmp_path / "town"


@pytest.fixture
def idle(root):
    """A client of a session whose loop does not run: what needs no model."""
    write_classes(root)
    with opened(root, running=False) as (_, client):
        yield client


# Who may ask


def guarded(root, **options):
    app = create_app(Session(PhotoFolder(root), "seem-lite"), [HOST], TOKEN)
    return TestClient(app, base_url=f"http://{HOST}", follow_redirects=False, **options)


def test_the_first_address_brings_the_cookie_and_loses_the_token(root):
    client = guarded(root)
    answer = client.get("/", params={"token": TOKEN})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "HttpOnly" in answer.headers["set-cookie"] and "samesite=strict" in answer.headers["set-cookie"].lower()
    assert client.get("/").status_code == 200


@pytest.mark.parametrize("path", ["/", "/api/folder", "/main.js", "/api/photo?photo=00", "/?token=wrong", "/?token="])
def test_nothing_is_shown_without_the_token(root, path):
    assert guarded(root).get(path).status_code == 401


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8017", "127.0.0.1", "127.0.0.1:80", "", "localhost:8017"]
)
def test_only_this_host_is_answered(idle, host):
    assert "is not served here" in told(idle.get("/api/folder", headers={"Host": host}), 403)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_no_other_page_may_write(idle, headers):
    assert "may not write" in told(idle.post("/api/learn", json={}, headers=headers), 403)
    assert idle.post("/api/learn", json={}, headers={"Origin": f"http://{HOST}"}).status_code == 200


def test_a_body_must_say_its_length_and_be_bounded(idle):
    def pieces():
        yield b"x"

    assert "Content-Length" in told(idle.put("/api/labels?photo=00", content=pieces()), 411)
    huge = {"Content-Length": str(10**9), "If-Match": "new"}
    assert "at most" in told(idle.put("/api/labels?photo=00", content=b"", headers=huge), 413)


def test_every_answer_forbids_what_the_page_does_not_need(idle):
    for path in ("/", "/main.js", "/api/folder", "/api/photo?photo=nope"):
        headers = idle.get(path).headers
        assert "default-src 'self'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"


def test_static_files_do_not_leave_their_folder(idle):
    for path in ("/../server.py", "/%2e%2e/server.py", "/..%2fserver.py", "/page/../../server.py"):
        assert idle.get(path).status_code == 404


# The folder and its photos


def test_the_folder_lists_photos_states_and_classes(idle):
    folder = idle.get("/api/folder").json()
    assert [entry["name"] for entry in folder["classes"]] == list(CLASSES)
    assert [photo["id"] for photo in folder["photos"]] == ["00", "01", "02", "03", "04", "broken"]
    assert {photo["state"] for photo in folder["photos"]} == {"untouched"}
    assert folder["unknown_words"] == ["background"] and folder["offered_class"] == "background"


def test_new_photos_are_found_on_request(root, idle):
    shutil.copy(root / "00.jpg", root / "09.jpg")
    ids = [
        [photo["id"] for photo in idle.get(f"/api/folder{query}").json()["photos"]] for query in ("", "?rescan=true")
    ]
    assert ["09" in listed for listed in ids] == [False, True]


def test_photo_and_thumbnail_are_pictures(idle):
    for path, size in (("/api/photo", (128, 64)), ("/api/thumbnail", (128, 64))):
        answer = idle.get(path, params={"photo": "00"})
        assert answer.headers["content-type"] == "image/jpeg"
        with Image.open(io.BytesIO(answer.content)) as picture:
            assert picture.size == size


READING = ("photo", "thumbnail", "labels", "prediction", "overlay", "regions")


@pytest.mark.parametrize("path", READING)
@pytest.mark.parametrize("name", ["nope", "../town/00", "/etc/passwd", "00.jpg", "%2e%2e", "00\0", ""])
def test_unknown_photos_are_told(idle, path, name):
    assert "no photo" in told(idle.get(f"/api/{path}", params={"photo": name}), 404)


@pytest.mark.parametrize("path", READING)
def test_a_photo_must_be_named(idle, path):
    assert "photo" in told(idle.get(f"/api/{path}"), 422)


@pytest.mark.parametrize("path", ["photo", "thumbnail", "labels"])
def test_a_broken_photo_is_told(idle, path):
    assert "broken.jpg" in told(idle.get(f"/api/{path}", params={"photo": "broken"}), 422)


@pytest.mark.parametrize("path", ["photo", "thumbnail", "labels"])
def test_a_photo_that_disappears_is_told(root, idle, path):
    (root / "02.jpg").unlink()
    assert "02.jpg" in told(idle.get(f"/api/{path}", params={"photo": "02"}), 422)


# Labels


def test_labels_are_written_and_read_back(root, idle):
    labels = np.full(SIZE, 255, np.uint8)
    labels[5:20, 3:70] = 2
    answer = put_labels(idle, "00", labels, "new").json()
    again = idle.get("/api/labels", params={"photo": "00"})
    assert (unpacked(again) == labels).all() and again.headers["ETag"] == f'"{answer["version"]}"'
    assert again.headers["X-Undo"] == "1" and again.headers["X-Redo"] == "0"
    assert (load_dataset(str(root)).train[0].semantic() == labels).all()
    assert idle.get("/api/folder").json()["photos"][0]["state"] == "started"


def test_two_tabs_cannot_lose_work(idle):
    first, second = np.full(SIZE, 0, np.uint8), np.full(SIZE, 1, np.uint8)
    version = put_labels(idle, "00", first, "new").json()["version"]
    assert "changed elsewhere" in told(put_labels(idle, "00", second, "new"), 412)
    assert (unpacked(idle.get("/api/labels?photo=00")) == first).all()
    # The second tab reads the version, and its user decides to write over it: the first stays in the steps.
    answer = put_labels(idle, "00", second, version).json()
    back = idle.post("/api/undo?photo=00", headers={"If-Match": f'"{answer["version"]}"'}).json()
    assert back["version"] == version and (unpacked(idle.get("/api/labels?photo=00")) == first).all()


def test_undo_redo_and_their_ends(idle):
    assert "nothing to undo" in told(idle.post("/api/undo?photo=00", headers={"If-Match": "new"}), 422)
    version = put_labels(idle, "00", np.zeros(SIZE, np.uint8), "new").json()["version"]
    assert idle.post("/api/undo?photo=00", headers={"If-Match": version}).json()["version"] == "new"
    assert "changed elsewhere" in told(idle.post("/api/redo?photo=00", headers={"If-Match": version}), 412)
    assert idle.post("/api/redo?photo=00", headers={"If-Match": "new"}).json()["version"] == version


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "are not 8192 pixels"),
        (b"plain", "not zlib"),
        (packed(np.zeros((64, 127), np.uint8)), "are not 8192 pixels"),
        (packed(np.zeros((4096, 4096), np.uint8)), "are not 8192 pixels"),
        (packed(np.zeros(SIZE, np.uint8))[:-3], "are not 8192 pixels"),
        (packed(np.full(SIZE, 7, np.uint8)), "id 7 is no class"),
    ],
)
def test_labels_that_do_not_fit_are_refused(idle, body, words):
    answer = idle.put("/api/labels?photo=00", content=body, headers={"If-Match": "new"})
    assert words in told(answer, 422)
    assert version_of(idle, "00") == "new"


@pytest.mark.parametrize("path", ["undo", "redo", "confirm"])
def test_writes_must_name_a_version_and_a_known_photo(idle, path):
    assert "If-Match" in told(idle.post(f"/api/{path}?photo=00"), 422)
    assert "no photo" in told(idle.post(f"/api/{path}?photo=../x", headers={"If-Match": "new"}), 404)


def test_labels_of_another_program_that_do_not_fit_are_told_not_written_over(root, idle):
    (root / "labels").mkdir()
    Image.new("L", (5, 5)).save(root / "labels/00.png")
    before = (root / "labels/00.png").read_bytes()
    assert "5x5 pixels for a photo of 128x64" in told(idle.get("/api/labels?photo=00"), 422)
    told(put_labels(idle, "00", np.zeros(SIZE, np.uint8), "new"), 422)
    assert (root / "labels/00.png").read_bytes() == before


def test_confirming_needs_labels_and_their_version(root, idle):
    assert "nothing is labelled" in told(idle.post("/api/confirm?photo=00", headers={"If-Match": "new"}), 422)
    version = put_labels(idle, "00", np.zeros(SIZE, np.uint8), "new").json()["version"]
    assert "changed elsewhere" in told(idle.post("/api/confirm?photo=00", headers={"If-Match": "old"}), 412)
    states = idle.post("/api/confirm?photo=00", headers={"If-Match": version}).json()["photos"]
    assert states[0]["state"] == "confirmed" and (root / "splits/confirmed.txt").read_text() == "00\n"
    idle.post("/api/confirm?photo=00&confirmed=false", headers={"If-Match": version})
    assert idle.get("/api/folder").json()["photos"][0]["state"] == "started"


def test_a_proposal_that_was_changed_is_corrected_one_that_was_not_is_confirmed(idle):
    labels = np.zeros(SIZE, np.uint8)
    for photo, change in (("00", False), ("01", True)):
        version = put_labels(idle, photo, labels, "new", poured=True).json()["version"]
        if change:
            labels[0, 0] = 1
            version = put_labels(idle, photo, labels, version).json()["version"]
        states = idle.post("/api/confirm", params={"photo": photo}, headers={"If-Match": version}).json()["photos"]
        assert {p["id"]: p["state"] for p in states}[photo] == ("corrected" if change else "confirmed")


# Classes


def test_classes_are_written_and_two_tabs_told(root, idle):
    version = idle.get("/api/folder").json()["classes_version"]
    rows = [{"name": name} for name in (*CLASSES, "car")]
    answer = idle.put("/api/classes", json={"classes": rows}, headers={"If-Match": version}).json()
    assert [entry["name"] for entry in json.loads((root / "classes.json").read_text())["classes"]][-1] == "car"
    assert answer["classes_version"] != version
    assert "changed elsewhere" in told(
        idle.put("/api/classes", json={"classes": rows}, headers={"If-Match": version}), 412
    )


@pytest.mark.parametrize(
    "body", [{}, {"classes": "road"}, {"classes": [1]}, {"classes": []}, {"classes": [{"name": 3}]}]
)
def test_malformed_classes_are_told(idle, body):
    version = idle.get("/api/folder").json()["classes_version"]
    told(idle.put("/api/classes", json=body, headers={"If-Match": version}), 422)


def test_a_broken_classes_file_is_told(root, idle):
    (root / "classes.json").write_text("{")
    assert "not valid JSON" in told(idle.get("/api/folder"), 422)


@pytest.mark.parametrize(
    "steps", [[], {"at": 0}, {"versions": ["new"], "at": 1}, {"versions": ["../../secret", "new"], "at": 1}]
)
def test_a_history_that_was_changed_by_hand_is_refused_in_a_line(idle, root, steps):
    version = put_labels(idle, "00", np.zeros(SIZE, np.uint8), "new").json()["version"]
    (root.parent / "secret.png").write_bytes(b"not of this folder")
    next(root.glob(".promptseg/undo/*/steps.json")).write_text(json.dumps(steps))
    said = told(idle.post("/api/undo", params={"photo": "00"}, headers={"If-Match": version}), 422)
    assert "steps.json" in said


@pytest.mark.parametrize("records", [[], {"00": []}, {"00": {"number": "1"}}, {"00": {"learned": [[1, 2]]}}])
def test_records_that_were_changed_by_hand_are_refused_in_a_line(idle, root, records):
    (root / ".promptseg").mkdir()
    (root / ".promptseg/photos.json").write_text(json.dumps(records))
    assert "photos.json" in told(idle.get("/api/folder"), 422)


def test_a_list_of_confirmed_photos_that_is_no_text_is_refused_in_a_line(idle, root):
    (root / "splits").mkdir()
    (root / "splits/confirmed.txt").write_bytes(b"\xff\xfe0\n")
    assert "confirmed.txt: not UTF-8 text" in told(idle.get("/api/folder"), 422)


@pytest.mark.parametrize("others", ['prefs={"a": 1}', "flag", "lang=en us", "name=caf\xe9", ""])
def test_cookies_of_other_servers_keep_nobody_out(root, others):
    client = guarded(root)
    given = client.get("/", params={"token": TOKEN}).headers["set-cookie"].partition(";")[0]
    client.cookies.clear()
    cookie = f"{others}; {given}".encode("latin-1")
    assert client.get("/", headers=[(b"cookie", cookie)]).status_code == 200
    assert client.get("/", headers=[(b"cookie", others.encode("latin-1"))]).status_code == 401


def test_labels_that_are_undone_to_nothing_are_not_confirmed(root, idle):
    version = put_labels(idle, "00", np.zeros(SIZE, np.uint8), "new").json()["version"]
    idle.post("/api/confirm?photo=00", headers={"If-Match": version})
    assert idle.post("/api/undo?photo=00", headers={"If-Match": version}).status_code == 200
    assert (root / "splits/confirmed.txt").read_text() == ""
