"""The trials of a comparison: what is compared, and one file for each finished fit with its scores."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from promptseg.data.few_shot import RULES
from promptseg.engine.runs import check_record
from promptseg.engine.settings import Resolved, resolve
from promptseg.errors import PromptsegError, unknown_name
from promptseg.files import read_json, write_json
from promptseg.methods.registry import METHODS
from promptseg.tasks.registry import TASKS
from promptseg.typed_json import from_json


@dataclass(frozen=True)
class Variant:
    """A method, with settings of its own on top of those of the comparison."""

    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """As the command line takes it: `spaprompt:weight=0.5`."""
        values = {name: value if isinstance(value, str) else json.dumps(value) for name, value in self.settings.items()}
        return ":".join((self.method, *(f"{name}={value}" for name, value in values.items())))


@dataclass(frozen=True)
class Plan:
    """What is compared on each data set: every variant with every number of shots and every seed.

    Attributes:
        variants: methods with their settings.
        shots: numbers of shots per class.
        seeds: of draw and training.
        settings: settings for all methods, on top of the preset.
        task: a name of `tasks.registry.TASKS`.
        preset: a name of `engine.settings.PRESETS`.
        rule: how shots are drawn from the split `train`.
        split: what is evaluated: `val` or `test`.
        keep_out: classes whose labels the shots are without; they are evaluated like the others.
    """

    variants: tuple[Variant, ...]
    shots: tuple[int, ...] = (16,)
    seeds: tuple[int, ...] = (0, 1, 2)
    settings: Mapping[str, Any] = field(default_factory=dict)
    task: str = "semantic"
    preset: str = "tuned"
    rule: str = "cover"
    split: str = "val"
    keep_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse an empty plan, and what is named twice."""
        labels = tuple(variant.label for variant in self.variants)
        for name, values in (("methods", labels), ("shots", self.shots), ("seeds", self.seeds)):
            if not values:
                raise PromptsegError(f"there are no {name} to compare: give at least one")
            twice = [value for value in values if values.count(value) > 1]
            if twice:
                raise PromptsegError(f"{twice[0]} stands twice among the {name}: give it once")
        if self.keep_out and self.task != "semantic":
            raise PromptsegError(f"keep_out: classes are kept out of label maps, but the task is {self.task}")
        if self.split not in ("val", "test"):
            raise PromptsegError(f"split is {self.split!r}: scores are taken on val or test")
        if self.rule not in RULES:
            raise unknown_name("rule of a draw", self.rule, RULES)

    def settings_of(self, variant: Variant) -> dict[str, Any]:
        """The settings of a variant on top of those for all."""
        return {**self.settings, **variant.settings}

    def resolved(self, variant: Variant) -> Resolved:
        """All settings of a variant.

        Raises:
            PromptsegError: an unknown name, or a setting that the variant does not have; it names the variant.
        """
        try:
            return resolve(self.preset, METHODS.find(variant.method), self.settings_of(variant), self.task)
        except PromptsegError as error:
            raise PromptsegError(f"{variant.label}: {error}") from None

    def check(self) -> None:
        """Refuse mistakes in names and settings, which cost nothing to find before a model is loaded.

        Raises:
            PromptsegError: as `resolved`.
        """
        for variant in self.variants:
            self.resolved(variant)


@dataclass(frozen=True)
class Trial:
    """One fit and its evaluation."""

    data: str
    task: str
    variant: str
    shots: int
    seed: int

    @property
    def name(self) -> str:
        """A file name of its own; the digest tells apart what looks alike without special characters."""
        plain = re.sub(r"[^a-zA-Z0-9.=-]+", "-", f"{self.data}-{self.task}-{self.variant}").strip("-")[-80:]
        return f"{plain}-{self.shots}-seed{self.seed}-{sha256(repr(self).encode()).hexdigest()[:8]}"

    def __str__(self) -> str:
        return f"{self.variant} on {self.data}, {self.task}, {self.shots} shots, seed {self.seed}"


@dataclass(frozen=True)
class Score:
    """What a finished trial found.

    Attributes:
        scores: of the task, by name, as fractions.
        per_class: what the headline is the mean of, by class; none where the class occurs nowhere.
        images: how many images were trained on.
        parameters: how many numbers were trained.
        ms_per_image: training time for each image in a batch, without encoding it; none without training.
        encode_ms: time to encode an image, mean of those encoded with it; none where features were there already, or
            where training changes what encodes.
        peak_bytes: largest memory while training, see `PeakMemory`; none where it cannot be told.
        artefact_bytes: size of the prompt folder.
    """

    scores: Mapping[str, float | None]
    per_class: Mapping[str, float | None]
    images: int
    parameters: int
    ms_per_image: float | None
    encode_ms: float | None
    peak_bytes: int | None
    artefact_bytes: int


@dataclass(frozen=True)
class Outcome:
    """A trial with its score, or with the line that says why it failed."""

    trial: Trial
    score: Score | None
    error: str | None = None

    def __str__(self) -> str:
        if self.score is None:
            return f"{self.trial}: failed: {self.error}"
        return f"{self.trial}: {TASKS.find(self.trial.task).columns.text(self.score.scores)}"


def prompts_folder(out: Path, trial: Trial) -> Path:
    """Where the comparison in `out` keeps the prompts of a trial."""
    return out / "prompts" / trial.name


def write_score(path: Path, record: dict[str, Any], score: Score, environment: dict[str, Any]) -> None:
    """Write the file of a finished trial, atomically."""
    write_json(path, {"record": record, "score": asdict(score), "environment": environment})


def read_score(path: Path, record: dict[str, Any]) -> Score | None:
    """The score of a trial that is finished, none if it is not.

    Raises:
        PromptsegError: the file is of a trial with other settings, or is not such a file.
    """
    if not path.exists():
        return None
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("score"), dict):
        raise PromptsegError(f"{path}: not a trial of a comparison; delete it to compute it anew")
    # The record as a reader of the file sees it.
    check_record(content.get("record"), json.loads(json.dumps(record)), path)
    return from_json(Score, content["score"], f"{path}: its score")
