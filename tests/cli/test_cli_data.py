"""`promptseg data`: formats, checks, recorded draws and contact sheets from the command line."""

import json

import numpy as np
import pytest
import trees
from PIL import Image

from promptseg.cli.main import run
from promptseg.data.registry import FORMATS


def answer(capsys, *arguments):
    code = run([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_list_tells_layout_licence_and_variable_of_every_format(capsys):
    code, out, _ = answer(capsys, "data", "list")
    blocks = dict(zip(FORMATS, out.split("\n  licence: ")[:-1], strict=True))
    assert code == 0
    for name, entry in FORMATS.items():
        assert f"{name}:" in blocks[name] and entry.layout in blocks[name] and entry.licence in out
        assert (f"PROMPTSEG_{name.upper()}" in blocks[name]) == (name != "streets")


def test_check_writes_its_report(capsys, tmp_path):
    root = trees.ade20k(tmp_path / "ade")
    (root / "annotations/validation/ADE_val_00000001.png").unlink()
    code, out, _ = answer(capsys, "data", "check", f"ade20k:{root}", "--json", tmp_path / "report.json")
    report = json.loads((tmp_path / "report.json").read_text())
    errors = [d for d in report["defects"] if d["level"] == "error"]
    assert code == 2 and report["ok"] is False and "1 errors" in out
    assert [d["file"] for d in errors] == [str(root / "annotations/validation/ADE_val_00000001.png")]
    assert report["splits"]["train"]["pixels"]["wall"] == 6 and report["splits"]["train"]["unlabelled"] == 6


def test_a_recorded_draw_is_read_again(capsys, tmp_path):
    spec, record = f"acdc:{trees.acdc(tmp_path / 'acdc')}", tmp_path / "draw.json"
    _, drawn, _ = answer(capsys, "data", "draw", spec, "--shots", 2, "--seed", 3, "--out", record)
    code, again, err = answer(capsys, "data", "draw", spec, "--record", record)
    assert code == 0 and again == drawn and len(drawn.splitlines()) == 2
    assert "2 images" in err and "rule cover, k 2, seed 3" in err
    code, out, err = answer(capsys, "data", "draw", f"{spec}?condition=fog", "--record", record)
    assert code == 2 and not out and "ids are not in the data" in err
    code, _, err = answer(capsys, "data", "draw", spec, "--record", record, "--out", record)
    assert code == 2 and "give one of them" in err
    content = json.loads(record.read_text())
    record.write_text(json.dumps(content | {"ids": content["ids"][:1]}))
    code, _, err = answer(capsys, "data", "draw", spec, "--record", record)
    assert code == 2 and "do not fit its sha256" in err


@pytest.mark.parametrize(("build", "name", "columns"), [(trees.cityscapes, "cityscapes", 3),
                                                        (trees.pascal_context, "pascal_context", 2)])  # fmt: skip
def test_preview_shows_photos_classes_and_objects(capsys, tmp_path, build, name, columns):
    root, out = build(tmp_path / "data"), tmp_path / "sheet.png"
    code, said, _ = answer(capsys, "data", "preview", f"{name}:{root}", "--out", out, "--width", 90)
    sheet = np.asarray(Image.open(out))
    assert code == 0 and said == f"{out}\n"
    assert 90 * columns <= sheet.shape[1] < 90 * (columns + 1) and sheet.shape[0] > 60
    assert np.unique(sheet.reshape(-1, 3), axis=0).shape[0] > 20


def test_the_colours_of_a_preview(tmp_path):
    """Where a photo is black, the overlay is half the class's colour, and void stays black."""
    from promptseg import load_dataset
    from promptseg.reports.contact_sheet import contact_sheet

    root = trees.cityscapes(tmp_path)
    for path in root.rglob("*_leftImg8bit.png"):
        trees.paint(path, np.zeros((*trees.SHAPE, 3), np.uint8))
    sheet = contact_sheet(list(load_dataset(f"cityscapes:{root}").val), cell_width=60)
    top = next(y for y in range(len(sheet)) if (sheet[y, :60] == 0).all())
    void, road, cars = (sheet[top + y, 64 + 30] for y in (5, 15, 25))
    assert void.tolist() == [0, 0, 0] and road.tolist() == [64, 32, 64] and cars.tolist() == [0, 0, 71]
    crowd, left, right = sheet[top + 25, 150], sheet[top + 35, 140], sheet[top + 35, 180]
    assert crowd.tolist() == [0, 0, 0] and left.any() and right.any() and left.tolist() != right.tolist()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--out", "sheet.gif"), "--out sheet.gif: give a file that ends in .png or .jpg"),
        (("--out", "sheet.png", "--split", "test"), "has no images in split 'test': it has train, val"),
        (("--out", "sheet.png", "--count", "0"), "--count"),
    ],
)
def test_preview_refuses(capsys, tmp_path, arguments, said):
    code, out, err = answer(capsys, "data", "preview", f"cityscapes:{trees.cityscapes(tmp_path)}", *arguments)
    assert code == 2 and not out and said in err and err.count("\n") == 1


def test_data_check_names_the_bad_file(capsys, tmp_path):
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
        Image.fromarray(np.full((8, 8), 9, np.uint8)).save(tmp_path / kind / "a.png")
    (tmp_path / "classes.json").write_text('["sky"]')
    code, out, _ = answer(capsys, "data", "check", tmp_path)
    assert code == 2
    assert any(line.startswith("error: ") and "labels/a.png" in line for line in out.splitlines())
