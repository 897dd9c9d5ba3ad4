"""`Prompts`: what is learned, kept and shared, by kind.

A model says once which kinds of prompts it takes (`PromptKind`), and everything is checked against that in one place.
A saved prompt is a folder of `prompts.safetensors`, `prompts.json` and `README.md` (a model card).
The fused tensors are plain: using them costs what zero-shot costs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import torch
from torch import Tensor

from promptseg.cards import Card, Figures, public_record, public_spec
from promptseg.errors import PromptsegError
from promptseg.files import read_json, write_json, write_text
from promptseg.hub import HUB, Wanted, fetch, push_folder
from promptseg.label_space import LabelSpace
from promptseg.record import FitRecord
from promptseg.tensor_files import fingerprint, read_safetensors, write_safetensors
from promptseg.typed_json import from_json, to_json
from promptseg.version import __version__

FORMAT_VERSION = 2
TENSOR_FILE = "prompts.safetensors"
RECORD_FILE = "prompts.json"
CARD_FILE = "README.md"
WEIGHTS_DTYPE = torch.float16
"""Of changes of weights that are kept: they are small beside the weights that they are added to."""
_ON_HUB = Wanted(
    ((RECORD_FILE, TENSOR_FILE),),
    f"or put its {TENSOR_FILE} and {RECORD_FILE} into a folder and give that folder",
    largest=4 * 10**9,
    fresh=True,
)
"""Of a repository of the model hub; 4 GB hold the changes of any method to the largest model here."""
_GROUPS = ("parts.", "weights.")
"""What the names of tensors in a file start with that are no prompts."""

Role = Literal["mask", "class", "void", "pixel"]
"""What a row stands for: `mask` asks for a mask, `class` is a class as the text encoder gives it, `void` is what no
class claims, `pixel` is a class over the model's dense maps."""


@dataclass(frozen=True)
class PromptKind:
    """One kind of prompts that a model takes: a tensor (K, D).

    Attributes:
        name: of the kind.
        role: what a row stands for. It gives K: one row for each class where that is `class` or `pixel`, a single one
            where it is `void`, any number from 1 where it is `mask`.
        dim: D.
        most: largest K of role `mask`; none = any.
        optional: whether the model does without, in which case it uses what it has itself.
        learned: whether it is numbers that a method may learn; else it is truth values (K, D) that belong to the
            prompts beside them, and no method can reach them.
    """

    name: str
    role: Role
    dim: int
    most: int | None = None
    optional: bool = False
    learned: bool = True

    def expected(self, classes: int) -> str:
        """The shape it must have, in words."""
        if self.role == "mask":
            return f"(N, {self.dim})" if self.most is None else f"(N, {self.dim}) with N <= {self.most}"
        return f"({1 if self.role == 'void' else classes}, {self.dim})"

    def fits(self, shape: tuple[int, ...], classes: int) -> bool:
        """Whether a tensor of that shape is of this kind."""
        if len(shape) != 2 or shape[1] != self.dim:
            return False
        if self.role == "mask":
            return shape[0] >= 1 and (self.most is None or shape[0] <= self.most)
        return shape[0] == (1 if self.role == "void" else classes)


Change = Callable[[Tensor], Tensor]
PromptSpec = tuple[PromptKind, ...]
"""The kinds of prompts that a model takes, in the order in which methods go through them."""


