"""Counts of captions: equal to a plain search with Python's own regular expressions, in every format."""

import csv
import gzip
import json
import random
import re
import resource
from pathlib import Path

import pytest

from promptseg.cli.main import run
from promptseg.recipes.caption_counts import CaptionCounts, caption_files, count_captions, layers
from promptseg.recipes.caption_terms import class_terms, plurals, read_class_names, read_synonyms

duckdb = pytest.importorskip("duckdb")

NAMES = ("car", "traffic light", "light", "light post", "person", "bus", "road", "car park", "café")
SYNONYMS = read_synonyms("built-in")
TERMS = class_terms(NAMES, SYNONYMS)
VOCABULARY = """
car cars Car CAR carpet scar traffic light lights Light post lampposts person people persons bus buses busses
street Road park parks automobile café CAFÉ cafés 2 car2 naïve man women
""".split()  # noqa: SIM905
GAPS = (" ", " ", " ", "  ", "-", ", ", "/", "_", ".", "\t", "’", " - ")


def random_captions(count: int, seed: int = 0) -> list[str]:
    dice = random.Random(seed)
    captions = ["", " ", "...", "car", "a car", "car.", "(car)"]
    while len(captions) < count:
        length = dice.randrange(1, 12)
        parts = [dice.choice(VOCABULARY) + dice.choice(GAPS) for _ in range(length)]
        captions.append("".join(parts))
    return captions


def plain_counts(captions: list[str], terms: dict[str, tuple[str, ...]]) -> dict[str, int]:
    """One regular expression for each class; a word is a run of letters and digits, so an underscore ends one."""
    patterns = {
        name: re.compile(
            "|".join(r"(?<![^\W_])" + r"[\W_]+".join(map(re.escape, p.split())) + r"(?![^\W_])" for p in phrases),
            re.IGNORECASE,
        )
        for name, phrases in terms.items()
    }
    return {name: sum(bool(pattern.search(caption)) for caption in captions) for name, pattern in patterns.items()}


