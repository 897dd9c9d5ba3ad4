"""The card of learned prompts, in the model hub's form: what they are, what they were measured at, how to use them."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import yaml

from promptseg.errors import PromptsegError
from promptseg.hub import HUB
from promptseg.record import FitRecord
from promptseg.spec import read_spec
from promptseg.text import markdown

_LICENCES = {"apache-2.0": "apache-2.0", "mit": "mit", "cc by 4.0": "cc-by-4.0"}
"""Licences that the hub has a name for."""
OF_MODEL = "of the model: "
"""What the licence of prompts begins with."""
_ABOUT = ("data", "split", "task", "num_images", "learned_from", "fingerprint", "model", "prompts", "per_class")
"""What `promptseg evaluate --json` prints beside scores."""


@dataclass(frozen=True)
class Figures:
    """Scores of prompts on labelled photos.

    Attributes:
        data: the data set as its spec names it, without folders around it.
        split: train, val or test.
        task: a name of `tasks.registry.TASKS`.
        images: how many were measured.
        learned_from: how many of them the prompts were learned from.
        scores: fractions (0..1) by name.
    """

    data: str
    split: str
    task: str
    images: int
    learned_from: int
    scores: Mapping[str, float]

    @staticmethod
    def read(content: Any, fingerprint: str, where: str) -> "Figures":
        """What `promptseg evaluate --json` printed of prompts of that fingerprint.

        Args:
            content: the JSON.
            fingerprint: `Prompts.fingerprint`.
            where: what messages start with.

        Raises:
            PromptsegError: it is something else, or of other prompts.
        """
        texts: dict[str, Any] = {key: content.get(key) for key in _ABOUT} if isinstance(content, dict) else {}
        named = all(isinstance(texts.get(key), str) for key in ("data", "split", "task", "fingerprint"))
        counted = all(type(texts.get(key)) is int for key in ("num_images", "learned_from"))
        if not named or not counted:
            raise PromptsegError(f"{where}: no scores: write them with promptseg evaluate --prompts RUN --json")
        if texts["fingerprint"] != fingerprint:
            raise PromptsegError(
                f"{where}: scores of other prompts ({texts['fingerprint'][:12]}, these are {fingerprint[:12]}): "
                "evaluate these prompts"
            )
        found = {name: value for name, value in content.items() if name not in _ABOUT}
        scores = {name: float(value) for name, value in found.items() if type(value) in (int, float)}
        counts = texts["num_images"], texts["learned_from"]
        return Figures(public_spec(texts["data"]), texts["split"], texts["task"], *counts, scores)


@dataclass(frozen=True)
class Card:
    """What a card says.

    Attributes:
        model_id: the model that the prompts belong to.
        fingerprint: of its weights.
        class_names: the classes.
        shapes: of the prompts, by kind.
        changed: numbers, and tensors, of changes to weights of the model.
        record: how the prompts came about; None where nothing was fitted.
        figures: what they were measured at.
        repo: the repository they are in; None in a folder.
        base_model: the hub repository of the model; None says its own name.
    """

    model_id: str
    fingerprint: str
    class_names: Sequence[str]
    shapes: Mapping[str, tuple[int, ...]]
    changed: tuple[int, int] = (0, 0)
    record: FitRecord | None = None
    figures: Sequence[Figures] = field(default=())
    repo: str | None = None
    base_model: str | None = None

    def text(self) -> str:
        """The card: metadata as YAML, then Markdown."""
        shapes = ", ".join(f"{name} {shape}" for name, shape in self.shapes.items())
        source = json.dumps(f"{HUB}{self.repo}" if self.repo else "THIS_FOLDER")
        lines = [
            "---",
            yaml.safe_dump(self._metadata(), sort_keys=False, width=10**6).rstrip(),
            "---",
            "",
            f"# Prompts for {len(self.class_names)} classes on {markdown(self.model_id)}",
            "",
            f"For the frozen weights `{self.fingerprint}`.",
            "",
            f"- classes: {', '.join(map(markdown, self.class_names))}",
            f"- prompts: {shapes}",
            *(_of_weights(*self.changed) if self.changed[1] else ()),
            *(_of_fit(self.record) if self.record else ()),
            "",
            *(_of_figures(self.figures) if self.figures else ()),
            "```python",
            "import promptseg",
            f"model = promptseg.load_model({json.dumps(self.model_id)})",
            f'labels = promptseg.predict(model, promptseg.Prompts.load({source}), "photo.jpg")',
            "```",
            "",
        ]
        return "\n".join(lines)

    def _metadata(self) -> dict[str, Any]:
        """What the hub reads, by its own names."""
        record = self.record
        tags = ["promptseg", "prompt-learning", "few-shot", *((record.method, record.task) if record else ())]
        licence = _LICENCES.get(record.licence.removeprefix(OF_MODEL).lower()) if record else None
        found: dict[str, Any] = {
            "library_name": "promptseg",
            "pipeline_tag": "image-segmentation",
            "base_model": self.base_model or base_of(self.model_id),
            "base_model_relation": "adapter",
            "tags": list(dict.fromkeys(tags)),
        }
        found |= {"license": licence} if licence else {}
        if self.figures:
            results = [_result(figures) for figures in self.figures]
            found["model-index"] = [{"name": self.repo or "prompts", "results": results}]
        return found


def base_of(model_id: str) -> str:
    """The repository or the name of a model, without options and revision."""
    where = model_id.partition("?")[0]
    return where.removeprefix(HUB).partition("@")[0]


def public_spec(text: str) -> str:
    """A spec without the folders of this machine: of a path, and of a path in an option, only the last part stays."""
    spec = read_spec(text)
    name, colon, rest = spec.where.partition(":")
    own = colon and len(name) > 1  # C: is a drive
    where = spec.where if f"{name}:" == HUB else f"{name}:{_last(rest)}" if own else _last(spec.where)
    options = [f"{key}={value if value.startswith(HUB) else _last(value)}" for key, value in spec.options.items()]
    return where + ("?" + "&".join(options) if options else "")


def _last(path: str) -> str:
    return PurePosixPath(PureWindowsPath(path).as_posix()).name


def public_record(record: FitRecord | None) -> FitRecord | None:
    """A record without the folders of this machine."""
    if record is None or record.draw.dataset is None:
        return record
    return replace(record, draw=replace(record.draw, dataset=public_spec(record.draw.dataset)))


def _result(figures: Figures) -> dict[str, Any]:
    kind = re.sub(r"[^\w.-]+", "-", figures.data).strip("-").lower()
    return {
        "task": {"type": "image-segmentation", "name": figures.task},
        "dataset": {"type": kind, "name": figures.data, "split": figures.split},
        "metrics": [{"type": name, "name": name, "value": value} for name, value in figures.scores.items()],
    }


def _of_figures(all_figures: Sequence[Figures]) -> list[str]:
    lines = ["| data | split | images | score | value |", "| --- | --- | --- | --- | --- |"]
    for figures in all_figures:
        own = f" ({figures.learned_from} of them trained on)" if figures.learned_from else ""
        about = f"| {markdown(figures.data)} | {figures.split} | {figures.images}{own} |"
        lines += [f"{about} {markdown(name)} | {value:.4f} |" for name, value in figures.scores.items()]
    return [*lines, ""]


def _of_weights(numbers: int, tensors: int) -> list[str]:
    return [f"- beside the prompts, {numbers:,} numbers in {tensors} tensors that change weights of the model"]


def _of_fit(record: FitRecord) -> list[str]:
    draw = record.draw
    source = "" if draw.dataset is None else f"of {draw.dataset}, {draw.split} (rule {draw.rule}, k {draw.k})"
    metrics = [f"{name} {value:.4g}" for name, value in record.metrics.items() if value is not None]
    return [
        f"- method: {record.method}, {record.settings.steps} steps, seed {record.seed}",
        f"- task: {record.task}",
        f"- data: {len(draw.ids)} images {markdown(source)}".rstrip(),
        *([f"- metrics: {', '.join(metrics)}"] if metrics else []),
        f"- licence: {markdown(record.licence)}",
    ]
