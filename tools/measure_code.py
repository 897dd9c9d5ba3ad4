"""Measure the shape of the code: how finely it is cut, how long functions are, how many files run in the main calls.

Prints one table, for a reader of the code and of CI's log. It sets no limit: `tests/project/test_architecture.py` does.

    python tools/measure_code.py
"""

import ast
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from types import FrameType
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

import promptseg
from promptseg.data.sample import ObjectLabels, PanopticLabels, Sample
from promptseg.errors import PromptsegError
from promptseg.label_space import LabelSpace

PACKAGE = Path(promptseg.__file__).parent
T = TypeVar("T")
Function = ast.FunctionDef | ast.AsyncFunctionDef


def main() -> None:
    """Print the measures of the installed package."""
    for what, value in {**measure_text(PACKAGE), **measure_runs(PACKAGE)}.items():
        print(f"{what:<68}{value:>18}")


def measure_text(package: Path) -> dict[str, str]:
    """What the source text tells, of every Python file below a package's folder."""
    sources = {path: path.read_text(encoding="utf-8") for path in sorted(package.rglob("*.py"))}
    trees = {path: ast.parse(source) for path, source in sources.items()}
    sizes = [source.count("\n") for source in sources.values()]
    lines = sum(sizes)
    import_lines = sum(sum(map(_length, _imports(tree))) for tree in trees.values())
    importers = Counter(file for path, tree in trees.items() for file in imported_files(path, tree, package))
    lengths = sorted(_length(node) for tree in trees.values() for node in ast.walk(tree) if isinstance(node, Function))
    return {
        "files": f"{len(sources)}",
        "lines": f"{lines}",
        "lines of a file, median / longest": f"{median(sizes):g} / {max(sizes)}",
        "import lines, share of all": f"{100 * import_lines / lines:.1f} %",
        "files imported by exactly one other": f"{sum(count == 1 for count in importers.values())}",
        "lines of a function, median / 90th percentile / longest": (
            f"{median(lengths):g} / {quantiles(lengths, n=10)[-1]:g} / {lengths[-1]}"
        ),
    }


def measure_runs(package: Path) -> dict[str, str]:
    """How many files of a package's folder run in the main calls, on the embedded SEEM and a photo in memory."""
    data = promptseg.load_dataset("streets:clear?train=1&val=1&size=128x64")
    photo = Photo.of(data.train[0])
    shots = promptseg.draw_shots([photo], k=1)
    model, loading = files_that_run(lambda: promptseg.load_model("seem-lite"), package)
    run, fitting = files_that_run(lambda: promptseg.fit(model, shots, "ssprompt", steps=2), package)
    _, predicting = files_that_run(lambda: promptseg.predict(model, run.prompts, photo.pixels), package)
    return {
        "files that run in one load_model": f"{len(loading)}",
        "files that run in one fit": f"{len(fitting)}",
        "files that run in one predict": f"{len(predicting)}",
    }


@dataclass(frozen=True)
class Photo:
    """A sample in memory, so that no code for files or for drawing streets is counted."""

    id: str
    label_space: LabelSpace
    pixels: NDArray[np.uint8]
    labels: NDArray[np.uint8]

    @classmethod
    def of(cls, sample: Sample) -> "Photo":
        """The same photo, read."""
        return cls(sample.id, sample.label_space, sample.image(), sample.semantic())

    def image(self) -> NDArray[np.uint8]:
        """The photo, (H, W, 3) uint8 RGB."""
        return self.pixels

    def semantic(self) -> NDArray[np.uint8]:
        """Class ids, (H, W) uint8."""
        return self.labels

    def panoptic(self) -> PanopticLabels:
        """No objects are known."""
        raise PromptsegError(f"{self.id} has no instance labels")

    def objects(self) -> ObjectLabels:
        """No objects are known."""
        raise PromptsegError(f"{self.id} has no instance labels")


def imported_files(path: Path, tree: ast.AST, package: Path) -> set[Path]:
    """The other files of a package that a file imports, at its top or later; those that it names, not their folders."""
    names: set[str] = set()
    for node in _imports(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        else:
            # `from package import x` names the file x where there is one, else the file that defines x.
            files = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if _file(name, package) else str(node.module) for name in files}
    return {file for name in names if (file := _file(name, package))} - {path}


def files_that_run(call: Callable[[], T], package: Path) -> tuple[T, set[Path]]:
    """The result of a call, and the files of a package of which a function ran in it, in any thread.

    What runs because a file is imported for the first time is not counted.
    """
    seen: set[str] = set()

    def note(frame: FrameType, event: str, argument: object) -> None:
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(f"{package}/") and name not in seen and not _in_import(frame, package):
            seen.add(name)

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        result = call()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return result, set(map(Path, seen))


def _in_import(frame: FrameType, package: Path) -> bool:
    caller: FrameType | None = frame
    while caller is not None:
        if caller.f_code.co_name == "<module>" and Path(caller.f_code.co_filename).is_relative_to(package):
            return True
        caller = caller.f_back
    return False


def _imports(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom))


def _length(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def _file(name: str, package: Path) -> Path | None:
    """The file of a module name such as `promptseg.files`; None for what is not a module of the package."""
    place = package.parent.joinpath(*name.split("."))
    files = (place.with_suffix(".py"), place / "__init__.py")
    return next((file for file in files if file.is_relative_to(package) and file.is_file()), None)


if __name__ == "__main__":
    main()
