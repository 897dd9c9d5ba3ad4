"""What the app keeps on disk: labels with versions and undo, classes, records; and regions and the order of photos."""

import json
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
from app_folder import CLASSES, make_folder, write_classes
from PIL import Image
from scipy import ndimage

from promptseg import load_dataset
from promptseg.app.classes import ClassFile
from promptseg.app.labels import NEW, ConflictError, LabelStore
from promptseg.app.order import Outlook, offers
from promptseg.app.photos import PhotoFolder, UnknownPhotoError
from promptseg.app.record import Records, confusion, score
from promptseg.app.regions import regions
from promptseg.errors import PromptsegError

COLORS = ((0, 0, 0), (10, 20, 30), (200, 0, 0), (0, 200, 0))


@pytest.fixture
def root(tmp_path):
    make_folder(tmp_path, 3, "64x32")
    write_classes(tmp_path)
    return tmp_path


@pytest.fixture
def store(root):
    return LabelStore(PhotoFolder(root))


def labels_of(value: int) -> np.ndarray:
    return np.full((32, 64), value, np.uint8)


def stroke(value: int) -> np.ndarray:
    found = labels_of(255)
    found[3:9, 4:40] = value
    return found


# Photos


def test_photos_lie_in_the_folder_or_in_images(tmp_path):
    make_folder(tmp_path / "flat", 2, "64x32")
    make_folder(tmp_path / "deep", 2, "64x32", images=True)
    (tmp_path / "flat/.hidden.jpg").write_bytes(b"x")
    (tmp_path / "flat/exports").mkdir()
    (tmp_path / "flat/exports/copy.jpg").write_bytes(b"x")
    for name in ("flat", "deep"):
        assert list(PhotoFolder(tmp_path / name).photos) == ["00", "01"]


@pytest.mark.parametrize("make", [lambda p: None, lambda p: p.mkdir(), lambda p: p.write_text("x")])
def test_no_folder_and_no_photos_are_told(tmp_path, make):
    make(tmp_path / "town")
    with pytest.raises(PromptsegError, match="no such folder|no photos in it"):
        PhotoFolder(tmp_path / "town")


def test_a_link_out_of_the_folder_is_a_tile_with_a_reason(root, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "secret.jpg"
    Image.new("RGB", (8, 8)).save(outside)
    (root / "link.jpg").symlink_to(outside)
    folder = PhotoFolder(root)
    assert "leads out of the folder" in folder.photos["link"].fault
    with pytest.raises(PromptsegError, match="leads out"):
        folder.read("link")
    with pytest.raises(PromptsegError, match="leads out"):
        folder.thumbnail("link")


def test_labels_are_never_written_through_a_link_out_of_the_folder(root, store, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    (root / "labels").symlink_to(outside)
    with pytest.raises(PromptsegError, match="leads out"):
        store.write("00", stroke(1), NEW, COLORS)
    assert list(outside.iterdir()) == []


def test_two_photos_of_one_name_are_told(root):
    Image.new("RGB", (8, 8)).save(root / "00.png")
    photos = PhotoFolder(root).photos
    assert [photo.fault for photo in photos.values() if photo.fault] != []
    assert sum(photo.fault is None for photo in photos.values()) == 3


def test_a_thumbnail_follows_its_photo(root, monkeypatch, tmp_path_factory):
    monkeypatch.setenv("PROMPTSEG_CACHE", str(tmp_path_factory.mktemp("cache")))
    folder = PhotoFolder(root)
    before = folder.thumbnail("00")
    assert folder.thumbnail("00") == before
    Image.new("RGB", (600, 300), "red").save(root / "00.jpg")
    after = folder.thumbnail("00")
    assert after != before and after[:2] == b"\xff\xd8"
    (root / "00.jpg").unlink()
    with pytest.raises(PromptsegError, match="the photo is gone"):
        folder.thumbnail("00")


# Labels


def test_labels_are_what_the_rest_of_the_package_reads(root, store):
    version = store.write("00", stroke(2), NEW, COLORS)
    assert (load_dataset(str(root)).train[0].semantic() == stroke(2)).all()
    again, seen = store.read("00", len(CLASSES))
    assert (again == stroke(2)).all() and seen == version
    with Image.open(root / "labels/00.png") as file:
        assert file.mode == "P" and tuple(file.getpalette()[6:9]) == COLORS[2]


def test_a_photo_without_labels_is_all_unlabelled(store):
    labels, version = store.read("01", 4)
    assert labels.shape == (32, 64) and (labels == 255).all() and version == NEW


def test_a_save_names_the_version_it_started_from(root, store):
    first = store.write("00", stroke(1), NEW, COLORS)
    with pytest.raises(ConflictError, match="changed elsewhere"):
        store.write("00", stroke(2), NEW, COLORS)
    Image.fromarray(stroke(3)).save(root / "labels/00.png")  # another program
    with pytest.raises(ConflictError):
        store.write("00", stroke(2), first, COLORS)
    assert (store.read("00", 4)[0] == stroke(3)).all()


def test_of_many_writers_at_once_one_wins_and_the_others_are_told(root):
    def write(value):
        try:
            return LabelStore(PhotoFolder(root)).write("00", stroke(value), NEW, COLORS)
        except ConflictError:
            return None

    with ThreadPoolExecutor(8) as pool:
        written = [version for version in pool.map(write, [0, 1, 2, 3] * 4) if version]
    assert len(written) == 1
    assert LabelStore(PhotoFolder(root)).version("00") == written[0]


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.zeros((31, 64), np.uint8), "labels of 64x31 pixels for a photo of 64x32"),
        (np.full((32, 64), 4, np.uint8), "id 4 is no class: there are 0..3, and 255"),
    ],
)
def test_labels_that_do_not_fit_are_refused(store, labels, words):
    with pytest.raises(PromptsegError, match=words):
        store.write("00", labels, NEW, COLORS)
    assert store.version("00") == NEW


