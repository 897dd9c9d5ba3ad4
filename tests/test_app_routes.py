"""Every route of the app without a browser: what it answers, and what it says to bad input."""

import io
import json
import shutil

import numpy as np
import pytest
from app_folder import CLASSES, HOST, TOKEN, make_folder, opened, packed, put_labels, unpacked, wait_for, write_classes
from fastapi.testclient import TestClient
from PIL import Image

from promptseg import load_dataset
from promptseg.app.photos import PhotoFolder
from promptseg.app.server import create_app
from promptseg.app.session import Session

SIZE = (64, 128)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Photos, their true labels and a broken photo."""
    root = tmp_path_factory.mktemp("source")
    truth = make_folder(root, 5, "128x64")
    (root / "broken.jpg").write_bytes(b"\xff\xd8 not a photo")
    return root, truth


@pytest.fixture
def root(source, tmp_path):
    shutil.copytree(source[0], tmp_path / "town")
    return tmp_path / "town"


@pytest.fixture
def idle(root):
    """A client of a session whose loop does not run: what needs no model."""
    write_classes(root)
    with opened(root, running=False) as (_, client):
        yield client


@pytest.fixture(scope="module")
def alive(source, tmp_path_factory):
    """Session and client of a folder with a running loop, shared: each test uses a photo of its own."""
    root = tmp_path_factory.mktemp("alive") / "town"
    shutil.copytree(source[0], root)
    write_classes(root)
    with opened(root) as (session, client):
        wait_for(client, lambda status: status["knowledge"] and not status["busy"])
        yield session, client


def version_of(client, photo):
    return client.get("/api/labels", params={"photo": photo}).headers["ETag"].strip('"')


def told(response, status):
    """The one line of an answer that must refuse."""
    assert response.status_code == status, response.text
    detail = response.json()["detail"]
    assert isinstance(detail, str) and "\n" not in detail and detail
    return detail


# Who may ask


def guarded(root, **options):
    app = create_app(Session(PhotoFolder(root), "seem-nano"), [HOST], TOKEN)
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


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8017", "127.0.0.1", "127.0.0.1:80", "", "localhost:8017"])
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
    ids = [[photo["id"] for photo in idle.get(f"/api/folder{query}").json()["photos"]] for query in ("", "?rescan=true")]
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


@pytest.mark.parametrize("body", [{}, {"classes": "road"}, {"classes": [1]}, {"classes": []}, {"classes": [{"name": 3}]}])
def test_malformed_classes_are_told(idle, body):
    version = idle.get("/api/folder").json()["classes_version"]
    told(idle.put("/api/classes", json=body, headers={"If-Match": version}), 422)


def test_a_broken_classes_file_is_told(root, idle):
    (root / "classes.json").write_text("{")
    assert "not valid JSON" in told(idle.get("/api/folder"), 422)


# The loop


def test_zero_shot_answers_before_any_label(alive):
    _, client = alive
    answer = client.get("/api/prediction?photo=03")
    labels = unpacked(answer)
    assert labels.shape == SIZE and labels.max() < len(CLASSES) and int(answer.headers["X-Knowledge"]) >= 1
    status = client.get("/api/status").json()
    assert status["score"] is None and {offer["id"] for offer in status["next"]} <= {"00", "01", "02", "03", "04"}
    broken = next(photo for photo in status["photos"] if photo["id"] == "broken")
    assert "broken.jpg" in broken["fault"]


def test_it_learns_from_strokes_and_scores_what_was_confirmed(alive, source):
    session, client = alive
    for photo in ("00", "01"):
        labels = source[1][int(photo)]
        known = client.get("/api/status").json()["knowledge"]
        version = put_labels(client, photo, labels, version_of(client, photo)).json()["version"]
        wait_for(client, lambda status, known=known: status["knowledge"] > known)
        assert client.post("/api/confirm", params={"photo": photo}, headers={"If-Match": version}).status_code == 200
    status = wait_for(client, lambda status: status["score"] and not status["busy"])
    assert status["learned_from"] == 2 and status["words"].startswith("learned from 2 photos in ")
    assert status["score"]["photos"] == 1 and len(status["score"]["classes"]) == len(CLASSES)
    # The score is of the prediction before anything of the photo was learned.
    held = session.records.held("01")
    agree = (held == source[1][1])[source[1][1] != 255].mean()
    counts = np.array(session.records.of("01").learned)
    assert counts.trace() / counts.sum() == pytest.approx(agree)


def test_nothing_is_learned_from_a_proposal_before_it_is_confirmed(alive):
    _, client = alive
    before = client.get("/api/status").json()
    put_labels(client, "02", np.zeros(SIZE, np.uint8), version_of(client, "02"), poured=True)
    after = wait_for(client, lambda status: not status["busy"])
    assert after["knowledge"] == before["knowledge"]


@pytest.mark.parametrize("source_name", ["learned", "zero-shot"])
@pytest.mark.parametrize("only", [None, 1])
def test_overlays_are_pictures(alive, source_name, only):
    params = {"photo": "03", "source": source_name} | ({} if only is None else {"only": only})
    answer = alive[1].get("/api/overlay", params=params)
    with Image.open(io.BytesIO(answer.content)) as picture:
        assert picture.size == (128, 64)


def test_overlays_of_what_is_not_there_are_told(alive):
    _, client = alive
    assert "class 9" in told(client.get("/api/overlay?photo=03&only=9"), 422)
    told(client.get("/api/overlay?photo=03&source=magic"), 422)
    assert "broken.jpg" in told(client.get("/api/overlay?photo=broken"), 422)


def test_the_look_has_shares_that_add_up(alive):
    _, client = alive
    wait_for(client, lambda status: not status["busy"])
    look = client.get("/api/look").json()
    assert [photo["id"] for photo in look["photos"]] == ["00", "01", "02", "03", "04"]
    assert all(sum(photo["shares"]) == pytest.approx(1, abs=1e-3) for photo in look["photos"])
    assert sum(look["shares"]) == pytest.approx(1, abs=1e-3)


def test_regions_and_objects_are_maps_of_the_photo(alive):
    _, client = alive
    found = unpacked(client.get("/api/regions?photo=03&size=10"), np.dtype("<u4"))
    assert found.shape == SIZE and 20 < found.max() < 200
    for size in (1, 1000):
        assert "give 4 to 200" in told(client.get("/api/regions", params={"photo": "03", "size": size}), 422)
    mask = unpacked(client.post("/api/object?photo=03", json={"points": [[60, 50]]}))
    assert mask.shape == SIZE and set(np.unique(mask)) <= {0, 1}
    for body in ({}, {"points": [[500, 2]]}, {"boxes": [[5, 5, 5, 5]]}, {"points": [[1]]}, {"points": [[1, 1]] * 101}):
        told(client.post("/api/object?photo=03", json=body), 422)
    assert "no photo" in told(client.post("/api/object?photo=x", json={"points": [[1, 1]]}), 404)


def test_learning_can_be_switched_off_and_asked_for(alive):
    _, client = alive
    assert client.post("/api/learn", json={"auto": False}).json() == {"auto": False}
    known = wait_for(client, lambda status: not status["busy"])["knowledge"]
    labels = np.full(SIZE, 255, np.uint8)
    labels[:4] = 1
    put_labels(client, "04", labels, version_of(client, "04"))
    assert client.get("/api/status").json()["knowledge"] == known
    client.post("/api/learn", json={"now": True, "auto": True})
    assert wait_for(client, lambda status: status["knowledge"] > known)["learned_from"] == 3


@pytest.mark.parametrize("form", ["prompts", "coco", "yolo", "labelme", "csv", "folder"])
def test_exports_go_to_a_folder_of_their_own_each_time(alive, form):
    session, client = alive
    wait_for(client, lambda status: status["learned_from"])
    for name in (form, f"{form}-2"):
        answer = client.post("/api/export", json={"to": form, "photos": "all"}).json()
        assert answer["path"] == str(session.folder.root / "exports" / name) and answer["words"]
    assert any((session.folder.root / "exports" / form).iterdir())
    assert "unknown form 'voc'" in told(client.post("/api/export", json={"to": "voc"}), 422)
    told(client.post("/api/export", json={"to": form, "photos": "mine"}), 422)


def test_there_is_nothing_to_export_before_something_was_done(root):
    write_classes(root)
    with opened(root, running=False) as (_, client):
        assert "nothing was learned" in told(client.post("/api/export", json={"to": "prompts"}), 422)
        assert "no photo is confirmed" in told(client.post("/api/export", json={"to": "coco"}), 422)
    assert not (root / "exports").exists()


def test_before_classes_are_named_there_is_no_answer(root):
    with opened(root) as (_, client):
        status = wait_for(client, lambda status: not status["busy"])
        assert status["words"] == "waiting for the names of your classes" and status["knowledge"] == 0
        assert "no classes yet" in told(client.get("/api/prediction?photo=00"), 422)


def test_a_loop_that_stopped_says_so(root):
    write_classes(root)
    with opened(root, model="nonsense") as (_, client):
        status = wait_for(client, lambda status: status["problem"])
        assert "unknown model 'nonsense'" in status["problem"]
        assert "learning has stopped" in told(client.get("/api/prediction?photo=00"), 422)
