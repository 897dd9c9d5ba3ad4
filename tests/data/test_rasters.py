"""TIFF in windows and GeoTIFF: pixels as Pillow reads them, maps with the photo's place, photos over the limit."""

import json
import sys

import numpy as np
import pytest
from PIL import Image
from shapes import SPACE, ShapeSample
from tiny import tiny_folder

import promptseg
from promptseg.cli.main import run
from promptseg.data import images, photo_maps, photo_pixels
from promptseg.data import rasters as raster_files
from promptseg.data.file_sample import FileSample
from promptseg.data.images import read_image
from promptseg.data.photo_pixels import ArrayPixels, open_photo
from promptseg.data.rasters import Georeference, RasterPixels, is_raster, write_raster
from promptseg.engine.defaults import default_prompts
from promptseg.errors import PromptsegError

rasterio = pytest.importorskip("rasterio")

PLACE = {"crs": "EPSG:32633", "transform": rasterio.Affine(0.5, 0, 400_000, 0, -0.5, 5_800_000)}
PHOTO = ShapeSample(1, 96, 160).image()


def write(path, values, **about):
    """A TIFF of (H, W) or (H, W, bands), by rasterio itself."""
    values = values[..., None] if values.ndim == 2 else values
    height, width, count = values.shape
    given = {"driver": "GTiff", "height": height, "width": width, "count": count, "dtype": values.dtype, **about}
    with rasterio.open(path, "w", **given) as raster:
        raster.write(np.moveaxis(values, -1, 0))
    return path


@pytest.fixture
def small_limit(monkeypatch):
    """Photos of over 10,000 pixels are too large."""
    for module in (images, photo_maps, photo_pixels, raster_files):
        monkeypatch.setattr(module, "MAX_PIXELS", 10_000)


@pytest.fixture(scope="module")
def prompts(tmp_path_factory):
    root = tmp_path_factory.mktemp("prompts")
    default_prompts(promptseg.load_model(str(tiny_folder(root / "model")), device="cpu"), SPACE).save(root / "prompts")
    return root / "prompts"


@pytest.mark.parametrize("about", [{}, {"tiled": True, "blockxsize": 64, "blockysize": 32, "compress": "deflate"}])
@pytest.mark.parametrize("bands", [1, 3, 4])
def test_windows_are_what_pillow_reads(tmp_path, about, bands):
    alpha = np.arange(96 * 160, dtype=np.uint8).reshape(96, 160, 1)
    values = {1: PHOTO[..., :1], 3: PHOTO, 4: np.concatenate((PHOTO, alpha), 2)}[bands]
    more = {"photometric": "RGB"} if bands > 1 else {}
    path = write(tmp_path / "photo.tif", values, **about, **more, **PLACE)
    assert is_raster(path)
    pixels, whole = open_photo(path, tiled=False), read_image(path)
    assert isinstance(pixels, RasterPixels) and pixels.size == (96, 160)
    assert np.array_equal(pixels.read(slice(0, 96), slice(0, 160)), whole)
    assert np.array_equal(pixels.read(slice(10, 50), slice(30, 41)), whole[10:50, 30:41])
    assert pixels.picture(2000).shape == (34, 57, 3) and np.array_equal(pixels.picture(10**6), whole)


def test_sixteen_bits_and_further_bands(tmp_path):
    deep = write(tmp_path / "deep.tif", PHOTO[..., 0].astype(np.uint16) * 257, **PLACE)
    assert np.array_equal(RasterPixels(deep).read(slice(0, 96), slice(0, 160)), np.repeat(PHOTO[..., :1], 3, 2))
    infrared = np.concatenate((PHOTO, PHOTO[..., :2]), 2)
    path = write(tmp_path / "five.tif", infrared, photometric="RGB", **PLACE)
    assert np.array_equal(RasterPixels(path).read(slice(0, 96), slice(0, 160)), PHOTO)
    floats = write(tmp_path / "height.tif", PHOTO[..., 0].astype(np.float32), **PLACE)
    with pytest.raises(PromptsegError, match="float32 values"):
        RasterPixels(floats)


