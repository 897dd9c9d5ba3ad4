"""Photos and label maps read back from files of every kind, and resized."""

import struct
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from promptseg import PromptsegError
from promptseg.data import images
from promptseg.data.images import image_size, read_image, read_labels, resize_image, resize_labels

RNG = np.random.default_rng(0)
PHOTO = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)
IDS = RNG.integers(0, 5, (6, 9), dtype=np.uint8)


def smooth(height=48, width=64):
    """A photo that JPEG keeps within a few grey levels."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 3, y * 4, 255 - x * 2], axis=-1).astype(np.uint8)


def saved(path, array, **options):
    Image.fromarray(array).save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
def test_lossless_formats_come_back_as_they_were(tmp_path, suffix):
    path = saved(tmp_path / f"a.{suffix}", PHOTO)
    assert np.array_equal(read_image(path), PHOTO)
    assert read_image(str(path)).dtype == np.uint8


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_lossy_formats_come_back_nearly(tmp_path, suffix):
    read = read_image(saved(tmp_path / f"a.{suffix}", smooth(), quality=95))
    assert np.abs(read.astype(int) - smooth()).mean() < 4


def test_the_array_belongs_to_the_caller(tmp_path):
    read = read_image(saved(tmp_path / "a.png", PHOTO))
    read[:] = 0
    assert read.sum() == 0


# Where the corners of the stored picture go, by EXIF orientation (CIPA DC-008, table of tag 274).
TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: a.transpose(1, 0, 2)[:, ::-1],
    7: lambda a: a.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda a: a.transpose(1, 0, 2)[::-1],
}


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_exif_orientation_turns_the_photo_and_its_size(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / f"a.{suffix}", PHOTO, exif=exif)
    expected = TURNS[orientation](PHOTO)
    assert np.array_equal(read_image(path), expected)
    assert image_size(path) == expected.shape[:2]


@pytest.mark.parametrize("orientation", [1, 6, 8])
def test_exif_orientation_of_a_jpeg(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / "a.jpg", smooth(), exif=exif, quality=95)
    expected = TURNS[orientation](smooth())
    assert np.abs(read_image(path).astype(int) - expected).mean() < 4
    assert image_size(path) == expected.shape[:2]


def test_grey_becomes_three_equal_channels(tmp_path):
    read = read_image(saved(tmp_path / "a.png", PHOTO[..., 0]))
    assert np.array_equal(read, np.repeat(PHOTO[..., :1], 3, axis=2))


def test_black_and_white_photo(tmp_path):
    read = read_image(saved(tmp_path / "a.png", PHOTO[..., 0] > 128))
    assert np.array_equal(read[..., 0], np.where(PHOTO[..., 0] > 128, 255, 0))


def test_palette_photo_gives_its_colours(tmp_path):
    picture = Image.fromarray(IDS)
    picture.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120, 130, 140, 150])
    picture.save(tmp_path / "a.png")
    read = read_image(tmp_path / "a.png")
    assert np.array_equal(read, np.arange(10, 160, 10).reshape(5, 3)[IDS])


def test_transparent_pixels_lie_over_white(tmp_path):
    alpha = np.full((6, 9, 1), 255, np.uint8)
    alpha[0] = 0
    read = read_image(saved(tmp_path / "a.png", np.concatenate([PHOTO, alpha], axis=2)))
    assert (read[0] == 255).all() and np.array_equal(read[1:], PHOTO[1:])


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bit_grey_is_scaled_not_stretched(tmp_path, suffix):
    values = np.array([[0, 128, 129, 257 * 100, 65535]], np.uint16)
    read = read_image(saved(tmp_path / f"a.{suffix}", values))
    assert read[0, :, 0].tolist() == [0, 0, 1, 100, 255]


def test_cmyk_jpeg(tmp_path):
    Image.fromarray(smooth()).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - smooth()).mean() < 6


def test_first_frame_of_a_photo_with_several(tmp_path):
    frames = [Image.fromarray(smooth()), Image.fromarray(255 - smooth())]
    frames[0].save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=frames[1:], quality=95)
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - smooth()).mean() < 4


def test_eight_bit_labels(tmp_path):
    ids = IDS.copy()
    ids[0] = 255
    read = read_labels(saved(tmp_path / "a.png", ids))
    assert read.dtype == np.uint8 and np.array_equal(read, ids)


def test_palette_labels_give_the_index_not_the_colour(tmp_path):
    picture = Image.fromarray(IDS)
    picture.putpalette([200, 0, 0, 0, 200, 0, 0, 0, 200, 9, 9, 9, 1, 1, 1])
    picture.save(tmp_path / "a.png")
    assert np.array_equal(read_labels(tmp_path / "a.png"), IDS)


def test_sixteen_bit_labels(tmp_path):
    assert np.array_equal(read_labels(saved(tmp_path / "a.png", IDS.astype(np.uint16))), IDS)


def write_broken(path, kind):
    """A file that cannot be read, by kind."""
    match kind:
        case "empty":
            path.write_bytes(b"")
        case "text":
            path.write_text("not a photo")
        case "cut":
            saved(path, RNG.integers(0, 256, (60, 90), dtype=np.uint8))
            path.write_bytes(path.read_bytes()[:2000])
        case "header only":
            saved(path, PHOTO)
            path.write_bytes(path.read_bytes()[:20])
        case "folder":
            path.mkdir()


@pytest.mark.parametrize("read", [read_image, read_labels])
@pytest.mark.parametrize("kind", ["missing", "empty", "text", "cut", "header only", "folder"])
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_broken_files_are_named_in_one_line(tmp_path, read, kind, suffix):
    path = tmp_path / f"a.{suffix}"
    write_broken(path, kind)
    with pytest.raises(PromptsegError) as error:
        read(path)
    message = str(error.value)
    reasons = ("no such file", "not an image that can be read", "cannot be read (", "a JPEG file")
    assert message.removeprefix(f"{path}: ").startswith(reasons)
    assert message.startswith(f"{path}: ") and "\n" not in message and "; " in message


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif", "bmp"])
def test_damaged_bytes_give_a_photo_or_our_error(tmp_path, suffix):
    whole = saved(tmp_path / f"a.{suffix}", smooth()).read_bytes()
    rng = np.random.default_rng(1)
    for _ in range(60):
        damaged = bytearray(whole)
        for place in rng.integers(0, min(len(whole), 300), 4):
            damaged[place] = rng.integers(256)
        (tmp_path / "b").write_bytes(damaged)
        for read in (read_image, read_labels, image_size):
            with suppress(PromptsegError):
                assert read(tmp_path / "b") is not None


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (PHOTO, "holds RGB pixels, where one class id per pixel was expected; save it as an 8-bit grey or palette PNG"),
        (np.dstack([PHOTO, IDS]), "holds RGBA pixels"),
        (IDS.astype(np.uint16) * 100, "holds the id 400, where 0..255 was expected"),
    ],
)
def test_labels_that_are_no_ids(tmp_path, array, said):
    with pytest.raises(PromptsegError, match=said):
        read_labels(saved(tmp_path / "a.png", array))


def test_labels_must_be_lossless(tmp_path):
    path = tmp_path / "a.png"
    saved(tmp_path / "a.jpg", IDS).rename(path)
    with pytest.raises(PromptsegError, match="a JPEG file, where labels must be PNG"):
        read_labels(path)


def test_floating_point_photo_is_refused(tmp_path):
    with pytest.raises(PromptsegError, match="floating-point"):
        read_image(saved(tmp_path / "a.tif", np.ones((4, 4), np.float32)))


def test_photos_over_the_limit_are_refused_before_decoding(tmp_path, monkeypatch):
    path = saved(tmp_path / "a.png", PHOTO)
    monkeypatch.setattr(images, "MAX_PIXELS", PHOTO.shape[0] * PHOTO.shape[1])
    assert read_image(path).shape == PHOTO.shape
    monkeypatch.setattr(images, "MAX_PIXELS", PHOTO.shape[0] * PHOTO.shape[1] - 1)
    with pytest.raises(PromptsegError, match="over 53 pixels; shrink it"):
        read_image(path)


def test_a_bomb_by_pillows_measure_is_the_same_error(tmp_path):
    path = saved(tmp_path / "a.bmp", PHOTO)
    header = bytearray(path.read_bytes())
    header[18:26] = struct.pack("<ii", 20000, 20000)  # width and height of the BITMAPINFOHEADER
    path.write_bytes(header)
    with pytest.raises(PromptsegError, match="over 80,000,000 pixels"):
        read_image(path)


def test_resize_labels_brings_no_new_id():
    labels = RNG.choice(np.array([0, 7, 255], np.uint8), (30, 40))
    small = resize_labels(labels, (15, 11))
    assert small.shape == (15, 11) and set(np.unique(small)) <= {0, 7, 255}
    assert np.array_equal(resize_labels(small, (45, 33)), small.repeat(3, axis=0).repeat(3, axis=1))


def test_resize_image_to_its_own_size_changes_nothing():
    assert np.array_equal(resize_image(PHOTO, (6, 9)), PHOTO)


def test_resize_image_averages_when_it_shrinks():
    stripes = np.zeros((8, 16, 3), np.uint8)
    stripes[:, ::2] = 200
    small = resize_image(stripes, (2, 4))
    assert small.shape == (2, 4, 3) and np.abs(small.astype(int) - 100).max() <= 15
