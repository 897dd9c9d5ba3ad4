import hashlib
import os
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from promptseg.data.formats.cityscapes import CITYSCAPES_19
from promptseg.data.registry import load_dataset
from promptseg.data.streets.dataset import StreetSample, cache_path
from promptseg.data.streets.scene import Scene, generate_scene
from promptseg.errors import PromptsegError
from promptseg.label_space import IGNORE

CONDITIONS = ("clear", "fog", "night", "rain", "snow")
ADVERSE = CONDITIONS[1:]
# A change of these means a change of every published number: raise the cache's VERSION with it.
LABELS_HASH = "e0599c73d3c281a0"
IMAGE_HASHES = {
    "clear": "53570db9ab8c7c6b",
    "fog": "f742b07ac389895a",
    "night": "6e77ee1ed48902cf",
    "rain": "1216d80316fa4f60",
    "snow": "29388c897e899973",
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PROMPTSEG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [generate_scene("clear", f"clear/train/0/{i}") for i in range(60)]


def sha256(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_seed_gives_the_same_pixels_everywhere(condition):
    scene = generate_scene(condition, "pin")
    assert sha256(scene.image) == IMAGE_HASHES[condition]
    assert sha256(scene.semantic) == LABELS_HASH


def test_conditions_share_the_street_but_not_the_photo():
    scenes = [generate_scene(condition, 7) for condition in CONDITIONS]
    for scene in scenes[1:]:
        np.testing.assert_array_equal(scene.semantic, scenes[0].semantic)
        np.testing.assert_array_equal(scene.panoptic.map, scenes[0].panoptic.map)
        np.testing.assert_array_equal(scene.depth, scenes[0].depth)
    assert len({sha256(scene.image) for scene in scenes}) == len(CONDITIONS)


def test_other_seeds_give_other_streets():
    assert len({sha256(generate_scene("clear", seed).semantic) for seed in (1, 2, "2b", 3)}) == 4


def test_panoptic_and_semantic_agree_everywhere(scenes):
    for scene in scenes[:20]:
        panoptic = scene.panoptic
        assert panoptic.map.dtype == np.int32 and scene.semantic.dtype == np.uint8
        class_of = np.full(panoptic.map.max() + 1, IGNORE, dtype=np.uint8)
        for segment in panoptic.segments:
            assert (panoptic.map == segment.id).any() and not segment.is_crowd
            class_of[segment.id] = segment.class_id
        np.testing.assert_array_equal(class_of[panoptic.map], scene.semantic)
        np.testing.assert_array_equal(panoptic.map == 0, scene.semantic == IGNORE)


def test_stuff_is_one_segment_and_things_are_many(scenes):
    things_of_one_class = 0
    for scene in scenes:
        classes = [segment.class_id for segment in scene.panoptic.segments]
        stuff = [c for c in classes if c not in CITYSCAPES_19.thing_ids]
        assert len(stuff) == len(set(stuff))
        things_of_one_class = max(things_of_one_class, classes.count(CITYSCAPES_19.names.index("car")))
    assert things_of_one_class >= 4


def test_every_class_can_be_learnt_from_few_shots(scenes):
    pixels = np.stack([np.bincount(scene.semantic.ravel(), minlength=256) for scene in scenes])
    shares = {name: float((pixels[:, i] >= 40).mean()) for i, name in enumerate(CITYSCAPES_19.names)}
    assert {name: share for name, share in shares.items() if share < 0.1} == {}
    assert 0 < pixels[:, IGNORE].sum() < 0.05 * pixels.sum()


def test_things_are_never_a_handful_of_pixels(scenes):
    for scene in scenes:
        for segment in scene.panoptic.segments:
            if segment.class_id in CITYSCAPES_19.thing_ids:
                assert (scene.panoptic.map == segment.id).sum() >= 12


@pytest.mark.parametrize("size", [(64, 32), (200, 77), (90, 120)])
@pytest.mark.parametrize("condition", CONDITIONS)
def test_any_size(condition, size):
    scene = generate_scene(condition, 3, size)
    height, width = size
    assert scene.image.shape == (height, width, 3) and scene.image.dtype == np.uint8
    assert scene.semantic.shape == scene.panoptic.map.shape == scene.depth.shape == (height, width)
    assert not (scene.semantic[-1] == CITYSCAPES_19.names.index("sky")).any()


def test_depth_grows_towards_the_horizon_and_the_sky_is_farthest(scenes):
    for scene in scenes[:10]:
        sky = scene.semantic == CITYSCAPES_19.names.index("sky")
        assert scene.depth.min() > 0
        assert not sky.any() or (scene.depth[sky] == scene.depth.max()).all()
        road = np.where(scene.semantic == CITYSCAPES_19.names.index("road"), scene.depth, np.nan)
        rows = np.nanmedian(road[-50:-20], axis=1)
        assert (np.diff(rows) < 0).all()


def contrast(image: np.ndarray, where: np.ndarray) -> float:
    return float(image[where].astype(float).std())


def test_fog_takes_contrast_from_far_things_first():
    near_kept, far_kept = [], []
    for seed in range(8):
        clear, fog = generate_scene("clear", seed), generate_scene("fog", seed)
        solid = clear.semantic != CITYSCAPES_19.names.index("sky")
        near, far = solid & (clear.depth < 12), solid & (clear.depth > 50)
        near_kept.append(contrast(fog.image, near) / contrast(clear.image, near))
        far_kept.append(contrast(fog.image, far) / contrast(clear.image, far))
    assert np.mean(far_kept) < 0.6 * np.mean(near_kept)


def test_night_is_dark_and_snow_whitens_the_ground():
    ground = [CITYSCAPES_19.names.index(name) for name in ("sidewalk", "terrain")]
    darker = []
    for seed in range(6):
        clear, night, snow = (generate_scene(c, seed) for c in ("clear", "night", "snow"))
        darker.append(night.image.mean() / clear.image.mean())
        where = np.isin(clear.semantic, ground)
        assert snow.image[where].mean() > clear.image[where].mean()
    assert max(darker) < 0.75 and np.mean(darker) < 0.6


def test_unknown_condition_lists_the_choices():
    with pytest.raises(PromptsegError, match="'hail'.*clear, fog, night, rain, snow"):
        generate_scene("hail", 0)


def test_default_splits_are_disjoint():
    dataset = load_dataset("streets:fog")
    assert [len(s) for s in (dataset.train, dataset.val, dataset.test)] == [200, 60, 60]
    assert dataset.label_space is CITYSCAPES_19
    ids = [sample.id for split in (dataset.train, dataset.val, dataset.test) for sample in split]
    assert ids[17] == "fog/train/00017" and len(set(ids)) == len(ids)
    firsts = {sha256(split[0].semantic()) for split in (dataset.train, dataset.val, dataset.test)}
    assert len(firsts) == 3


def test_groups_interleave_their_conditions_and_share_samples():
    assert [s.id for s in load_dataset("streets:adverse?train=5").train] == [
        *(f"{c}/train/00000" for c in ADVERSE),
        "fog/train/00001",
    ]
    assert {s.id.split("/")[0] for s in load_dataset("streets:all?val=5").val} == set(CONDITIONS)
    mixed, plain = load_dataset("streets:adverse?train=4").train[1], load_dataset("streets:night?train=1").train[0]
    np.testing.assert_array_equal(mixed.image(), plain.image())


def test_size_and_seed_are_honoured():
    base = load_dataset("streets:rain?size=96x64&test=1").test[0]
    assert base.image().shape == (64, 96, 3) and base.semantic().shape == (64, 96)
    other = load_dataset("streets:rain?size=96x64&test=1&seed=1").test[0]
    assert (base.semantic() != other.semantic()).any()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("streets:mist", "'mist'.*adverse, all, clear, fog, night, rain, snow"),
        ("streets:fog?colour=red", "'colour'.*seed, size, test, train, val"),
        ("streets:fog?size=256", "size=256: not WIDTHxHEIGHT"),
        ("streets:fog?size=8x8", "size=8x8.*32 to 4096"),
        ("streets:fog?train=many", "train=many: not a whole number"),
        ("streets:fog?seed=-1", "seed=-1: not a whole number"),
    ],
)
def test_wrong_specs_say_what_is_expected(spec, message):
    with pytest.raises(PromptsegError, match=message) as error:
        load_dataset(spec)
    assert "\n" not in str(error.value)


