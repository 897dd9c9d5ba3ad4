"""Prompts and their model as one ONNX graph, which runs without PyTorch and without this package.

The graph takes pixels and gives the score of each class at each of them; the prompts are constants in it. Beside it the
folder has what a program needs: the classes, an example with its answer, and `run.py`, which labels photos.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from promptseg.errors import PromptsegError
from promptseg.extras import import_extra
from promptseg.files import atomic_path, write_json, write_text
from promptseg.models.adapted import adapted
from promptseg.models.base import PromptableSegmenter
from promptseg.models.evidence import FLOOR, Evidence, has_pixel_prompts
from promptseg.models.seem.backbones.common import PIXEL_MEAN, PIXEL_STD
from promptseg.models.seem.segmenter import MOST_ENLARGED, SeemSegmenter
from promptseg.prompts import Prompts

OPSET = 18
GRAPH, ABOUT, EXAMPLE, PROGRAM = "model.onnx", "about.json", "example.npz", "run.py"
OUTPUTS = ("scores", "class_logits", "mask_logits")
LARGEST_DIFFERENCE, LEAST_AGREEMENT = 1e-3, 0.999
"""How far scores and logits may be from PyTorch's, and how many pixels must have the same class."""
_EXAMPLES = ((4, 6), (6, 4))
"""Height and width, in units of the size divisor, of the pixels that the graph is traced and checked with."""
_MOST = 128
"""Largest height and width, in the same units."""


class LabelGraph(nn.Module):
    """From pixels to scores; the prompts are part of it."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: SeemSegmenter, prompts: Prompts) -> None:
        """Take the model as the prompts want it."""
        super().__init__()
        used = adapted(model, prompts)
        assert isinstance(used.decoder, SeemSegmenter)
        self._model, self._prompts = used.decoder, used.prompts
        self.network = used.decoder.network
        self.register_buffer("mean", torch.tensor(PIXEL_MEAN)[:, None, None])
        self.register_buffer("std", torch.tensor(PIXEL_STD)[:, None, None])

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scores (1, C, H, W), class logits (1, N, C + 1) and mask logits (1, N, h, w).

        Args:
            pixels: (1, 3, H, W) RGB, 0..255, float32; both sides multiples of the size divisor.
        """
        features = self.network.encode((pixels - self.mean) / self.std, keep_backbone=self._model.maps == "all")
        answer = self._model.classify(self._model.decoder_states(features, self._prompts, False), self._prompts)[-1]
        size = (pixels.shape[2], pixels.shape[3])
        masks = F.interpolate(answer.mask_logits, size, mode="bilinear", align_corners=False).sigmoid()
        shares = answer.class_logits.softmax(-1)[..., :-1].mT
        scores = (shares @ masks.flatten(2)).unflatten(2, size)
        if has_pixel_prompts(self._prompts):
            scores = self._with_evidence(scores, Evidence.of(self._model.dense_maps(features), self._prompts))
        return scores, answer.class_logits, answer.mask_logits

    @staticmethod
    def _with_evidence(scores: Tensor, evidence: Evidence) -> Tensor:
        """P proportional to (m + eps)^t exp(e), see models/evidence.py."""
        size = (scores.shape[2], scores.shape[3])
        maps = [F.interpolate(one, size, mode="bilinear", align_corners=False) for one in evidence.maps]
        found = torch.stack(maps).sum(0) + evidence.bias[:, None, None]
        return ((scores + FLOOR).log() * evidence.trust[:, None, None] + found).softmax(1)


@dataclass(frozen=True)
class Check:
    """How the graph in onnxruntime differs from PyTorch.

    Attributes:
        difference: largest of scores and logits.
        agreement: share of pixels with the same class.
    """

    difference: float
    agreement: float