def test_undo_and_redo_go_through_every_step_and_survive_a_restart(root, store):
    versions = [NEW]
    for value in (0, 1, 2):
        versions.append(store.write("00", stroke(value), versions[-1], COLORS))
    store = LabelStore(PhotoFolder(root))
    assert store.steps("00").can_undo and not store.steps("00").can_redo
    for before, after in zip(versions[-2::-1], versions[:0:-1], strict=True):
        assert store.step("00", -1, after) == before
    assert not (root / "labels/00.png").exists() and not store.steps("00").can_undo
    with pytest.raises(PromptsegError, match="nothing to undo"):
        store.step("00", -1, NEW)
    for before, after in pairwise(versions):
        assert store.step("00", +1, before) == after
    assert (store.read("00", 4)[0] == stroke(2)).all()
    with pytest.raises(PromptsegError, match="nothing to redo"):
        store.step("00", +1, versions[-1])


def test_what_another_program_wrote_is_a_step_too(root, store):
    first = store.write("00", stroke(1), NEW, COLORS)
    Image.fromarray(stroke(3)).save(root / "labels/00.png")
    foreign = store.version("00")
    mine = store.write("00", stroke(2), foreign, COLORS)
    assert store.step("00", -1, mine) == foreign and (store.read("00", 4)[0] == stroke(3)).all()
    assert store.step("00", -1, foreign) == first


def test_a_new_step_after_undo_drops_what_was_undone(store):
    first = store.write("00", stroke(0), NEW, COLORS)
    store.step("00", -1, store.write("00", stroke(1), first, COLORS))
    store.write("00", stroke(2), first, COLORS)
    assert not store.steps("00").can_redo


def test_the_same_labels_again_are_no_step(store):
    version = store.write("00", stroke(0), NEW, COLORS)
    assert store.write("00", stroke(0), version, COLORS) == version
    assert len(store.steps("00").versions) == 2


def test_a_save_that_fails_leaves_the_old_labels(root, store, monkeypatch):
    version = store.write("00", stroke(0), NEW, COLORS)

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        store.write("00", stroke(1), version, COLORS)
    monkeypatch.undo()
    assert store.version("00") == version and (store.read("00", 4)[0] == stroke(0)).all()
    assert [path.name for path in (root / "labels").iterdir()] == ["00.png"]


