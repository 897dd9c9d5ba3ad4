"""Atomic writing, locks, and errors of the system."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from safetensors import SafetensorError

from promptseg import tensor_files
from promptseg.errors import PromptsegError, system_error
from promptseg.files import TEMPORARY, InUseError, atomic_folder, atomic_path, locked, read_json, sweep, write_json


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


def test_a_folder_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    for out in (tmp_path / "new", tmp_path / "empty", tmp_path / "deep/er"):
        if out.name == "empty":
            out.mkdir()
        with pytest.raises(InUseError), atomic_folder(out) as folder:
            (folder / "half").write_text("")
            raise InUseError("in the midst")
        assert not out.exists() or not list(out.iterdir())
        with atomic_folder(out) as folder:
            (folder / "whole").write_text("all of it")
            assert not out.exists() or not list(out.iterdir())
        assert (out / "whole").read_text() == "all of it"
        assert not [path for path in out.parent.iterdir() if path.name.startswith(TEMPORARY)]
    assert oct((tmp_path / "new").stat().st_mode) == oct((tmp_path / "deep").stat().st_mode)


WRITER = """
import os, signal, sys
from pathlib import Path
from promptseg.files import atomic_path
with atomic_path(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_writer_left_is_swept_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    assert subprocess.run([sys.executable, "-c", WRITER, str(path)], check=False).returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    mine = left.with_name(left.name.replace(left.name.split("-")[3], str(os.getpid())))
    mine.write_text("of a writer that lives")
    elsewhere = left.with_name(f"{TEMPORARY}00000000-1-x.json")
    elsewhere.write_text("of another machine")
    write_json(path, 1)
    assert sorted(tmp_path.iterdir()) == sorted([path, mine, elsewhere])
    folder = left.with_name(f"{TEMPORARY}00000000-2-x")
    (folder / "inside").mkdir(parents=True)
    for old in (elsewhere, folder):
        os.utime(old, (0, 0))
    sweep(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([path, mine])


HOLDER = """
import sys, time
from pathlib import Path
from promptseg.files import locked
with locked(Path(sys.argv[1]), "it"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_keeps_others_out_until_its_holder_is_dead(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(InUseError, match="it is in use by another process"), locked(path, "it"):
            pass
        holder.kill()
    with locked(path, "it"):
        assert path.exists()
    assert list(tmp_path.iterdir()) == []


def test_threads_take_turns(tmp_path: Path) -> None:
    inside, most = [], []

    def work(number: int) -> None:
        with locked(tmp_path / "lock", "it", seconds=30):
            inside.append(number)
            most.append(len(inside))
            inside.remove(number)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(40)))
    assert most == [1] * 40


def test_a_full_disk_is_told_with_the_name_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(tensor_files, "save_file", full)
    with pytest.raises(OSError) as error:
        tensor_files.write_safetensors(tmp_path / "x.safetensors", {})
    said = system_error(error.value)
    assert said == f"{tmp_path}/x.safetensors: No space left on device; free some space, or write elsewhere"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "mend"),
    [
        (RuntimeError("can't start new thread"), "allow more processes"),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), "close other programs"),
        (RuntimeError("unable to mmap 34 bytes from file <x>: Cannot allocate memory (12)"), "close other programs"),
        (OSError(24, "Too many open files", "/x"), "allow more open files"),
        (OSError(36, "File name too long", "/x"), "a shorter name"),
        (SafetensorError("I/O error: Read-only file system (os error 30)"), "choose a place you may write"),
    ],
)
def test_what_the_system_is_short_of_is_a_line_with_the_mend(error: Exception, mend: str) -> None:
    said = system_error(error)
    assert said is not None and mend in said and "\n" not in said


def test_a_fault_of_the_program_is_not_explained_away() -> None:
    for error in (RuntimeError("shapes differ"), ImportError("no module x"), ValueError("no space left")):
        assert system_error(error) is None


def test_a_write_that_fails_tells_the_file(tmp_path: Path) -> None:
    with pytest.raises(OSError) as error, atomic_path(tmp_path / "x.txt"):
        raise OSError(28, "No space left on device")
    assert (
        system_error(error.value) == f"{tmp_path}/x.txt: No space left on device; free some space, or write elsewhere"
    )
