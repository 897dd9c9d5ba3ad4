"""A folder that results of many photos come into, from several processes and over several runs.

Each process appends one line of JSON for each photo that is finished to a file of its own, so whatever stops it loses
nothing but the photo it was at. What is told about all photos together is merged from these lines.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from promptseg.engine.shards import Shard
from promptseg.errors import PromptsegError
from promptseg.files import read_json, write_json

HEADER, RECORDS = "predict.json", "records"

Record = dict[str, Any]
"""What is known of a finished photo: its `name` in the folder, its `path`, SHA-256 `content` of its file, and more."""


class ResultFolder:
    """The records of a folder: those of one way to label photos, and no others."""

    def __init__(self, out: Path, about: Mapping[str, Any], shard: Shard, own: tuple[Path, ...]) -> None:
        """Open the folder, or begin it.

        Args:
            out: the folder.
            about: all that results depend on beside the photo, as JSON.
            shard: which process this is.
            own: files and folders that results go to.

        Raises:
            PromptsegError: it holds results of something else, or of nobody knows what.
        """
        self._out, self._own = out, out / RECORDS / f"{shard.name}.jsonl"
        if (out / HEADER).exists():
            found = read_json(out / HEADER)
            for key, value in about.items():
                if not isinstance(found, dict) or found.get(key) != value:
                    raise PromptsegError(f"{out}: holds results of other {key}: choose another folder, or delete it")
        elif there := [path for path in own if path.exists()]:
            raise PromptsegError(f"{there[0]}: is there already, and not from such a run: choose another folder")
        else:
            write_json(out / HEADER, dict(about))
        self.known = self._read()

    def _parts(self) -> dict[Path, int]:
        """The files of all processes, with their sizes."""
        return {path: path.stat().st_size for path in sorted((self._out / RECORDS).glob("*.jsonl"))}

    def _read(self) -> dict[str, Record]:
        """The records of all processes by name; of a photo that was labelled again, the newest of its file."""
        found: dict[str, Record] = {}
        for path in self._parts():
            with path.open("rb") as file:
                for line in file:
                    if (record := _parsed(line)) is not None:
                        found[record["name"]] = record
        return found

    def add(self, record: Record) -> None:
        """Append the record of a finished photo; its files must be there."""
        self._own.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps(record, ensure_ascii=True, allow_nan=False).encode() + b"\n"
        with self._own.open("ab+", buffering=0) as file:
            # One write, so that processes of one shard cannot mix their lines; a line that was cut short stays alone.
            file.write(line if _ends_a_line(file) else b"\n" + line)
        self.known[record["name"]] = record

    def merge(self, write: Callable[[dict[str, Record]], None]) -> dict[str, Record]:
        """Have what is told about all photos written, from the records of all processes in the order of their names.

        A process that finished meanwhile is noticed by its records, so the last one to write has seen them all.
        """
        while True:
            before = self._parts()
            self.known = dict(sorted(self._read().items()))
            write(self.known)
            if self._parts() == before:
                return self.known


def _parsed(line: bytes) -> Record | None:
    """The record in a line; none where it was cut short, or is of something else: that photo is labelled again."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    whole = isinstance(record, dict) and all(isinstance(record.get(name), str) for name in ("name", "path", "content"))
    return record if whole and isinstance(record.get("told"), dict) else None


def _ends_a_line(file: Any) -> bool:
    if not file.seek(0, 2):
        return True
    file.seek(-1, 2)
    ended: bool = file.read(1) == b"\n"
    return ended