@dataclass(frozen=True, eq=False)
class Prompts:
    """The prompts of one model for one list of classes.

    Attributes:
        spec: the kinds that the model takes.
        kinds: the learnable kinds that are there, each (K, D), by name.
        fixed: the kinds that no method learns, each (K, D) truth values, by name.
        label_space: the C classes, in the order of the rows of role `class`.
        model_id: the model they belong to.
        model_fingerprint: SHA-256 of that model's weights; prompts mean nothing to another model.
        parts: tensors for reports only, such as `KIND.learned`, `KIND.weight` and `KIND.default` of what was fused.
        record: how they came about; none where nothing was fitted.
        weights: changes of weights of the model that stand beside the prompts, by name (models/weights.py), in half
            precision; most methods have none.
    """

    spec: PromptSpec
    kinds: Mapping[str, Tensor]
    fixed: Mapping[str, Tensor]
    label_space: LabelSpace
    model_id: str
    model_fingerprint: str
    parts: Mapping[str, Tensor] = field(default_factory=dict)
    record: FitRecord | None = None
    weights: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The C names."""
        return self.label_space.names

    @property
    def nbytes(self) -> int:
        """Bytes of what the model is given."""
        groups = (self.kinds, self.fixed, self.weights)
        return sum(tensor.nbytes for group in groups for tensor in group.values())

    @property
    def fingerprint(self) -> str:
        """SHA-256 of names, shapes and values of what the model is given, changed weights included."""
        weights = {f"weights.{name}": tensor for name, tensor in self.weights.items()}
        return fingerprint(sorted({**self.kinds, **self.fixed, **weights}.items()))

    def of_role(self, role: Role) -> dict[str, Tensor]:
        """The learnable kinds of a role that are there, by name, in the order of the spec."""
        return {kind.name: self.kinds[kind.name] for kind in self.spec if kind.role == role and kind.name in self.kinds}

    def rows(self, role: Role) -> Tensor:
        """The learnable kinds of a role side by side, (K, sum of D)."""
        return torch.cat(list(self.of_role(role).values()), dim=1)

    def default_share(self, role: Role) -> Tensor | None:
        """How much of the default every fused prompt of a role keeps, 1 - w of each; none if none was fused."""
        weights = [self.parts[key].flatten() for name in self.of_role(role) if (key := f"{name}.weight") in self.parts]
        return 1 - torch.cat(weights) if weights else None

    def updated(self, tensors: Mapping[str, Tensor], parts: Mapping[str, Tensor] | None = None) -> "Prompts":
        """The same prompts with some kinds, learnable or fixed, in place of those that were there.

        Args:
            tensors: by the name of the kind.
            parts: for reports; none keeps those that are there.
        """
        fixed = {kind.name for kind in self.spec if not kind.learned}
        return replace(
            self,
            kinds={**self.kinds, **{name: tensor for name, tensor in tensors.items() if name not in fixed}},
            fixed={**self.fixed, **{name: tensor for name, tensor in tensors.items() if name in fixed}},
            parts=self.parts if parts is None else dict(parts),
        )

    def without(self, role: Role) -> "Prompts":
        """The same prompts without the learnable kinds of a role."""
        left = {kind.name for kind in self.spec if kind.role == role}
        return replace(self, kinds={name: tensor for name, tensor in self.kinds.items() if name not in left})

    def among(self, classes: Tensor) -> "Prompts":
        """Those of some classes (n,), by index, without parts and record; differentiable."""
        of_class = {kind.name for kind in self.spec if kind.role in ("class", "pixel")}
        kinds, fixed = (
            {name: one[classes.to(one.device)] if name in of_class else one for name, one in group.items()}
            for group in (self.kinds, self.fixed)
        )
        space = replace(self.label_space, classes=tuple(self.label_space.classes[i] for i in classes.tolist()))
        return replace(self, kinds=kinds, fixed=fixed, label_space=space, parts={}, record=None)

    def to(self, device: torch.device | str) -> "Prompts":
        """The same prompts on another device."""
        return self._map(lambda tensor: tensor.to(device))

    def detached(self) -> "Prompts":
        """A copy on the CPU, cut from any graph: numbers in float32, changes of weights in half precision."""
        return self._map(_plain, lambda change: _plain(change).to(WEIGHTS_DTYPE))

    def _map(self, change: Change, of_weights: Change | None = None) -> "Prompts":
        groups = (self.kinds, self.fixed, self.parts)
        kinds, fixed, parts = ({name: change(tensor) for name, tensor in group.items()} for group in groups)
        weights = {name: (of_weights or change)(tensor) for name, tensor in self.weights.items()}
        return replace(self, kinds=kinds, fixed=fixed, parts=parts, weights=weights)

    def check_model(self, model_id: str, fingerprint: str) -> None:
        """Refuse a model other than the one these prompts were learned on.

        Raises:
            PromptsegError: the fingerprints differ.
        """
        if self.model_fingerprint != fingerprint:
            raise PromptsegError(
                f"these prompts belong to {self.model_id} (weights {self.model_fingerprint[:12]}), "
                f"not to {model_id} (weights {fingerprint[:12]}): load that model, or fit again"
            )

    def check(self, spec: PromptSpec, where: str) -> None:
        """Refuse prompts that a model of `spec` cannot take.

        Raises:
            PromptsegError: a kind is missing, unknown, or of another shape, or the prompts are for the model with
                weights changed; the line starts with `where`.
        """
        if self.weights:
            raise PromptsegError(
                f"{where}: these prompts change {len(self.weights)} of its weights: decode with adapted(model, prompts)"
                " of promptseg.models.adapted"
            )
        _check_kinds(self, spec, where)

    def save(self, folder: str | Path, repo: str | None = None, figures: Sequence[Figures] = ()) -> Path:
        """Write the prompt folder, each file atomically; returns its path.

        Args:
            folder: where.
            repo: a repository of the model hub to push them to as well, see `push_to_hub`.
            figures: scores for the card.

        Raises:
            PromptsegError: they hold what `load` would refuse, or as `push_to_hub`.
        """
        folder = Path(folder)
        _write(self, folder, self.card(figures))
        if repo is not None:
            self.push_to_hub(repo, figures=figures)
        return folder

    def push_to_hub(
        self,
        repo: str,
        *,
        private: bool | None = None,
        base_model: str | None = None,
        figures: Sequence[Figures] = (),
    ) -> str:
        """Upload the prompt folder to the model hub in one commit; folders of this machine are taken out of its names.

        Args:
            repo: ORGANISATION/NAME, made if it is not there, or ORGANISATION/NAME@BRANCH.
            private: whether a new repository is private; None leaves that to the organisation.
            base_model: the hub repository of the model; None says the model's own name.
            figures: scores for the card.

        Returns:
            What `load` takes: `hub:ORGANISATION/NAME@COMMIT`.

        Raises:
            PromptsegError: the repository holds something else, or cannot be written to.
        """
        shared = replace(self, model_id=public_spec(self.model_id), record=public_record(self.record))
        name = repo.removeprefix(HUB)
        with TemporaryDirectory() as folder:
            _write(shared, Path(folder), replace(shared.card(figures), repo=name, base_model=base_model))
            message = f"Prompts for {len(self.class_names)} classes, by promptseg {__version__}"
            return push_folder(Path(folder), name, (RECORD_FILE, TENSOR_FILE, CARD_FILE), message, private)

    def card(self, figures: Sequence[Figures] = ()) -> Card:
        """What a model card says of them, with scores for it."""
        shapes = {kind.name: tuple(self.kinds[kind.name].shape) for kind in self.spec if kind.name in self.kinds}
        changed = sum(tensor.numel() for tensor in self.weights.values()), len(self.weights)
        return Card(
            self.model_id, self.model_fingerprint, self.class_names, shapes, changed, self.record, tuple(figures)
        )

    @staticmethod
    def load(folder: str | Path) -> "Prompts":
        """Read a prompt folder and check every field.

        Args:
            folder: where it is, or `hub:ORGANISATION/NAME` on the model hub, of which `@REVISION` names a commit, tag
                or branch. Of a repository only the tensors in safetensors and the record in JSON are read.

        Raises:
            PromptsegError: a file or field is missing, malformed, of the wrong shape or not finite, or a repository
                cannot be fetched.
        """
        if str(folder).startswith(HUB):
            folder = fetch(str(folder).removeprefix(HUB), _ON_HUB)
        folder = Path(folder)
        if not folder.is_dir():
            raise PromptsegError(f"{folder}: no such prompt folder; give the folder that fit or Prompts.save wrote")
        header = _read_header(folder / RECORD_FILE)
        tensors = read_safetensors(folder / TENSOR_FILE)
        fixed = {kind.name for kind in header.spec if not kind.learned}
        parts, weights = (_group(tensors, prefix) for prefix in _GROUPS)
        prompts = Prompts(
            header.spec,
            kinds={name: tensors[name] for name in tensors if name not in fixed and not name.startswith(_GROUPS)},
            fixed={name: tensors[name] for name in tensors if name in fixed},
            label_space=header.label_space,
            model_id=header.model_id,
            model_fingerprint=header.model_fingerprint,
            parts=parts,
            record=header.record,
            weights=weights,
        )
        _check_saved(prompts, str(folder / TENSOR_FILE))
        return prompts


def _group(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensors[name] for name in tensors if name.startswith(prefix)}


def _plain(tensor: Tensor) -> Tensor:
    dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
    return tensor.detach().to("cpu", dtype, copy=True)


@dataclass(frozen=True)
class _Header:
    """`prompts.json`."""

    format_version: int
    promptseg_version: str
    model_id: str
    model_fingerprint: str
    spec: tuple[PromptKind, ...]
    label_space: LabelSpace
    record: FitRecord | None

    @staticmethod
    def of(prompts: Prompts) -> "_Header":
        return _Header(
            FORMAT_VERSION,
            __version__,
            prompts.model_id,
            prompts.model_fingerprint,
            prompts.spec,
            prompts.label_space,
            prompts.record,
        )


def _read_header(path: Path) -> _Header:
    content = read_json(path)
    version = content.get("format_version") if isinstance(content, dict) else FORMAT_VERSION
    if version != FORMAT_VERSION:
        raise PromptsegError(f"{path}: format_version is {version!r}, this package reads {FORMAT_VERSION}: fit again")
    return from_json(_Header, content, str(path))


def _numbers(prompts: Prompts) -> dict[str, Tensor]:
    """All that is not truth values, by the name it has in a file."""
    groups = zip(("", *_GROUPS), (prompts.kinds, prompts.parts, prompts.weights), strict=True)
    return {f"{prefix}{name}": tensor for prefix, group in groups for name, tensor in group.items()}


def _check_kinds(prompts: Prompts, spec: PromptSpec, where: str) -> None:
    classes, given = len(prompts.label_space), {**prompts.kinds, **prompts.fixed}
    for kind in spec:
        tensor = (prompts.kinds if kind.learned else prompts.fixed).get(kind.name)
        if tensor is None:
            if not kind.optional:
                raise PromptsegError(
                    f"{where}: {kind.name} prompts are missing, expected {kind.expected(classes)}: fit again"
                )
        elif not kind.fits(tuple(tensor.shape), classes):
            raise PromptsegError(
                f"{where}: {kind.name} prompts have shape {tuple(tensor.shape)}, expected {kind.expected(classes)}"
            )
    if unknown := sorted(set(given) - {kind.name for kind in spec}):
        raise PromptsegError(
            f"{where}: unexpected prompts {unknown[0]!r}, expected {', '.join(kind.name for kind in spec)}"
        )


def _check_saved(prompts: Prompts, where: str) -> None:
    """Refuse what does not belong into a file: other shapes, other types of numbers, numbers that are not finite."""
    _check_kinds(prompts, prompts.spec, where)
    numbers = _numbers(prompts)
    for name, tensor in {**numbers, **prompts.fixed}.items():
        wanted = torch.float32 if name in numbers else torch.bool
        wanted = WEIGHTS_DTYPE if name.startswith(_GROUPS[1]) else wanted
        if tensor.dtype != wanted or tensor.layout != torch.strided:
            raise PromptsegError(f"{where}: tensor {name} is {tensor.dtype} ({tensor.layout}), expected dense {wanted}")
        if not torch.isfinite(tensor).all():
            raise PromptsegError(f"{where}: tensor {name} holds values that are not finite numbers: fit again")


def _write(prompts: Prompts, folder: Path, card: Card) -> None:
    plain = prompts.detached()
    _check_saved(plain, str(folder))
    write_safetensors(folder / TENSOR_FILE, {**plain.fixed, **_numbers(plain)})
    write_json(folder / RECORD_FILE, to_json(_Header.of(plain)))
    write_text(folder / CARD_FILE, card.text())