def test_whoever_reads_a_geotiff_sees_the_same_of_it(tmp_path):
    """Bands by their names and in any number, 16 bits, white as zero: for `predict` and for what is learned from."""
    named = {"photometric": "MINISBLACK"}
    blue_first = write(tmp_path / "blue.tif", PHOTO[..., ::-1], **named, **PLACE)
    with rasterio.open(blue_first, "r+") as raster:
        raster.colorinterp = [rasterio.enums.ColorInterp[name] for name in ("blue", "green", "red")]
    files = {
        blue_first: PHOTO,
        write(tmp_path / "five.tif", np.concatenate((PHOTO, PHOTO[..., :2]), 2), **named, **PLACE): PHOTO,
        write(tmp_path / "deep.tif", PHOTO.astype(np.uint16) * 257, **named, **PLACE): PHOTO,
        write(tmp_path / "big.tif", np.concatenate((PHOTO, PHOTO[..., :2]), 2), BIGTIFF="YES", **named, **PLACE): PHOTO,
        write(tmp_path / "white.tif", 255 - PHOTO[..., 0], photometric="MINISWHITE", **PLACE): PHOTO[..., [0, 0, 0]],
    }
    for path, expected in files.items():
        sample = FileSample("a", SPACE, path, tmp_path / "labels.png", lambda _: np.zeros((96, 160), np.uint8))
        assert np.array_equal(sample.image(), expected), path.name
        assert np.array_equal(open_photo(path, tiled=False).read(slice(0, 96), slice(0, 160)), expected), path.name
        assert photo_pixels.photo_size(path) == sample.semantic().shape == (96, 160)


def test_what_is_no_raster_is_read_by_pillow(tmp_path):
    Image.fromarray(PHOTO).save(tmp_path / "plain.tif")
    Image.fromarray(PHOTO).save(tmp_path / "photo.png")
    (tmp_path / "broken.tif").write_bytes(b"II*\0 nothing")
    assert not any(is_raster(tmp_path / name) for name in ("plain.tif", "photo.png", "broken.tif", "absent.tif"))
    assert isinstance(open_photo(tmp_path / "plain.tif", tiled=True), ArrayPixels)
    for name in ("broken.tif", "absent.tif"):
        with pytest.raises(PromptsegError, match=name):
            open_photo(tmp_path / name, tiled=True)


def test_maps_are_written_in_windows_with_their_place(tmp_path, monkeypatch):
    monkeypatch.setattr(raster_files, "_ROWS", 32)
    map_ = np.arange(96 * 160, dtype=np.int32).reshape(96, 160)
    place = Georeference(rasterio.CRS.from_epsg(32633).to_wkt(), tuple(PLACE["transform"])[:6])
    write_raster(tmp_path / "map.tif", map_, place)
    with rasterio.open(tmp_path / "map.tif") as raster:
        assert np.array_equal(raster.read(1), map_) and raster.dtypes == ("int32",)
        assert raster.crs == rasterio.CRS.from_epsg(32633) and raster.transform == PLACE["transform"]
    write_raster(tmp_path / "plain.tif", map_, Georeference(None, None))
    with rasterio.open(tmp_path / "plain.tif") as raster:
        assert raster.crs is None and raster.transform.is_identity


