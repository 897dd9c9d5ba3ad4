"""Tables and pictures, on values and masks small enough to draw by hand."""

import numpy as np
import pytest
from PIL import Image

from promptseg.data.images import write_labels
from promptseg.errors import PromptsegError
from promptseg.reports.outlines import labelled_overlay, outlined
from promptseg.reports.pictures import colorize, grid, legend, overlay, stack, write_picture
from promptseg.reports.tables import Table, change_table, class_table, percent, points
from promptseg.tasks.base import Region
from promptseg.tasks.semantic import class_shares

RED, BLUE = (200, 0, 0), (0, 0, 100)
LABELS = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 255], [1, 0, 0, 255]], np.uint8)
PHOTO = np.full((4, 4, 3), 100, np.uint8)


def test_colorize_paints_each_class_and_leaves_ignored_pixels_black():
    picture = colorize(LABELS, (RED, BLUE))
    assert picture.shape == (4, 4, 3) and picture.dtype == np.uint8
    assert picture[0, 0].tolist() == list(RED)
    assert picture[3, 0].tolist() == list(BLUE)
    assert picture[2, 3].tolist() == [0, 0, 0]


def test_colorize_refuses_an_id_without_a_class():
    with pytest.raises(PromptsegError, match="label id 7: expected 0..1 or 255"):
        colorize(np.full((4, 4), 7, np.uint8), (RED, BLUE))


def test_overlay_mixes_by_opacity_and_shows_the_photo_where_nothing_is_labelled():
    picture = overlay(PHOTO, LABELS, (RED, BLUE), opacity=0.25)
    assert picture[0, 0].tolist() == [125, 75, 75]
    assert picture[0, 2].tolist() == [75, 75, 100]
    assert picture[2, 3].tolist() == [100, 100, 100]
    assert (overlay(PHOTO, LABELS, (RED, BLUE), opacity=0.0) == PHOTO).all()


def test_overlay_refuses_labels_of_another_size():
    with pytest.raises(PromptsegError, match="sizes must match"):
        overlay(PHOTO, LABELS[:3], (RED, BLUE))


def test_label_file_holds_ids_and_shows_colours(tmp_path):
    write_labels(tmp_path / "a.png", LABELS, (RED, BLUE))
    image = Image.open(tmp_path / "a.png")
    assert image.mode == "P"
    assert (np.asarray(image) == LABELS).all()
    assert (np.asarray(image.convert("RGB")) == colorize(LABELS, (RED, BLUE))).all()


def test_picture_file_holds_the_pixels_and_nothing_else_is_left(tmp_path):
    picture = colorize(LABELS, (RED, BLUE))
    write_picture(tmp_path / "deep" / "a.png", picture)
    assert (np.asarray(Image.open(tmp_path / "deep" / "a.png")) == picture).all()
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.png"]


def test_legend_keeps_its_width_shows_every_colour_and_breaks_lines():
    wide, narrow = (legend(["road", "traffic light"], (RED, BLUE), width) for width in (400, 120))
    assert wide.shape[1] == 400 and narrow.shape[1] == 120
    assert narrow.shape[0] == 2 * wide.shape[0]
    for strip in (wide, narrow):
        for color in (RED, BLUE):
            assert (strip == color).all(-1).sum() >= 13 * 13


def test_legend_of_no_class_is_an_empty_strip():
    assert (legend([], [], 50) == 255).all()


def test_grid_puts_pictures_in_rows_and_columns():
    red, blue = (np.full((4, 8, 3), color, np.uint8) for color in (RED, BLUE))
    picture = grid([[red, blue], [blue, red]], ["one", "two"], cell_width=16)
    title = picture.shape[0] - (8 + 4 + 8)
    assert picture.shape[1] == 16 + 4 + 16
    corners = picture[title, 0], picture[title, -1], picture[-1, 0], picture[-1, -1]
    assert [corner.tolist() for corner in corners] == [list(RED), list(BLUE), list(BLUE), list(RED)]
    assert (picture[title:, 16:20] == 255).all()
    assert (picture[:title] < 255).any()


def test_stack_fills_the_narrower_picture():
    picture = stack([np.zeros((2, 6, 3), np.uint8), np.zeros((3, 4, 3), np.uint8)])
    assert picture.shape == (5, 6, 3)
    assert (picture[2:, 4:] == 255).all() and (picture[2:, :4] == 0).all()


