"""The page of what prompts have learned: one HTML file that needs no other."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from promptseg.data.images import jpeg
from promptseg.engine.inspect import ClassChange, PixelReading
from promptseg.extras import import_extra
from promptseg.files import write_text
from promptseg.prompts import Prompts
from promptseg.reports.pictures import Picture, grid

_TEMPLATE = Path(__file__).parent / "learned.html"
_WIDTH, _HEIGHT, _EDGE = 460, 150, 34
_COLD, _HOT = np.array([20, 30, 90]), np.array([255, 190, 0])


@dataclass(frozen=True)
class Learned:
    """Everything the page shows.

    Attributes:
        prompts: what was learned.
        classes: the semantic prompts.
        distances: how far each spatial prompt is from its default, in lengths of that.
        spatial_shares: the default's share of each spatial prompt; none if they were not fused.
        losses: of every training step; empty without a run.
        looked_at: the spatial prompts in `heat`.
        heat: where they look, before and after; none without photos.
        words: how many words were looked through.
        pixels: the pixel prompts; empty where there are none.
        evidence: what they say of photos; none without photos.
    """

    prompts: Prompts
    classes: Sequence[ClassChange]
    distances: Sequence[float]
    spatial_shares: Sequence[float] | None
    losses: Sequence[float]
    looked_at: Sequence[int]
    heat: Picture | None
    words: int
    pixels: Sequence[PixelReading] = ()
    evidence: Picture | None = None


def write_page(path: Path, learned: Learned) -> None:
    """Write the page.

    Raises:
        PromptsegError: jinja2 is not installed.
    """
    jinja2 = import_extra("jinja2", "report", "a report")
    record = learned.prompts.record
    environment = jinja2.Environment(autoescape=jinja2.select_autoescape(default=True))
    template = environment.from_string(_TEMPLATE.read_text("utf-8"))
    shares = learned.spatial_shares
    changed = max(learned.distances) > 0
    page = template.render(
        learned=learned,
        method="unknown" if record is None else record.method,
        about={} if record is None else {key: getattr(record, key) for key in ("method", "preset", "task", "seed")},
        shots=0 if record is None else len(record.draw.ids),
        data=None if record is None else record.draw.dataset,
        curve=line_svg(smoothed(learned.losses), "step", "loss") if learned.losses else None,
        share_bars=histogram_svg(shares, (0, 1), "default's share") if shares else None,
        distance_bars=histogram_svg(learned.distances, (0, max(learned.distances)), "distance / length")
        if changed
        else None,
        heat=None if learned.heat is None else _data_uri(learned.heat),
        evidence=None if learned.evidence is None else _data_uri(learned.evidence),
        metrics={} if record is None else record.metrics,
    )
    write_text(path, page)


def attention_picture(
    photos: Sequence[Picture], maps: Sequence[tuple[Tensor, Tensor]], indices: Sequence[int], width: int = 220
) -> Picture:
    """Where spatial prompts look, before and after: a row for each photo, two columns for each prompt of `indices`.

    Args:
        photos: (H, W, 3) uint8 each.
        maps: of each photo the attention of all prompts before and after, (N, h, w) in 0..1; cold is 0, hot is 1.
        indices: which spatial prompts.
        width: of each picture, pixels.
    """
    rows = [
        [photo, *(_heated(photo, side[index]) for index in indices for side in sides)]
        for photo, sides in zip(photos, maps, strict=True)
    ]
    headers = ["photo", *(f"{index} {side}" for index in indices for side in ("before", "after"))]
    return grid(rows, headers, width)


def evidence_picture(
    photos: Sequence[Picture], maps: Sequence[Tensor], names: Sequence[str], width: int = 220
) -> Picture:
    """What pixel prompts say: a row for each photo, a column for each class.

    Args:
        photos: (H, W, 3) uint8 each.
        maps: of each photo the probability of the classes shown, (K, h, w); cold is 0, hot is 1.
        names: of the K classes.
        width: of each picture, pixels.
    """
    rows = [[photo, *(_heated(photo, heat) for heat in heats)] for photo, heats in zip(photos, maps, strict=True)]
    return grid(rows, ("photo", *names), width)


def _heated(photo: Picture, heat: Tensor) -> Picture:
    size = photo.shape[:2]
    full = F.interpolate(heat[None, None], size=size, mode="bilinear", align_corners=False)[0, 0].numpy()[..., None]
    grey = photo.mean(axis=2, keepdims=True)
    mixed = 0.5 * grey + 0.5 * (full * _HOT + (1 - full) * _COLD)
    return np.asarray(np.rint(mixed).clip(0, 255), np.uint8)


def smoothed(values: Sequence[float], window: int = 10) -> list[float]:
    """The mean over the last `window` values at each place."""
    return [sum(values[max(0, i + 1 - window) : i + 1]) / min(window, i + 1) for i in range(len(values))]


def histogram_svg(values: Sequence[float], span: tuple[float, float], label: str, bins: int = 20) -> str:
    """Bars of how many values fall into each of `bins` equal parts of `span`."""
    low, high = span
    width = (high - low) / bins or 1.0
    counts = [0] * bins
    for value in values:
        counts[min(bins - 1, max(0, int((value - low) / width)))] += 1
    step, top = (_WIDTH - _EDGE) / bins, max(counts)
    bars = "".join(
        f'<rect x="{_EDGE + i * step:.1f}" y="{_y(count, 0, top):.1f}" width="{step - 1:.1f}" '
        f'height="{_y(0, 0, top) - _y(count, 0, top):.1f}"/>'
        for i, count in enumerate(counts)
    )
    return _svg(bars, (low, high), (0, top), label)


def line_svg(values: Sequence[float], across: str, up: str) -> str:
    """A curve of values over their number, from 1."""
    low, high = min(values), max(values)
    step = (_WIDTH - _EDGE) / max(1, len(values) - 1)
    points = " ".join(f"{_EDGE + i * step:.1f},{_y(value, low, high):.1f}" for i, value in enumerate(values))
    return _svg(f'<polyline points="{points}"/>', (1, len(values)), (low, high), f"{across} ({up} upwards)")


def _y(value: float, low: float, high: float) -> float:
    return _HEIGHT - (_HEIGHT - 10) * (value - low) / ((high - low) or 1.0)


def _svg(body: str, across: tuple[float, float], up: tuple[float, float], label: str) -> str:
    texts = (
        f'<text x="{_EDGE}" y="{_HEIGHT + 16}">{across[0]:.3g}</text>'
        f'<text x="{_WIDTH}" y="{_HEIGHT + 16}" text-anchor="end">{across[1]:.3g}</text>'
        f'<text x="{(_WIDTH + _EDGE) / 2}" y="{_HEIGHT + 16}" text-anchor="middle">{escape(label)}</text>'
        f'<text x="{_EDGE - 4}" y="{_HEIGHT}" text-anchor="end">{up[0]:.3g}</text>'
        f'<text x="{_EDGE - 4}" y="14" text-anchor="end">{up[1]:.3g}</text>'
    )
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT + 22}" role="img" aria-label="{escape(label)}">{body}{texts}</svg>'


def _data_uri(picture: Picture) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg(picture, 88)).decode()}"