def write(path: Path, captions: list[str]) -> Path:
    """The captions as a file of the format that its name says."""
    if path.suffix == ".parquet":
        connection = duckdb.connect()
        connection.execute("CREATE TABLE t (id INTEGER, caption VARCHAR)")
        connection.executemany("INSERT INTO t VALUES (?, ?)", list(enumerate(captions)))
        connection.execute(f"COPY t TO '{path}' (FORMAT parquet)")
    elif ".csv" in path.name:
        with (gzip.open if path.suffix == ".gz" else open)(path, "wt", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("id", "caption"), *enumerate(captions)])
    elif path.suffix == ".tsv":
        lines = (f"http://{i}\t{caption.replace(chr(9), ' ')}\n" for i, caption in enumerate(captions))
        path.write_text("".join(lines), encoding="utf-8")
    else:
        path.write_text("".join(f"{caption}\n" for caption in captions), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.csv.gz", "a [b]*.csv", "a.tsv", "a.txt"])
def test_counts_equal_a_plain_search(tmp_path: Path, name: str) -> None:
    captions = random_captions(300)
    path = write(tmp_path / name, captions)
    found = count_captions([path], TERMS, column="2" if path.suffix == ".tsv" else "caption", threads=1)
    assert found.counts == plain_counts(captions, TERMS)
    assert min(found.counts.values()) > 0
    assert found.captions == sum(any(char.isalnum() for char in caption) for caption in captions)


def test_overlapping_names_are_all_found(tmp_path: Path) -> None:
    names = ("a b", "b a", "a b a", "b", "b b", "a a b")
    dice = random.Random(1)
    captions = [" ".join(dice.choice("abc") for _ in range(dice.randrange(1, 9))) for _ in range(400)]
    terms = {name: (name,) for name in names}
    found = count_captions([write(tmp_path / "a.txt", captions)], terms, threads=1)
    assert found.counts == plain_counts(captions, terms)
    assert len(layers(names)) > 1 and sorted(phrase for layer in layers(names) for phrase in layer) == sorted(names)


def test_several_files_and_patterns_add_up(tmp_path: Path) -> None:
    captions = random_captions(200, seed=2)
    write(tmp_path / "one.txt", captions[:100])
    write(tmp_path / "two.parquet", captions[100:])
    files = caption_files([str(tmp_path / "*.txt"), str(tmp_path / "two.parquet"), str(tmp_path / "one.txt")])
    assert [path.name for path in files] == ["one.txt", "two.parquet"]
    assert count_captions(files, TERMS, threads=1).counts == plain_counts(captions, TERMS)


def test_terms_are_names_synonyms_and_plurals() -> None:
    assert plurals("bus") == ("buses",) and plurals("city") == ("cities",) and plurals("toy") == ("toys",)
    assert "people" in plurals("person") and plurals("traffic light") == ("traffic lights",)
    terms = class_terms(["Car", "bench"], {"car": ("sports-car",)})
    assert terms == {"Car": ("car", "cars", "sports car", "sports cars"), "bench": ("bench", "benches")}
    assert class_terms(["street_sign"], {})["street_sign"][0] == "street sign"


def test_class_names_come_from_lists_files_and_data(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("car\n\n traffic light \n")
    (tmp_path / "classes.json").write_text('["car", "bus"]')
    assert read_class_names("car, traffic light") == ("car", "traffic light")
    assert read_class_names(str(tmp_path / "names.txt")) == ("car", "traffic light")
    assert read_class_names(str(tmp_path / "classes.json")) == ("car", "bus")
    assert len(read_class_names("streets:fog")) == 19


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--column", "text"], "a.csv: there is no column 'text': choose one of id, caption (--column)"),
        (["--column", "3"], "a.csv: there is no column 3, it has 2: count from 1"),
        (["--classes", ""], "there are no classes to count: give names separated by commas, a file, or a data spec"),
        (["--classes", "car,car"], "class 'car' is given twice: name it once"),
        (["--classes", "?"], "class '?' has a name or synonym without a letter or digit"),
        (["--classes", "no/names.txt"], "no such file or folder; give names, a file, or a data spec"),
        (["--synonyms", "SYNONYMS"], "expected an object of lists of texts"),
        (["--threads", "0"], "--threads 0: give a whole number of at least 1"),
        (["none-*.csv"], "none-*.csv: no such file; give caption files, or a pattern in quotes"),
        (["DIR/b.parquet"], "b.parquet: cannot be read as parquet ("),
        (["DIR/c.csv"], "c.csv: cannot be read as csv ("),
        (["DIR/d.doc"], "d.doc: captions are read from files of .parquet, .csv, .tsv, .txt (.gz and .zst too)"),
        (["DIR/e.txt"], "e.txt: not one caption in them; check the files and --column"),
    ],
)
def test_what_cannot_be_counted_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture, change: list[str], message: str
) -> None:
    write(tmp_path / "a.csv", ["a car"])
    (tmp_path / "b.parquet").write_text("hello, I am no parquet file")
    (tmp_path / "c.csv").write_bytes(b"id,caption\n1,caf\xe9\n")
    (tmp_path / "d.doc").write_text("a car")
    (tmp_path / "e.txt").write_text("\n...\n")
    (tmp_path / "SYNONYMS").write_text('{"car": "auto"}')
    change = [text.replace("DIR", str(tmp_path)).replace("SYNONYMS", str(tmp_path / "SYNONYMS")) for text in change]
    files = [str(tmp_path / "a.csv")] if change[0].startswith("--") else [change.pop(0)]
    classes = [] if "--classes" in change else ["--classes", "car"]
    assert run(["analyze", "captions", *files, *classes, *change, "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err.splitlines()
    assert message in said[-1] and len([line for line in said if not line.startswith("reading ")]) == 1
    assert not (tmp_path / "out").exists()


def test_the_command_writes_counts_and_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    captions = random_captions(100)
    write(tmp_path / "a.txt", captions)
    (tmp_path / "own.json").write_text('{"Bus": ["coach"]}')
    out = tmp_path / "out"
    command = ["analyze", "captions", str(tmp_path / "a.txt"), "--classes", "bus,car", "--out", str(out)]
    assert run([*command, "--synonyms", str(tmp_path / "own.json"), "--threads", "1"]) == 0
    content = json.loads((out / "counts.json").read_text())
    assert content["terms"] == {"bus": ["bus", "buses", "coach", "coaches"], "car": ["car", "cars"]}
    assert CaptionCounts(**content).counts == plain_counts(captions, content["terms"])
    rows = list(csv.DictReader((out / "counts.csv").read_text().splitlines()))
    assert {row["class"]: int(row["captions"]) for row in rows} == content["counts"]
    assert float(rows[0]["share"]) == pytest.approx(int(rows[0]["captions"]) / content["captions"])
    assert (out / "counts.png").stat().st_size > 500
    assert "per second" in capsys.readouterr().err
    for given, terms in (([], ["car", "cars"]), (["--synonyms", "built-in"], class_terms(["car"], SYNONYMS)["car"])):
        assert run([*command, *given, "--threads", "1"]) == 0
        assert json.loads((out / "counts.json").read_text())["terms"]["car"] == list(terms)


@pytest.mark.slow
def test_memory_stays_bounded_whatever_the_size(tmp_path: Path) -> None:
    path = tmp_path / "long.parquet"
    duckdb.connect(config={"threads": 1}).execute(
        "COPY (SELECT 'a car beside person ' || range || repeat(' and the light', 67) AS caption "
        f"FROM range(700000)) TO '{path}' (FORMAT parquet, COMPRESSION zstd)"
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = count_captions([path], {"car": ("car",), "light": ("light",)}, threads=1)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert found.counts == {"car": 700_000, "light": 700_000}
    # The captions are 680 MB of text.
    assert grown < 250e6
