"""The page in a real browser: from a folder of photos without labels to an export that other programs read back."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from app_folder import make_folder
from pycocotools.coco import COCO

from promptseg import load_dataset
from promptseg.cli.main import run
from promptseg.data.images import read_labels

playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
expect = playwright.expect
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ARGUMENTS = ["--no-sandbox", "--headless", "--disable-gpu", "--disable-background-networking"]
WIDTH, HEIGHT = 640, 480
"""Of the photos."""
PICTURES = os.environ.get("PROMPTSEG_PICTURES")
"""Where to put the screenshots of the documents; they are taken anyway, and looked at for being there."""
SLOW = 240_000
"""Milliseconds: for a machine with other work to do."""
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: install the package chromium"),
]


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    """Twelve generated photos without labels, and the truth to draw from."""
    root = tmp_path_factory.mktemp("photos") / "town"
    return root, make_folder(root, 12, "640x480")


@pytest.fixture(scope="module")
def server(town):
    """The address of the running command."""
    command = [sys.executable, "-m", "promptseg", "app", str(town[0]), "--no-browser", "--port", "0", "--threads", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    lines = [process.stdout.readline() for _ in range(3)]
    yield re.search(r"http://\S+", lines[1])[0]
    process.send_signal(2)
    process.communicate(timeout=30)
    assert process.returncode == 130


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


class Page:
    """The page as a user has it, with what went wrong in it."""

    def __init__(self, browser, address: str, width: int = 1280, height: int = 720) -> None:
        self.at = browser.new_page(viewport={"width": width, "height": height})
        self.wrong: list[str] = []
        self.elsewhere: list[str] = []
        self.at.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.at.on("console", lambda message: message.type == "error" and self.wrong.append(message.text))
        self.at.on("request", lambda request: self._note(request.url))
        self.home = address.split("/?")[0]
        self.at.goto(address)

    def _note(self, url: str) -> None:
        if not url.startswith((self.home, "blob:", "data:")):
            self.elsewhere.append(url)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.at.keyboard.press(key)

    def says(self, place: str, words: str) -> None:
        expect(self.at.locator(place)).to_contain_text(re.compile(words), timeout=SLOW)

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a place of the photo, in shares of its sides, is on the screen: it is shown whole, in the middle."""
        frame = self.at.locator("#canvas").bounding_box()
        scale = min(frame["width"] / WIDTH, frame["height"] / HEIGHT) * 0.97
        middle = frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2
        return middle[0] + (x - 0.5) * WIDTH * scale, middle[1] + (y - 0.5) * HEIGHT * scale

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        mouse = self.at.mouse
        mouse.move(*self.place(*start))
        mouse.down()
        mouse.move(*self.place(*end), steps=6)
        mouse.up()

    def picture(self, name: str, folder: Path) -> None:
        """A screenshot, as a JPEG of the documents."""
        self.at.mouse.move(2, 715)
        self.at.wait_for_timeout(400)
        path = Path(PICTURES or folder) / f"app-{name}.jpg"
        self.at.screenshot(path=path, quality=82, type="jpeg")
        assert path.stat().st_size > 20_000

    def saved(self) -> None:
        expect(self.at.locator("#saved")).to_have_text("saved", timeout=SLOW)

    def paint(self, truth: np.ndarray) -> None:
        """Two strokes of each class, where the class is widest."""
        for class_id in range(4):
            rows = [(row.sum(), y) for y, row in enumerate(truth == class_id)]
            self.press(str(class_id + 1))
            for count, y in sorted(rows, reverse=True)[:120:80]:
                if count < 40:
                    continue
                x = np.flatnonzero(truth[y] == class_id)
                run_of = max(np.split(x, np.flatnonzero(np.diff(x) > 1) + 1), key=len)
                height, width = truth.shape
                ends = (run_of[0] + len(run_of) * 0.2) / width, (run_of[0] + len(run_of) * 0.8) / width
                self.drag((ends[0], (y + 0.5) / height), (ends[1], (y + 0.5) / height))