def sample_of(number: int = 0) -> StreetSample:
    sample = load_dataset("streets:snow?size=96x64").train[number]
    assert isinstance(sample, StreetSample)
    return sample


def test_cached_and_generated_scenes_are_equal():
    sample = sample_of()
    scene = generate_scene(*sample.key)
    for _ in range(2):
        np.testing.assert_array_equal(sample.image(), scene.image)
        np.testing.assert_array_equal(sample.semantic(), scene.semantic)
        np.testing.assert_array_equal(sample.panoptic().map, scene.panoptic.map)
        assert sample.panoptic().segments == scene.panoptic.segments
        assert cache_path(sample.key).is_file()


def test_reading_does_not_generate_again(monkeypatch):
    sample = sample_of()
    image = sample.image()
    monkeypatch.setattr("promptseg.data.streets.dataset.generate_scene", None)
    np.testing.assert_array_equal(sample.image(), image)


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "text"])
def test_a_damaged_cache_file_is_made_again(damage):
    sample = sample_of()
    image = sample.image()
    path = cache_path(sample.key)
    whole = path.read_bytes()
    middle = len(image.tobytes()) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :]
    path.write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "flipped": flipped, "text": b"hello"}[damage])
    np.testing.assert_array_equal(sample.image(), image)
    assert path.read_bytes() == whole


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("PROMPTSEG_CACHE", str(blocked))
    sample = sample_of()
    np.testing.assert_array_equal(sample.image(), generate_scene(*sample.key).image)


def _hashes(folder: str) -> list[str]:
    os.environ["PROMPTSEG_CACHE"] = folder
    return [sha256(sample_of(i).image()) for i in range(6)]


def test_two_processes_share_a_cache(tmp_path):
    with get_context("spawn").Pool(2) as pool:
        first, second = pool.map(_hashes, [str(tmp_path)] * 2)
    assert first == second
    assert not list(tmp_path.rglob(".*.npz"))


@pytest.mark.slow
def test_every_class_has_sixteen_shots_in_every_default_train_split():
    for condition in CONDITIONS:
        counts = np.zeros(256, dtype=int)
        for sample in load_dataset(f"streets:{condition}").train:
            counts += np.bincount(sample.semantic().ravel(), minlength=256) >= 40
        assert counts[:19].min() >= 16, condition
