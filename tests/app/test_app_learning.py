"""The routes of the app that the model stands behind: proposals, learning, the score, the look, exports."""

import io

import numpy as np
import pytest
from app_folder import CLASSES, SIZE, make_town, opened, put_labels, told, unpacked, version_of, wait_for, write_classes
from PIL import Image


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    """Five photos and a broken one, with the names of the classes; and the true labels."""
    root = tmp_path_factory.mktemp("alive") / "town"
    truth = make_town(root)
    write_classes(root)
    return root, truth


@pytest.fixture(scope="module")
def truth(town):
    return town[1]


@pytest.fixture(scope="module")
def alive(town):
    """Session and client of a folder with a running loop, shared: each test uses photos of its own."""
    with opened(town[0]) as (session, client):
        wait_for(client, lambda status: status["knowledge"] and not status["busy"])
        yield session, client


@pytest.fixture
def root(tmp_path):
    make_town(tmp_path)
    return tmp_path


def test_zero_shot_answers_before_any_label(alive):
    _, client = alive
    answer = client.get("/api/prediction?photo=03")
    labels = unpacked(answer)
    assert labels.shape == SIZE and labels.max() < len(CLASSES) and int(answer.headers["X-Knowledge"]) >= 1
    status = client.get("/api/status").json()
    assert status["score"] is None and {offer["id"] for offer in status["next"]} <= {"00", "01", "02", "03", "04"}
    broken = next(photo for photo in status["photos"] if photo["id"] == "broken")
    assert "broken.jpg" in broken["fault"]


def test_it_learns_from_strokes_and_scores_what_was_confirmed(alive, truth):
    session, client = alive
    for photo in ("00", "01"):
        labels = truth[int(photo)]
        known = client.get("/api/status").json()["knowledge"]
        version = put_labels(client, photo, labels, version_of(client, photo)).json()["version"]
        wait_for(client, lambda status, known=known: status["knowledge"] > known)
        assert client.post("/api/confirm", params={"photo": photo}, headers={"If-Match": version}).status_code == 200
    status = wait_for(client, lambda status: status["score"] and not status["busy"])
    assert status["learned_from"] == 2 and status["words"].startswith("learned from 2 photos in ")
    assert status["score"]["photos"] == 1 and len(status["score"]["classes"]) == len(CLASSES)
    # The score is of the prediction before anything of the photo was learned.
    held = session.records.held("01")
    agree = (held == truth[1])[truth[1] != 255].mean()
    counts = np.array(session.records.of("01").learned)
    assert counts.trace() / counts.sum() == pytest.approx(agree)


def test_nothing_is_learned_from_a_proposal_before_it_is_confirmed(alive):
    _, client = alive
    before = client.get("/api/status").json()
    put_labels(client, "02", np.zeros(SIZE, np.uint8), version_of(client, "02"), poured=True)
    after = wait_for(client, lambda status: not status["busy"])
    assert after["knowledge"] == before["knowledge"]


def test_strokes_are_learned_from_before_and_after_a_proposal_is_poured_in(alive, truth):
    _, client = alive
    strokes = np.where(np.arange(SIZE[0])[:, None] % 8 == 0, truth[4], np.uint8(255))
    version = put_labels(client, "04", strokes, version_of(client, "04")).json()["version"]
    learned = wait_for(client, lambda status: not status["busy"])
    filled = np.where(strokes == 255, 0, strokes).astype(np.uint8)
    version = put_labels(client, "04", filled, version, poured=True).json()["version"]
    poured = wait_for(client, lambda status: not status["busy"])
    assert poured["learned_from"] == learned["learned_from"] and poured["knowledge"] == learned["knowledge"]
    for learned_from in (learned["learned_from"], learned["learned_from"] - 1):  # the strokes alone, then none
        version = client.post("/api/undo?photo=04", headers={"If-Match": version}).json()["version"]
        wait_for(client, lambda status, count=learned_from: status["learned_from"] == count and not status["busy"])


def test_a_picture_of_one_place_looks_like_something_too(alive):
    session, _ = alive
    assert np.isfinite(session.loop.learner.summary(np.zeros((16, 16, 3), np.uint8))).all()


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
    before = wait_for(client, lambda status: not status["busy"])
    labels = np.full(SIZE, 255, np.uint8)
    labels[:4] = 1
    put_labels(client, "04", labels, version_of(client, "04"))
    assert client.get("/api/status").json()["knowledge"] == before["knowledge"]
    client.post("/api/learn", json={"now": True, "auto": True})
    after = wait_for(client, lambda status: status["knowledge"] > before["knowledge"])
    assert after["learned_from"] == before["learned_from"] + 1


@pytest.mark.parametrize("form", ["prompts", "coco", "yolo", "labelme", "csv", "folder"])
def test_exports_go_to_a_folder_of_their_own_each_time(alive, form):
    session, client = alive
    put_labels(client, "04", np.zeros(SIZE, np.uint8), version_of(client, "04"))
    wait_for(client, lambda status: status["learned_from"])
    for name in (form, f"{form}-2"):
        answer = client.post("/api/export", json={"to": form, "photos": "all"}).json()
        assert answer["path"] == str(session.folder.root / "exports" / name) and answer["words"]
    assert any((session.folder.root / "exports" / form).iterdir())
    assert "unknown form 'pdf'" in told(client.post("/api/export", json={"to": "pdf"}), 422)
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
