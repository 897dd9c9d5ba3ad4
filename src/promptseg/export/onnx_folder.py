"""A folder that runs without PyTorch and without this package: an ONNX graph, and what a program needs beside it.

That is the classes, an example with its answer, and `run.py`, which labels photos.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from promptseg.checks import check_choice
from promptseg.errors import PromptsegError
from promptseg.export.onnx_graph import OPSET, OUTPUTS, GraphInput, LabelGraph, write_graph
from promptseg.export.onnx_int8 import to_int8
from promptseg.extras import import_extra
from promptseg.files import atomic_folder, atomic_path, write_json, write_text
from promptseg.models.base import PromptableSegmenter
from promptseg.prompts import Prompts

GRAPH, ABOUT, EXAMPLE, PROGRAM = "model.onnx", "about.json", "example.npz", "run.py"
PRECISIONS = ("float32", "int8")
LARGEST_DIFFERENCE = 1e-3
"""How far scores and logits may be from PyTorch's, in float32."""
LEAST_AGREEMENT = {"float32": 0.999, "int8": 0.97}
"""Share of pixels that must have the same class."""
TIE = 1e-5
"""Classes whose scores are nearer to each other are equally likely: rounding decides."""
_EXAMPLES = ((1, 4, 6), (2, 6, 4))
"""Batch, and height and width in units of the divisor, of the pixels that the graph is checked with."""

_MENDS = {
    "float32": f"PyTorch {torch.__version__} does not export this model correctly",
    "int8": "export it in float32",
}

Answers = list[NDArray[np.float32]]
"""Of each of `OUTPUTS`."""


@dataclass(frozen=True)
class Check:
    """How the graph in onnxruntime differs from PyTorch.

    Attributes:
        difference: largest of scores and logits.
        agreement: share of pixels with the same class.
    """

    difference: float
    agreement: float


def export_onnx(model: PromptableSegmenter, prompts: Prompts, out: Path, precision: str = PRECISIONS[0]) -> Check:
    """Write the graph and what belongs to it into a new folder, and compare it with PyTorch.

    Args:
        model: the model that the prompts belong to, on the CPU.
        prompts: learned or default prompts.
        out: a folder that is empty or does not exist.
        precision: `float32`, or `int8` for a smaller file (see `onnx_int8`).

    Raises:
        PromptsegError: another model or one that has no such graph, a folder that holds files, another precision, or a
            graph that does not say what PyTorch says.
    """
    check_choice("precision", precision, PRECISIONS)
    prompts.check_model(model.id, model.fingerprint)
    taken = GraphInput.of(model)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise PromptsegError(f"{out} is not empty: choose a new folder")
    import_extra("onnx", "onnx", "export --to onnx")
    import_extra("onnxscript", "onnx", "export --to onnx")
    import_extra("onnxruntime", "onnx", "export --to onnx")
    with atomic_folder(out) as folder:
        write_json(folder / ABOUT, _about(model, prompts, taken, precision))
        write_text(folder / PROGRAM, (files("promptseg.export") / "onnx_run.py").read_text(encoding="utf-8"))
        return _write_checked(LabelGraph(model, prompts).eval(), taken, folder, precision)


def _write_checked(graph: LabelGraph, taken: GraphInput, folder: Path, precision: str) -> Check:
    """Write the graph, in float32 first, and an example."""
    examples = [taken.example(*shape) for shape in _EXAMPLES]
    write_graph(graph, examples[-1], taken.dimensions(), folder / GRAPH)
    with torch.no_grad():
        expected = [[answer.numpy() for answer in graph(pixels)] for pixels in examples]
    _write_example(folder / EXAMPLE, examples[0], expected[0])
    check = _checked(folder / GRAPH, examples, expected, PRECISIONS[0])
    if precision != PRECISIONS[0]:
        to_int8(folder / GRAPH)
        check = _checked(folder / GRAPH, examples, expected, precision)
    return check


def _about(model: PromptableSegmenter, prompts: Prompts, taken: GraphInput, precision: str) -> dict[str, Any]:
    """What `run.py` and a reader need to know."""
    return {
        "classes": [{"name": info.name, "color": list(info.color)} for info in prompts.label_space.classes],
        "short_side": None if prompts.record is None else prompts.record.settings.short_side,
        **asdict(taken),
        "opset": OPSET,
        "precision": precision,
        "model": model.id,
        "model_fingerprint": model.fingerprint,
        "prompts": prompts.fingerprint,
        "licence": model.licence,
    }


def _write_example(path: Path, pixels: Tensor, answers: Answers) -> None:
    with atomic_path(path) as temporary:
        named: dict[str, Any] = dict(zip(OUTPUTS, answers, strict=True))
        np.savez_compressed(temporary, pixels=pixels.numpy().astype(np.uint8), **named)


def _checked(path: Path, examples: list[Tensor], expected: list[Answers], precision: str) -> Check:
    """Run a graph on pixels of several sizes, and compare it with what PyTorch says of them."""
    run = session(path)
    answers = [run(pixels.numpy()) for pixels in examples]
    differences = [
        float(np.abs(a - b).max()) for pair in zip(answers, expected, strict=True) for a, b in zip(*pair, strict=True)
    ]
    same = [agreement(found[0], wanted[0]) for found, wanted in zip(answers, expected, strict=True)]
    check = Check(float(np.max(differences)), min(same))
    bad = precision == PRECISIONS[0] and not check.difference <= LARGEST_DIFFERENCE
    if bad or check.agreement < LEAST_AGREEMENT[precision]:
        raise PromptsegError(
            f"{path.name}: in {precision} it differs from PyTorch by {check.difference:.2g}, and"
            f" {100 * check.agreement:.2f} % of the pixels have the same class: {_MENDS[precision]}"
        )
    return check


def agreement(scores: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Share of pixels whose class by scores (B, C, H, W) is that of those expected, or one of several as likely."""
    chosen = np.take_along_axis(expected, scores.argmax(1)[:, None], 1)
    return float((chosen >= expected.max(1, keepdims=True) - TIE).mean())


def session(path: Path) -> Callable[[NDArray[np.float32]], Answers]:
    """What runs a graph on pixels (B, 3, H, W), with onnxruntime on the CPU.

    Raises:
        PromptsegError: onnxruntime refuses the graph, or fails in it.
    """
    runtime = import_extra("onnxruntime", "onnx", "export --to onnx")

    def run(pixels: NDArray[np.float32]) -> Answers:
        try:
            answers: Answers = opened.run(list(OUTPUTS), {"pixels": pixels})
        except Exception as error:  # it has kinds of its own for each fault
            raise _broken(path, error) from error
        return answers

    try:
        opened = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:
        raise _broken(path, error) from error
    return run


def _broken(path: Path, error: Exception) -> PromptsegError:
    reason = " ".join(str(error).split())[:200]
    return PromptsegError(f"{path}: onnxruntime cannot run the exported graph ({reason}): take another version of it")