def test_an_unknown_photo_is_never_a_path(store):
    for name in ("../00", "/etc/passwd", "..", "", "00.jpg"):
        with pytest.raises(UnknownPhotoError):
            store.read(name, 4)


# Classes


def test_classes_start_with_none_and_are_an_ordinary_file(tmp_path):
    make_folder(tmp_path, 1, "64x32")
    file = ClassFile(PhotoFolder(tmp_path))
    assert file.read() == (None, NEW) and file.names() == ()
    space, version = file.write([{"name": "road"}, {"name": "sky", "color": [1, 2, 3]}, {"name": "background"}], NEW)
    assert space.names == ("road", "sky", "background") and space.colors[1] == (1, 2, 3)
    assert len(set(space.colors)) == 3
    more, _ = file.write([*({"name": n} for n in space.names), {"name": "car"}], version)
    assert more.names[3] == "car"
    with pytest.raises(ConflictError):
        file.write([{"name": "x"}], version)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "0 classes: give 1 to 254"),
        ([{"name": " "}], "is no class"),
        ([{"name": "x" * 81}], "is no class"),
        ([{"name": "a\nb"}], "is no class"),
        ([["road"]], "is no class"),
        ([{"name": "a"}, {"name": "a"}], "two classes are named 'a'"),
        ([{"name": "a", "color": [0, 0, 256]}], "has the color"),
        ([{"name": "a"}], "none can be removed"),
    ],
)
def test_bad_classes_are_refused(root, rows, words):
    file = ClassFile(PhotoFolder(root))
    before, version = file.read()
    with pytest.raises(PromptsegError, match=words):
        file.write(rows, version)
    assert file.read() == (before, version)


def test_other_fields_of_the_file_stay(root):
    (root / "classes.json").write_text(json.dumps({"dataset": "my town", "classes": ["a"]}))
    file = ClassFile(PhotoFolder(root))
    space, _ = file.write([{"name": "b"}], file.read()[1])
    assert (space.name, space.names) == ("my town", ("b",))


# Records and the score


def test_confirmed_photos_are_a_list_that_the_command_line_reads(root, store):
    records = Records(PhotoFolder(root))
    for id_ in ("02", "00"):
        store.write(id_, stroke(1), NEW, COLORS)
        records.confirm(id_, True)
    assert records.confirmed() == ("02", "00")
    assert {sample.id for sample in load_dataset(f"{root}?train=confirmed").train} == {"00", "02"}
    records.confirm("02", False)
    assert records.confirmed() == ("00",)


def test_the_score_is_of_predictions_made_before_and_against_zero_shot(root):
    records = Records(PhotoFolder(root))
    truth = np.repeat(np.array([[0, 0, 1, 1]], np.uint8), 4, 0)
    good, bad = truth.copy(), np.zeros_like(truth)
    names = ("a", "b")
    assert score(records.all(), (), names) is None
    records.change("00", number=1, held=0, learned=confusion(truth, bad, names), zero_shot=confusion(truth, bad, names))
    records.confirm("00", True)
    assert score(records.all(), records.confirmed(), names) is None  # predicted from nothing
    records.change(
        "01", number=2, held=1, learned=confusion(truth, good, names), zero_shot=confusion(truth, bad, names)
    )
    records.confirm("01", True)
    found = score(records.all(), records.confirmed(), names)
    assert found["learned"] == 1 and found["zero_shot"] == pytest.approx(0.25) and found["photos"] == 1
    assert found["zero_shot_classes"] == [0.5, 0.0] and found["words"] == "better than zero-shot"
    records.change(
        "02", number=3, held=2, learned=confusion(truth, bad, names), zero_shot=confusion(truth, good, names)
    )
    records.confirm("02", True)
    found = score(records.all(), records.confirmed(), (*names, "new"))
    assert found["learned"] == pytest.approx((16 / 24 + 8 / 16) / 2) and len(found["history"]) == 2
    assert found["words"] == "no better than zero-shot so far" and found["classes"][2] is None


