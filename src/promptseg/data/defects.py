"""What can be wrong with a file of a data set, as data (for reports) and as an exception (for everyone else)."""

from dataclasses import dataclass
from typing import Literal

from promptseg.errors import PromptsegError


@dataclass(frozen=True)
class Defect:
    """One thing wrong with one file: what it is and how to mend it; a warning stops no training or evaluation."""

    file: str
    reason: str
    mend: str
    level: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        """One line, whatever characters the parts hold."""
        return " ".join(f"{self.file}: {self.reason}{'; ' if self.mend else ''}{self.mend}".split())


class DefectError(PromptsegError):
    """A file that cannot be used; its message is the one line of its defect."""

    def __init__(self, file: object, reason: str, mend: str) -> None:
        self.defect = Defect(str(file), reason, mend)
        super().__init__(str(self.defect))