@pytest.mark.parametrize("task", ["semantic", "panoptic"])
def test_predict_keeps_the_place_of_a_geotiff(prompts, tmp_path, task):
    (tmp_path / "photos").mkdir()
    write(tmp_path / "photos/field.tif", PHOTO, photometric="RGB", **PLACE)
    Image.fromarray(PHOTO).save(tmp_path / "photos/plain.png")
    settings = ["--set", "object_threshold=0", "--set", "overlap_threshold=0"] if task == "panoptic" else []
    given = ["predict", str(tmp_path / "photos"), "--prompts", str(prompts), "--out", str(tmp_path / "out")]
    given += ["--task", task, *settings, "--tile", "64"]
    assert run(given) == 0
    folder = tmp_path / "out" / {"semantic": "labels", "panoptic": "panoptic"}[task]
    assert sorted(file.name for file in folder.iterdir()) == ["field.tif", "plain.png"]
    assert (tmp_path / "out/overlays/field.jpg").is_file()
    with rasterio.open(folder / "field.tif") as raster, Image.open(folder / "plain.png") as picture:
        assert raster.transform == PLACE["transform"] and raster.crs == rasterio.CRS.from_epsg(32633)
        values, other = raster.read(1), np.asarray(picture).astype(np.int32)
        assert np.array_equal(values, other if task == "semantic" else other @ [1, 256, 65536])
        if task == "semantic":
            assert raster.colormap(1)[1][:3] == SPACE.colors[1]
    if task == "panoptic":
        content = json.loads((tmp_path / "out/panoptic.json").read_text())
        assert [entry["file_name"] for entry in content["annotations"]] == ["field.tif", "plain.png"]
    before = (folder / "field.tif").stat().st_mtime_ns
    assert run(given) == 0 and (folder / "field.tif").stat().st_mtime_ns == before


def test_photos_over_the_limit_are_labelled_in_windows_alone(prompts, tmp_path, small_limit, capsys):
    Image.fromarray(PHOTO).save(tmp_path / "large.tif")
    Image.fromarray(PHOTO).save(tmp_path / "large.png")
    loaded = promptseg.Prompts.load(prompts)
    model = promptseg.load_model(loaded.model_id, device="cpu")
    found = promptseg.predict(model, loaded, tmp_path / "large.tif", tile=64, overlap=8)
    assert isinstance(found, np.memmap)
    assert np.array_equal(found, promptseg.predict(model, loaded, PHOTO, tile=64, overlap=8))
    given = ["predict", str(tmp_path / "large.tif"), "--prompts", str(prompts), "--out", str(tmp_path / "out")]
    assert run(given) == 2
    assert "over 10,000 pixels; label it tile by tile (--tile 1024)" in capsys.readouterr().err
    given[-1] = str(tmp_path / "tiled")
    assert run([*given, "--tile", "64"]) == 0
    with rasterio.open(tmp_path / "tiled/labels/large.tif") as raster:
        assert np.array_equal(raster.read(1), found) and raster.crs is None
    assert run(["predict", str(tmp_path / "large.png"), *given[2:-1], str(tmp_path / "no"), "--tile", "64"]) == 2
    assert "over 10,000 pixels" in capsys.readouterr().err


def test_without_rasterio_a_geotiff_is_refused_with_what_to_install(tmp_path, monkeypatch):
    path = write(tmp_path / "field.tif", PHOTO, photometric="RGB", **PLACE)
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(PromptsegError, match=r"pip install 'promptseg\[geo\]'"):
        open_photo(path, tiled=True)


def test_a_raster_that_ends_too_early_is_told_and_the_others_are_labelled(prompts, tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    for name in ("a", "b"):
        write(tmp_path / f"photos/{name}.tif", PHOTO, photometric="RGB", **PLACE)
    whole = (tmp_path / "photos/a.tif").read_bytes()
    (tmp_path / "photos/a.tif").write_bytes(whole[: len(whole) // 2])
    given = ["predict", str(tmp_path / "photos"), "--prompts", str(prompts), "--out", str(tmp_path / "out")]
    assert run([*given, "--tile", "64"]) == 2
    said = capsys.readouterr()
    assert "a.tif: cannot be read" in said.err and "1 of 2 photos labelled" in said.out
    assert [file.name for file in (tmp_path / "out/labels").iterdir()] == ["b.tif"]
