"""An evaluation in several processes: each leaves what it counted in a folder, and the last one adds it all up."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptseg.engine.evaluate import Result
from promptseg.engine.runs import check_record
from promptseg.engine.shards import Shard
from promptseg.errors import PromptsegError
from promptseg.files import read_json, write_json
from promptseg.tasks.base import Metric


@dataclass(frozen=True)
class Parts:
    """The parts of one evaluation.

    Attributes:
        out: folder with a file for each finished part.
        shard: which part this process has.
        about: all that the scores depend on, as JSON.
    """

    out: Path
    shard: Shard
    about: Mapping[str, Any]

    def is_done(self) -> bool:
        """Whether this part was finished before.

        Raises:
            PromptsegError: the folder holds this part of another evaluation.
        """
        return self._read(self.shard) is not None

    def keep(self, metric: Metric, images: int) -> None:
        """Write what this part has counted."""
        write_json(self._file(self.shard), {"about": dict(self.about), "images": images, "state": metric.state()})

    def missing(self) -> list[Shard]:
        """The parts that are not there yet."""
        return [shard for shard in self._all() if not self._file(shard).exists()]

    def merged(self, metric: Metric) -> Result:
        """The scores of all parts.

        Args:
            metric: a fresh one.

        Raises:
            PromptsegError: a part is missing or of another evaluation.
        """
        found = [part for shard in self._all() if (part := self._read(shard)) is not None]
        if len(found) < self.shard.count:
            raise PromptsegError(f"{self.out}: parts are missing: {', '.join(map(str, self.missing()))}")
        metric.merge([part["state"] for part in found])
        return Result.of(metric, sum(part["images"] for part in found), str(self.about["task"]))

    def _all(self) -> list[Shard]:
        return [Shard(number, self.shard.count) for number in range(1, self.shard.count + 1)]

    def _file(self, shard: Shard) -> Path:
        return self.out / f"{shard.name}.json"

    def _read(self, shard: Shard) -> dict[str, Any] | None:
        path = self._file(shard)
        if not path.exists():
            return None
        content: dict[str, Any] = read_json(path)
        check_record(content.get("about"), dict(self.about), path)
        return content
