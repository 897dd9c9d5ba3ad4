"""The examples for other engines, each with two workers on this machine: what they write is what `predict` says."""

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from places import ROOT
from served import PHOTOS, PICTURES, save_prompts

import promptseg

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with `prompts` and six `photos`."""
    root = tmp_path_factory.mktemp("engines")
    save_prompts(root)
    (root / "photos/deep").mkdir(parents=True)
    for number, content in enumerate(PHOTOS):
        (root / f"photos/{'deep/' if number % 2 else ''}{number}.png").write_bytes(content)
    return root


@pytest.fixture(scope="module")
def expected(home):
    return promptseg.Labeller(home / "prompts", device="cpu")(PICTURES)


def example(home, name, out, *more):
    command = [sys.executable, str(ROOT / "examples" / name), "prompts", "photos", out, *more]
    return subprocess.run(command, cwd=home, capture_output=True, text=True, timeout=600, check=False)


def test_ray_labels_a_folder_into_parquet(home, expected):
    pytest.importorskip("ray", reason="the extra ray is not installed: pip install 'promptseg[ray]'")
    import pyarrow.parquet

    broken = home / "photos/broken.jpg"
    broken.write_bytes(b"no photo")
    done = example(home, "ray_label.py", "ray", "--workers", "2")
    broken.unlink()
    assert done.returncode == 0, done.stderr
    rows = pyarrow.parquet.read_table(home / "ray").to_pylist()
    assert len(rows) == len(PHOTOS) + 1 and "Actors: 2" in done.stdout + done.stderr
    for row in rows:
        if row["path"] == str(broken):
            assert "not an image" in row["error"] and row["png"] == b"" and row["shares"] is None
            continue
        labels = expected[int(row["path"][-5])]
        assert (np.array(Image.open(io.BytesIO(row["png"]))) == labels).all() and row["error"] == ""
        assert row["shares"] == [(labels == number).mean() for number in range(3)]


def test_submitit_labels_a_folder_by_an_array_of_jobs(home, expected):
    pytest.importorskip("submitit", reason="the extra slurm is not installed: pip install 'promptseg[slurm]'")
    done = example(home, "slurm_label.py", "jobs", "--jobs", "2")
    assert done.returncode == 0, done.stderr
    assert [line.split(" labelled")[0] for line in done.stdout.splitlines()] == [
        "3 of 3 photos of part 1/2",
        "3 of 3 photos of part 2/2",
    ]
    for number, labels in enumerate(expected):
        file = home / f"jobs/labels/{'deep/' if number % 2 else ''}{number}.png"
        assert (np.array(Image.open(file)) == labels).all()
    assert '"deep/1"' in (home / "jobs/shares.json").read_text()
    (home / "photos/4.png").write_bytes(b"no photo")
    broken = example(home, "slurm_label.py", "jobs", "--jobs", "2")
    assert broken.returncode == 1 and "1 of 2 jobs failed" in broken.stderr and "not an image" in broken.stderr
    assert broken.stdout.count("(3 before)") == 1