def export_onnx(model: PromptableSegmenter, prompts: Prompts, out: Path) -> Check:
    """Write the graph and what belongs to it into a new folder, and compare it with PyTorch.

    Args:
        model: the model that the prompts belong to, on the CPU.
        prompts: learned or default prompts.
        out: a folder that is empty or does not exist.

    Raises:
        PromptsegError: another model or one that has no such graph, a folder that holds files, or a graph that does not
            say what PyTorch says.
    """
    prompts.check_model(model.id, model.fingerprint)
    if not isinstance(model, SeemSegmenter):
        raise PromptsegError(f"{model.id}: only SEEM models can be exported as ONNX so far")
    if model.config.variant.upsampling != "bilinear":
        raise PromptsegError(f"{model.id}: its masks are enlarged in a way that ONNX has no operator for")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise PromptsegError(f"{out} is not empty: choose a new folder")
    import_extra("onnx", "onnx", "export --to onnx")
    import_extra("onnxscript", "onnx", "export --to onnx")
    import_extra("onnxruntime", "onnx", "export --to onnx")
    graph, divisor = LabelGraph(model, prompts).eval(), model.config.size_divisor
    fixed = model.config.backbone.fixed_canvas
    examples = [_example(fixed or rows * divisor, fixed or columns * divisor) for rows, columns in _EXAMPLES]
    _write_graph(graph, examples[1], divisor, fixed is not None, out / GRAPH)
    write_json(out / ABOUT, _about(model, prompts, fixed))
    check = _checked(graph, examples, out)
    write_text(out / PROGRAM, (files("promptseg.export") / "onnx_run.py").read_text(encoding="utf-8"))
    return check


def _about(model: SeemSegmenter, prompts: Prompts, fixed: int | None) -> dict[str, Any]:
    """What `run.py` and a reader need to know."""
    return {
        "classes": [{"name": info.name, "color": list(info.color)} for info in prompts.label_space.classes],
        "short_side": None if prompts.record is None else prompts.record.settings.short_side,
        "own_short_side": model.config.short_side,
        "most_enlarged": MOST_ENLARGED,
        "resampling": model.resampling,
        "divisor": model.config.size_divisor,
        "fixed_canvas": fixed,
        "padding": list(PIXEL_MEAN),
        "opset": OPSET,
        "model": model.id,
        "model_fingerprint": model.fingerprint,
        "prompts": prompts.fingerprint,
        "licence": model.licence,
    }


def _example(height: int, width: int) -> Tensor:
    """Pixels (1, 3, H, W) of soft spots in all colours, always the same."""
    generator = torch.Generator().manual_seed(0)
    coarse = 255 * torch.rand(1, 3, 8, 8, generator=generator)
    return F.interpolate(coarse, (height, width), mode="bicubic", align_corners=False).clamp(0, 255).round()


@torch.no_grad()
def _write_graph(graph: LabelGraph, pixels: Tensor, divisor: int, fixed: bool, path: Path) -> None:
    rows, columns = (torch.export.Dim(name, min=1, max=_MOST) for name in ("rows", "columns"))
    sizes: dict[int, Any] = {} if fixed else {2: divisor * rows, 3: divisor * columns}
    program = torch.onnx.export(
        graph,
        (pixels,),
        dynamo=True,
        opset_version=OPSET,
        dynamic_shapes=(sizes,),
        input_names=["pixels"],
        output_names=list(OUTPUTS),
        verbose=False,
    )
    assert program is not None, "an exporter that gives the program"
    with atomic_path(path) as temporary:
        program.save(str(temporary), external_data=False)


@torch.no_grad()
def _checked(graph: LabelGraph, examples: list[Tensor], out: Path) -> Check:
    """Run the graph on pixels of several sizes; keep the first example with PyTorch's answer."""
    run = _session(out / GRAPH)
    differences, agreements = [], []
    for number, pixels in enumerate(examples):
        expected = [answer.numpy() for answer in graph(pixels)]
        answers = run(pixels.numpy())
        differences += [float(np.abs(a - b).max()) for a, b in zip(answers, expected, strict=True)]
        agreements.append(float((answers[0].argmax(1) == expected[0].argmax(1)).mean()))
        if not number:
            with atomic_path(out / EXAMPLE) as temporary:
                named = dict(zip(OUTPUTS, expected, strict=True))
                np.savez_compressed(temporary, pixels=pixels.numpy().astype(np.uint8), **named)
    check = Check(max(differences), min(agreements))
    if check.difference > LARGEST_DIFFERENCE or check.agreement < LEAST_AGREEMENT:
        raise PromptsegError(
            f"{out / GRAPH}: differs from PyTorch by {check.difference:.2g}, and {100 * check.agreement:.2f} % of the "
            "pixels have the same class: this version of PyTorch does not export this model correctly"
        )
    return check


def _session(path: Path) -> Callable[[NDArray[np.float32]], list[NDArray[np.float32]]]:
    runtime = import_extra("onnxruntime", "onnx", "export --to onnx")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda pixels: session.run(list(OUTPUTS), {"pixels": pixels})
