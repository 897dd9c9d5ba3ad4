"""Real files of the data sets, where a few of them lie beside the repository: counted pixels must come out exactly."""

import json
import shutil

import numpy as np
import pytest
import trees
from PIL import Image
from places import SHARED

import promptseg
from promptseg.data.check import check_dataset

SAMPLES = SHARED / "samples"
pytestmark = pytest.mark.skipif(not SAMPLES.is_dir(), reason="no samples beside the repository")

# The largest classes of each map in pixels, counted in the raw files and named by hand from the published lists.
COUNTED = {
    "ade20k": {
        "training/ADE_train_00000001": {"ceiling": 166409, "wall": 61273, "floor": 40786, 255: 34427},
        "validation/ADE_val_00000001": {"sky": 134492, "building": 123406, "grass": 53099, "wall": 14538, "tree": 8784},
        "validation/ADE_val_00000002": {"sky": 85997, "building": 49211, "tree": 20293, 255: 17280},
        "validation/ADE_val_00000003": {"road": 30083, "sky": 27749, "sidewalk": 22518, "building": 9024},
    },
    "pascal_context": {
        "2008_008376": {"grass": 62440, "ground": 56534, "bird": 28373, "water": 17992, "wood": 1161},
        "2009_000637": {"sky": 69856, "grass": 43704, "person": 38072, "motorbike": 32725, 255: 20246},
        "2010_000682": {"road": 39595, "bus": 35318, "building": 27642, "tree": 13896},
        "2010_003321": {"floor": 87412, "wall": 33379, "person": 18227, "cloth": 15052, "dog": 9560},
    },
}


@pytest.mark.parametrize("name", COUNTED)
def test_pixels_of_each_class(name):
    data = promptseg.load_dataset(f"{name}:{SAMPLES / name}")
    samples = {s.id: s for s in (*data.train, *data.val)}
    assert samples.keys() == COUNTED[name].keys()
    for id_, expected in COUNTED[name].items():
        labels = samples[id_].semantic()
        for key, pixels in expected.items():
            class_id = data.label_space.names.index(key) if isinstance(key, str) else key
            assert (labels == class_id).sum() == pixels, (id_, key)


@pytest.mark.parametrize(("name", "folder"), [("coco_panoptic", "coco_panoptic"), ("coco_panoptic", "coco_stuff21")])
def test_segments_have_the_areas_that_their_json_states(name, folder):
    data = promptseg.load_dataset(f"{name}:{SAMPLES / folder}")
    stated = {}
    for path in (SAMPLES / folder / "annotations").glob("*.json"):
        content = json.loads(path.read_text())
        things = {c["id"] for c in content["categories"] if c["isthing"]}
        stated |= {a["file_name"].removesuffix(".png"): (a["segments_info"], things) for a in content["annotations"]}
    seen = 0
    for sample in (*data.train, *data.val):
        segments, things = stated[sample.id.rpartition("/")[2]]
        panoptic = sample.panoptic()
        area = dict(zip(*np.unique(panoptic.map, return_counts=True), strict=True))
        for segment in segments:
            if segment["category_id"] in things:
                assert area[segment["id"]] == segment["area"]
                seen += 1
        crowds = {s["id"] for s in segments if s["iscrowd"]}
        assert {s.id for s in panoptic.segments if s.is_crowd} == crowds
        assert ((panoptic.map == 0) == (sample.semantic() == 255)).all()
    assert seen > 20


def test_coco_has_its_133_classes():
    space = promptseg.load_dataset(f"coco_panoptic:{SAMPLES / 'coco_panoptic'}").label_space
    assert len(space) == 133 and space.thing_ids == tuple(range(80))
    assert (space.names[0], space.names[80], space.names[132]) == ("person", "banner", "rug")


def test_bdd100k_bitmask_against_its_coco_form(tmp_path):
    source = SAMPLES / "bdd100k_labels"
    for split in ("train", "val"):
        trees.photo(tmp_path / f"images/10k/{split}/a.jpg", shape=(720, 1280))
        for kind, file in (("sem_seg/masks", "sem_seg_mask.png"), ("pan_seg/bitmasks", "pan_seg_bitmask.png")):
            target = tmp_path / "labels" / kind / split / "a.png"
            target.parent.mkdir(parents=True)
            shutil.copy(source / file, target)
    sample = promptseg.load_dataset(f"bdd100k:{tmp_path}?classes=40").val[0]
    panoptic = sample.panoptic()
    pixels = np.array(Image.open(source / "pan_seg_coco.png")).astype(int)
    assert np.array_equal(panoptic.map, pixels[..., 0] + 256 * pixels[..., 1])
    listed = json.loads((source / "pan_seg_coco.json").read_text())["segments_info"]
    assert {(s.id, s.class_id + 1, s.is_crowd) for s in panoptic.segments} == {
        (s["id"], s["category_id"], s["iscrowd"]) for s in listed
    }
    narrow = promptseg.load_dataset(f"bdd100k:{tmp_path}").val[0]
    assert np.array_equal(narrow.semantic(), np.array(Image.open(source / "sem_seg_mask.png")))
    assert {s.class_id for s in narrow.panoptic().segments} <= set(np.unique(narrow.semantic()))


def test_small_cityscapes_of_another_tool():
    data = promptseg.load_dataset(f"cityscapes:{SAMPLES / 'micro/cityscapes'}")
    (train,), (val,) = data.train, data.val
    assert [(s.id, s.class_id, s.is_crowd) for s in train.panoptic().segments] == [(24001, 11, False)]
    assert val.panoptic().segments == () and (val.semantic() == 255).all()  # ids of the void class alone


@pytest.mark.parametrize(
    ("spec", "suspected"),
    [("pascal_context:pascal_context", []), ("pascal_context:pascal_context?order=fcn", ["order=alphabetical"]),
     ("ade20k:ade20k", []), ("coco_panoptic:coco_stuff21", [])],
)  # fmt: skip
def test_class_orders_of_real_labels(spec, suspected):
    name, _, rest = spec.partition(":")
    defects = [d.reason for d in check_dataset(f"{name}:{SAMPLES}/{rest}").defects if "order" in d.reason]
    assert len(defects) == len(suspected) and all(s in d for s, d in zip(suspected, defects, strict=True))