@pytest.fixture(scope="module")
def page(browser, server):
    found = Page(browser, server)
    yield found
    assert (found.wrong, found.elsewhere) == ([], [])


def on_disk(root: Path, photo: str) -> np.ndarray:
    return read_labels(root / f"labels/{photo}.png")


def photo_of(page: Page) -> str:
    return page.at.locator("#name").inner_text()


def test_1_classes_are_named_and_zero_shot_answers_at_once(page, town):
    page.at.wait_for_selector("#naming[open]")
    page.at.fill("#naming-names", "road, sky, building")
    page.press("Enter")
    page.says("#words", "zero-shot")
    names = [entry["name"] for entry in json.loads((town[0] / "classes.json").read_text())["classes"]]
    assert names == ["road", "sky", "building", "background"]
    page.says("#unknown", "never learned the word background")
    expect(page.at.locator("#propose")).to_be_enabled(timeout=SLOW)
    expect(page.at.locator("#next button")).to_have_count(3, timeout=SLOW)
    assert page.at.locator("#photos button").count() == 12


def test_2_strokes_are_saved_and_learned_from(page, town, tmp_path):
    root, truth = town
    page.press("b", "]")
    page.paint(truth[int(photo_of(page))])
    page.saved()
    page.says("#words", "learned from 1 photo in")
    page.picture("strokes", tmp_path)
    labels = load_dataset(str(root)).train
    drawn = {sample.id: sample.semantic() for sample in labels if (root / f"labels/{sample.id}.png").exists()}
    (name, label) = drawn.popitem()
    assert name == photo_of(page) and not drawn
    seen = label != 255
    assert 0.005 < seen.mean() < 0.5 and set(np.unique(label[seen])) == {0, 1, 2, 3}
    assert (label == truth[int(name)])[seen].mean() > 0.8


def test_3_proposal_confirm_and_the_next_one_comes(page, town, tmp_path):
    for _ in range(3):
        name = photo_of(page)
        if name != "00":
            page.paint(town[1][int(name)])
            page.saved()
        page.at.click("#propose")
        page.saved()
        page.at.click("#confirm")
        expect(page.at.locator("#name")).not_to_have_text(name, timeout=SLOW)
        expect(page.at.locator("#propose")).to_be_enabled(timeout=SLOW)
    assert len((town[0] / "splits/confirmed.txt").read_text().split()) == 3
    page.says("#counts", "3 of 12 confirmed")
    page.says("#score .big", r"\d+ %")
    page.says("#score", "before their labels were seen")
    page.says("#score", "zero-shot: .* %")
    page.says("#words", "learned from 3")
    page.picture("score", tmp_path)


def test_4_correct_undo_reload(page, town):
    root, _ = town
    name = photo_of(page)
    page.press("p")
    page.saved()
    whole = (root / f"labels/{name}.png").read_bytes()
    page.press("r", "3")
    page.drag((0.3, 0.3), (0.5, 0.6))
    expect(page.at.locator("#undo")).to_be_enabled()
    page.saved()
    assert (root / f"labels/{name}.png").read_bytes() != whole
    page.at.reload()
    expect(page.at.locator("#name")).to_have_text(name)
    expect(page.at.locator("#undo")).to_be_enabled(timeout=SLOW)
    page.press("Control+z")
    expect(page.at.locator("#redo")).to_be_enabled(timeout=SLOW)
    assert (root / f"labels/{name}.png").read_bytes() == whole
    page.press("Control+z")
    expect(page.at.locator("#undo")).to_be_disabled(timeout=SLOW)
    assert not (root / f"labels/{name}.png").exists()


