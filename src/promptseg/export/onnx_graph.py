"""Prompts and their model as one ONNX graph: from pixels to the score of each class, with the prompts as constants."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from promptseg.errors import PromptsegError
from promptseg.files import atomic_path
from promptseg.models.adapted import adapted
from promptseg.models.base import ImageFeatures, PromptableSegmenter
from promptseg.models.evidence import FLOOR, Evidence, balanced
from promptseg.models.sam.points import PointSam, Sam
from promptseg.models.seem.backbones.common import PIXEL_MEAN, PIXEL_STD
from promptseg.models.seem.segmenter import MOST_ENLARGED, SeemSegmenter
from promptseg.prompts import Prompts

OPSET = 18
OUTPUTS = ("scores", "class_logits", "mask_logits")
_MOST = 128
"""Largest height and width, in units of the divisor."""
_MOST_AT_ONCE = 1024
"""Largest batch."""


@dataclass(frozen=True)
class GraphInput:
    """What pixels (B, 3, H, W) the graph of a model takes, and how a photo becomes such.

    Attributes:
        divisor: of height and width, pixels.
        fixed_canvas: height and width where there is one only, pixels.
        any_batch: whether B may be any number; else it is 1.
        own_short_side: what the shorter side of a photo is resized to unless a fit says otherwise, pixels.
        most_enlarged: how much a photo is enlarged at most.
        stretched: whether a photo fills the canvas whatever its proportions.
        resampling: how photos are resized.
        padding: red, green and blue, 0..255, of what a photo leaves of the canvas.
    """

    divisor: int
    fixed_canvas: int | None
    any_batch: bool
    own_short_side: int
    most_enlarged: int
    stretched: bool
    resampling: str
    padding: tuple[float, ...]

    @staticmethod
    def of(model: PromptableSegmenter) -> "GraphInput":
        """That of a model.

        Raises:
            PromptsegError: a kind of model that has no graph.
        """
        if isinstance(model, SeemSegmenter):
            config = model.config
            sizes = (config.size_divisor, config.backbone.fixed_canvas, True, config.short_side, MOST_ENLARGED)
            return GraphInput(*sizes, False, model.resampling, PIXEL_MEAN)
        if isinstance(model, PointSam):
            padding = tuple(255 * value for value in model.mean)
            # The canvas bounds the longer side, so a photo that may be enlarged without a bound fills it.
            sizes = (model.size, model.size, False, model.size, model.size)
            return GraphInput(*sizes, not isinstance(model, Sam), model.resampling, padding)
        raise PromptsegError(
            f"{model.id}: models of its kind ({type(model).__name__}) cannot be exported as ONNX; SEEM, X-Decoder, SAM"
            " and SAM 2 can"
        )

    def example(self, batch: int, rows: int, columns: int) -> Tensor:
        """Pixels (B, 3, H, W) of soft spots in all colours, always the same; sides in units of the divisor."""
        generator = torch.Generator().manual_seed(0)
        coarse = 255 * torch.rand(batch if self.any_batch else 1, 3, 2 * rows, 2 * columns, generator=generator)
        size = [self.fixed_canvas or self.divisor * sides for sides in (rows, columns)]
        return F.interpolate(coarse, size, mode="bicubic", align_corners=False).clamp(0, 255).round()

    def dimensions(self) -> dict[int, Any]:
        """The axes of the pixels whose lengths may differ, as the exporter wants to be told."""
        found: dict[int, Any] = {}
        if self.any_batch:
            found[0] = torch.export.Dim("batch", min=1, max=_MOST_AT_ONCE)
        if self.fixed_canvas is None:
            rows, columns = (torch.export.Dim(name, min=1, max=_MOST) for name in ("rows", "columns"))
            found |= {2: self.divisor * rows, 3: self.divisor * columns}
        return found


class LabelGraph(nn.Module):
    """From pixels to scores; the prompts are part of it."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: PromptableSegmenter, prompts: Prompts) -> None:
        """Take the model as the prompts want it; it must have a `GraphInput`."""
        super().__init__()
        used = adapted(model, prompts)
        assert isinstance(used.decoder, SeemSegmenter | PointSam)
        self.model, self.prompts = used.decoder, used.prompts
        self.network = used.decoder.network
        self.register_buffer("mean", torch.tensor(PIXEL_MEAN)[:, None, None])
        self.register_buffer("std", torch.tensor(PIXEL_STD)[:, None, None])

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scores (B, C, H, W), class logits (B, N, C + 1) and mask logits (B, N, h, w).

        Args:
            pixels: (B, 3, H, W) RGB, 0..255, float32, as the `GraphInput` of the model says.
        """
        answer, size = self.model.decode(self._features(pixels), self.prompts), (pixels.shape[2], pixels.shape[3])
        smooth = answer.upsampling == "bicubic"
        masks = F.interpolate(answer.mask_logits, size, mode=answer.upsampling, align_corners=False, antialias=smooth)
        shares = answer.class_logits.softmax(-1)[..., :-1].mT
        scores = (shares @ masks.sigmoid().flatten(2)).unflatten(2, size)
        if answer.evidence is not None:
            scores = self._with_evidence(scores, answer.evidence)
        return scores, answer.class_logits, answer.mask_logits

    def _features(self, pixels: Tensor) -> ImageFeatures:
        if not isinstance(self.model, SeemSegmenter):
            return self.model.encode_image(pixels)
        # Not `encode_image`, which goes from image to image: a graph for any batch cannot.
        size, normed = (pixels.shape[2], pixels.shape[3]), (pixels - self.mean) / self.std
        return self.model.network.encode(normed, (size,), keep_backbone=self.model.maps == "all")

    @staticmethod
    def _with_evidence(scores: Tensor, evidence: Evidence) -> Tensor:
        """P proportional to (m + eps)^t exp(e), see models/evidence.py."""
        size = (scores.shape[2], scores.shape[3])
        maps = [F.interpolate(one, size, mode="bilinear", align_corners=False) for one in evidence.maps]
        found = torch.stack(maps).sum(0) + evidence.bias[:, None, None]
        own = (scores + FLOOR).log()
        odds = (own * evidence.trust[:, None, None] + found).transpose(0, 1)
        return balanced(odds, own.transpose(0, 1), evidence.taught).transpose(0, 1).softmax(1)


@torch.no_grad()
def write_graph(graph: LabelGraph, pixels: Tensor, dimensions: dict[int, Any], path: Path) -> None:
    """Trace a graph on pixels and write it.

    Args:
        graph: of the model and its prompts.
        pixels: (B, 3, H, W); an axis that may differ is longer than 1.
        dimensions: of `GraphInput`.
        path: a file.

    Raises:
        PromptsegError: this version of PyTorch cannot.
    """
    try:
        program = torch.onnx.export(
            graph,
            (pixels,),
            dynamo=True,
            opset_version=OPSET,
            dynamic_shapes=(dimensions,),
            input_names=["pixels"],
            output_names=list(OUTPUTS),
            verbose=False,
        )
    except torch.onnx.OnnxExporterError as error:
        raise PromptsegError(
            f"{path.name}: PyTorch {torch.__version__} does not export this model ({type(error).__name__}):"
            " take another version of it, or another model"
        ) from error
    assert program is not None, "an exporter that gives the program"
    with atomic_path(path) as temporary:
        program.save(str(temporary), external_data=False)