def test_numbers_as_text():
    assert [percent(value) for value in (0.5, 0.12345, 0.0, None)] == ["50.0", "12.3", "0.0", "–"]
    assert [points(0.2, 0.25), points(0.25, 0.2), points(None, 0.2)] == ["+5.0", "-5.0", "–"]
    assert [points(0.0004, 0.0), points(0.10752, 0.03048)] == ["+0.0", "-7.8"]


def test_class_table_as_markdown():
    table = class_table({"road": 0.9, "a|b": None}, 0.9)
    assert table.to_markdown() == "| class | IoU |\n| --- | ---: |\n| road | 90.0 |\n| a\\|b | – |\n| mean | 90.0 |\n"


def test_change_table_on_a_terminal():
    results = [{"road": 0.5, "[car]": None}, {"road": 0.6, "[car]": 0.2}, {"road": 0.75, "[car]": 0.1}]
    table = change_table(("zero-shot", "ssprompt", "pixprompt"), results, (0.5, 0.4, 0.425), "fog")
    lines = [line.split() for line in table.to_text().splitlines()]
    assert ["road", "50.0", "60.0", "75.0", "+25.0"] in lines
    assert ["[car]", "–", "20.0", "10.0", "–"] in lines
    assert ["mean", "50.0", "40.0", "42.5", "-7.5"] in lines


@pytest.mark.parametrize("width", [10, 40, 80])
def test_a_table_too_wide_for_the_terminal_keeps_every_name_and_number(width):
    names = ("ssprompt:weight=0.5:start=normal, 16 shots", "coop")
    headers = ("method", *(f"score {column}" for column in range(9)))
    table = Table(headers, tuple((name, *(f"{column}.5 ± 0.1" for column in range(9))) for name in names))
    blocks = [block.splitlines() for block in table.to_text(width).split("\n\n")]
    seen = []
    for head, _, *rows in blocks:
        assert all(row.strip().startswith(name) for row, name in zip(rows, names, strict=True))
        assert len(head) <= max(width, 2 + len(names[0]) + 3 + len("0.5 ± 0.1"))
        seen += [cell for cell in rows[0].strip().removeprefix(names[0]).split("   ") if cell.strip()]
    assert [cell.strip() for cell in seen] == [f"{column}.5 ± 0.1" for column in range(9)]
    assert len(blocks) > 1 and len(table.to_text().split("\n\n")) == 1


def test_table_refuses_a_row_of_another_length():
    with pytest.raises(ValueError, match="2 cells"):
        Table(("a",), (("1", "2"),))


def test_class_shares_are_sorted_and_leave_out_what_is_not_there():
    labels = np.array([[1, 1, 1, 0]], np.uint8)
    assert list(class_shares(labels, ("road", "car", "sky")).items()) == [("car", 0.75), ("road", 0.25)]


def test_labelled_overlay_adds_a_legend_of_the_classes_that_occur():
    photo, labels = np.zeros((20, 200, 3), np.uint8), np.ones((20, 200), np.uint8)
    picture = labelled_overlay(photo, labels, ("road", "car"), (RED, BLUE))
    assert picture.shape[0] > 20 and picture.shape[1] == 200
    assert (picture[20:] == BLUE).all(-1).any() and not (picture[20:] == RED).all(-1).any()


def test_regions_are_tinted_outlined_and_labelled():
    photo = np.full((100, 200, 3), 100, np.uint8)
    left, behind = np.zeros((100, 200), bool), np.zeros((100, 200), bool)
    left[20:80, 10:90] = True
    behind[40:60, 60:190] = True
    picture = outlined(photo, [Region(lambda: left, RED, "car"), Region(lambda: behind, BLUE, "bus")], width=390)
    assert picture.shape == (200, 400, 3)
    assert (picture[40, 60:140] == RED).all() and (picture[90, 370:375] == (60, 60, 100)).all()
    assert picture[90, 170].tolist() == [round(0.6 * c + 0.4 * r) for c, r in zip((60, 60, 100), RED, strict=True)]
    assert (picture[0] == 100).all() and (picture[:, 0] == 100).all()
    one, both = (
        (p == (20, 20, 20)).all(-1).sum() for p in (outlined(photo, [Region(lambda: left, RED, "car")], 390), picture)
    )
    assert both > one + 100 > 200  # the dark boxes of the labels


def test_an_empty_region_and_a_label_at_the_edge_stay_inside():
    mask = np.zeros((30, 40), bool)
    mask[:2, 38:] = True
    picture = outlined(
        np.zeros((30, 40, 3), np.uint8),
        [Region(lambda: mask, RED, "traffic light"), Region(lambda: ~mask & False, BLUE, "x")],
    )
    assert picture.shape == (720, 960, 3) and (picture == 255).any()