def test_5_another_tab_cannot_lose_work(page, browser, server, town):
    name = photo_of(page)
    other = Page(browser, server)
    other.at.goto(f"{other.home}/#{name}")
    other.at.reload()
    expect(other.at.locator("#name")).to_have_text(name, timeout=SLOW)
    expect(other.at.locator("#confirm")).to_be_enabled(timeout=SLOW)
    for tab, key, area in ((page, "1", ((0.1, 0.1), (0.3, 0.3))), (other, "2", ((0.6, 0.6), (0.8, 0.8)))):
        tab.press("r", key)
        tab.drag(*area)
        if tab is page:
            tab.saved()
    other.at.wait_for_selector("#conflict[open]")
    assert set(np.unique(on_disk(town[0], name))) == {0, 255}
    other.at.click("#conflict button[value=mine]")
    other.saved()
    assert set(np.unique(on_disk(town[0], name))) == {1, 255}
    other.press("Control+z")
    expect(other.at.locator("#redo")).to_be_enabled(timeout=SLOW)
    assert set(np.unique(on_disk(town[0], name))) == {0, 255}
    other.press("r", "3")
    page.at.reload()
    expect(page.at.locator("#confirm")).to_be_enabled(timeout=SLOW)
    page.press("r", "1")
    page.drag((0.4, 0.4), (0.5, 0.5))
    page.saved()
    theirs = on_disk(town[0], name)
    other.drag((0.6, 0.1), (0.8, 0.3))
    other.at.wait_for_selector("#conflict[open]")
    other.press("Escape")
    assert other.at.locator("#conflict").is_visible()
    other.at.click("#conflict button[value=theirs]")
    other.says("#saved", "loaded")
    assert (on_disk(town[0], name) == theirs).all()
    other.at.click("#redo")
    expect(other.at.locator("#redo")).to_be_disabled(timeout=SLOW)
    assert set(np.unique(on_disk(town[0], name))) == {0, 2, 255}
    assert [line for line in other.wrong if "412" not in line] == []
    other.at.close()
    page.at.reload()
    expect(page.at.locator("#confirm")).to_be_enabled(timeout=SLOW)


def test_5b_labels_that_cannot_be_saved_keep_their_photo_open(browser, server, town):
    mine = Page(browser, server)
    expect(mine.at.locator("#confirm")).to_be_enabled(timeout=SLOW)
    name, before = photo_of(mine), set(np.unique(on_disk(town[0], photo_of(mine))))

    def full(route):
        if route.request.method == "PUT":
            body = '{"detail": "No space left on device"}'
            route.fulfill(status=500, content_type="application/json", body=body)
        else:
            route.continue_()

    mine.at.route("**/api/labels?*", full)
    mine.press("r", "4")
    mine.drag((0.1, 0.6), (0.3, 0.8))
    mine.says("#saved", "not saved")
    mine.press("PageDown")
    mine.at.wait_for_timeout(500)
    assert photo_of(mine) == name
    mine.at.unroute("**/api/labels?*")
    mine.saved()
    assert set(np.unique(on_disk(town[0], name))) == before | {3}
    mine.press("Control+z")
    expect(mine.at.locator("#redo")).to_be_enabled(timeout=SLOW)
    mine.at.close()


def test_6_the_keyboard_alone_is_enough(page, town):
    root, _ = town
    name = photo_of(page)
    before = on_disk(root, name)
    page.at.locator("#canvas").focus()
    page.press("s", "4")
    page.at.wait_for_timeout(2000)  # the regions are on their way
    page.press(*["ArrowDown"] * 9, "Shift+ArrowRight")
    page.press(" ")
    page.saved()
    page.at.wait_for_timeout(300)
    after = on_disk(root, name)
    changed = after != before
    assert 30 < changed.sum() < 6000 and (after[changed] == 3).all()
    page.press("Shift+Enter")
    expect(page.at.locator("#name")).not_to_have_text(name, timeout=SLOW)
    assert (on_disk(root, name) != 255).all()
    assert name in (root / "splits/confirmed.txt").read_text()