def test_a_prediction_is_held_as_it_was(root):
    records = Records(PhotoFolder(root))
    assert records.held("00") is None
    records.hold("00", stroke(3), 2)
    assert (records.held("00") == stroke(3)).all() and records.of("00").held == 2


# Regions


def test_regions_cover_the_photo_are_connected_and_follow_edges():
    photo = np.zeros((90, 130, 3), np.uint8)
    photo[:, 61:] = (250, 40, 10)
    photo[33:, :40] = (10, 200, 40)
    found = regions(photo, 15)
    assert found.shape == (90, 130) and (np.unique(found) == np.arange(found.max() + 1)).all()
    assert 20 < found.max() < 90
    for number in range(found.max() + 1):
        assert ndimage.label(found == number)[1] == 1
        assert len(np.unique(photo[found == number], axis=0)) == 1


def test_regions_follow_the_models_map_where_the_photo_is_even():
    maps = np.zeros((5, 12, 16), np.float32)
    maps[2, :, 8:] = 3
    even = np.full((96, 128, 3), 99, np.uint8)

    def over_the_edge(found):
        sides = [np.nonzero(found == n)[1] < 64 for n in range(found.max() + 1)]
        return sum(min(side.sum(), (~side).sum()) for side in sides) / found.size

    assert over_the_edge(regions(even, 24)) > 0.05 > 0.02 > over_the_edge(regions(even, 24, maps))


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (7, 5)])
def test_regions_of_small_photos(size):
    assert regions(np.zeros((*size, 3), np.uint8), 24).shape == size


def test_regions_of_a_large_photo_have_its_size():
    found = regions(np.random.default_rng(0).integers(0, 255, (1500, 2200, 3), np.uint8), 100)
    assert found.shape == (1500, 2200) and found.max() > 100


# What next


def outlook(middle, sureness=0.5, change=0.0):
    return Outlook(np.array(middle, np.float32), sureness, change)


def test_first_one_of_every_group_then_the_unsure():
    rng = np.random.default_rng(0)
    centres = {"a": (0, 0), "b": (50, 0), "c": (0, 50)}
    seen = {
        f"{name}{i}": outlook(np.array(centre) + rng.normal(0, 0.1, 2), sureness=0.1 * (i + 1))
        for name, centre in centres.items()
        for i in range(3)
    }
    order = offers(seen, ())
    assert {offer.id[0] for offer in order[:3]} == {"a", "b", "c"} and "typical of 3" in order[0].why
    assert sorted(offer.id for offer in order) == sorted(seen)
    after = offers(seen, {"a0", "b0", "c0"})
    assert [offer.id[1] for offer in after] == ["1", "1", "1", "2", "2", "2"] and "unsure" in after[0].why


def test_a_photo_the_model_changed_its_mind_on_comes_early():
    seen = {name: outlook((i, 0), 0.9) for i, name in enumerate("abcd")} | {"e": outlook((9, 0), 0.9, change=0.6)}
    order = offers(seen, set("abcd"))
    assert order[0].id == "e"
    few = {"a": outlook((0, 0), 0.9), "b": outlook((0, 0), 0.9, change=0.6)}
    assert "changed its mind on 60 %" in offers(few, {"a"})[0].why


def test_no_photos_no_offers_and_one_photo_one():
    assert offers({}, ()) == []
    assert [offer.id for offer in offers({"a": outlook((1, 2))}, ())] == ["a"]


def test_what_a_proposal_was_poured_into_is_known_until_that_is_undone(store):
    drawn = store.write("00", labels_of(1), NEW, COLORS)
    poured = store.write("00", labels_of(2), drawn, COLORS)
    later = store.write("00", labels_of(3), poured, COLORS)
    assert store.before("00", poured) == drawn and store.before("00", drawn) == NEW
    assert (store.at("00", drawn, 4) == 1).all() and (store.at("00", later, 4) == 3).all()
    store.step("00", -1, later)
    assert store.before("00", poured) == drawn
    store.step("00", -1, poured)
    assert store.before("00", poured) is None
    store.step("00", 1, drawn)
    assert store.before("00", poured) == drawn
