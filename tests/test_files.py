"""Atomic writing."""

from pathlib import Path

import pytest

from promptseg.errors import PromptsegError
from promptseg.files import atomic_path, read_json, write_json


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a" / "x.json"
    write_json(path, {"old": 1})

    def cut_short() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        cut_short()
    assert read_json(path) == {"old": 1}
    assert list(path.parent.iterdir()) == [path]


def test_a_value_that_json_lacks_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"miou": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_way_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(PromptsegError, match="cannot be read"):
        read_json(tmp_path)