def test_6_a_confirmation_is_taken_back_and_learning_waits_for_its_key(page, town):
    confirmed = town[0] / "splits/confirmed.txt"
    name = confirmed.read_text().split()[0]
    page.at.locator("#photos button", has_text=name).click()
    expect(page.at.locator("#unconfirm")).to_be_visible(timeout=SLOW)
    page.press("L")
    expect(page.at.locator("#auto")).not_to_be_checked()
    page.says("#words", "learned from 4 photos in")
    before = on_disk(town[0], name)
    page.press("u")
    page.says("#counts", "3 of 12 confirmed")
    expect(page.at.locator("#unconfirm")).to_be_hidden()
    assert name not in confirmed.read_text() and (on_disk(town[0], name) == before).all()
    knowledge = "() => fetch('/api/status').then((answer) => answer.json()).then((status) => status.knowledge)"
    known = page.at.evaluate(knowledge)
    page.at.wait_for_timeout(500)
    assert page.at.evaluate(knowledge) == known  # of its own accord it learns no more
    page.press("l")
    page.at.wait_for_function(f"async (known) => (await ({knowledge})()) > known", arg=known, timeout=SLOW)
    page.says("#words", "learned from 4 photos in")  # its strokes are left
    page.press("Enter")
    page.says("#counts", "4 of 12 confirmed")
    page.press("L", "l")
    expect(page.at.locator("#auto")).to_be_checked()
    page.says("#words", "learned from 4 photos in")


def test_7_the_look_shows_every_photo(page, tmp_path):
    page.at.click("nav button[data-view=look]")
    expect(page.at.locator("#grid li")).to_have_count(12, timeout=SLOW)
    page.at.select_option("#look-source", "both")
    expect(page.at.locator("#grid img")).to_have_count(24)
    for picture in page.at.locator("#grid img").all()[:12]:
        expect(picture).to_have_js_property("complete", True, timeout=SLOW)
    page.picture("look", tmp_path)
    page.at.select_option("#look-class", "1")
    page.at.select_option("#look-order", "share")
    page.says("#look-count", r"^\d+ of 12 photos")
    assert page.at.locator("#shares span").count() == 4
    page.at.select_option("#look-class", "")


def test_8_exports_are_read_back(page, town, tmp_path):
    root, _ = town
    page.at.click("nav button[data-view=out]")
    for form in ("coco", "prompts"):
        page.at.check(f"#formats input[value={form}]")
        page.at.click("#export button.primary")
        expect(page.at.locator("#exported .result").first).to_contain_text(f"exports/{form}", timeout=SLOW)
    page.picture("export", tmp_path)
    coco = COCO(str(root / "exports/coco/annotations.json"))
    confirmed = set((root / "splits/confirmed.txt").read_text().split())
    assert {Path(image["file_name"]).stem for image in coco.loadImgs(coco.getImgIds())} == confirmed
    truth = {sample.id: sample.semantic() for sample in load_dataset(f"{root}?train=confirmed").train}
    again = {sample.id: sample.semantic() for sample in load_dataset(f"coco:{root}/exports/coco").train}
    assert {id_: labels.tolist() for id_, labels in again.items()} == {i: m.tolist() for i, m in truth.items()}
    command = page.at.locator("#exported code").first.inner_text()
    assert command.startswith("promptseg predict --prompts ")
    out = root.parent / "labelled"
    words = command.replace("NEW_PHOTOS", str(root / "11.jpg")).replace("labelled", str(out)).split()[1:]
    assert run(words) == 0 and (out / "labels/11.png").is_file()


def test_9_nothing_overlaps_at_200_percent(browser, server):
    """A window of 1280x720 at 200 % zoom has 640x360 of the page's own pixels."""
    small = Page(browser, server, 640, 360)
    expect(small.at.locator("#confirm")).to_be_enabled(timeout=SLOW)
    wide = small.at.evaluate("() => document.documentElement.scrollWidth")
    assert wide <= 640
    for name in ("#canvas", "#tool-brush", "#confirm", "#classes .pick >> nth=0", "#photos button >> nth=0"):
        small.at.locator(name).scroll_into_view_if_needed()
        expect(small.at.locator(name)).to_be_in_viewport()
    assert small.wrong == []
    small.at.close()
