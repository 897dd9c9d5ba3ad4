"""`Prompts`: what is learned, kept and shared.

A saved prompt is a folder of `prompts.safetensors`, `prompts.json` and `README.md` (a model card).
The fused tensors are plain: using them costs what zero-shot costs.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from promptseg.errors import PromptsegError
from promptseg.files import atomic_path, read_json, write_json, write_text
from promptseg.tensor_files import read_safetensors
from promptseg.version import __version__

FORMAT_VERSION = 1
TENSOR_FILE = "prompts.safetensors"
RECORD_FILE = "prompts.json"
CARD_FILE = "README.md"
_FUSED = ("spatial", "semantic", "background")


@dataclass(frozen=True)
class Prompts:
    """The prompts of one model for one list of classes.

    Attributes:
        spatial: (N, D), the embeddings that ask for masks.
        semantic: (C, D), one embedding per class.
        background: (1, D), the embedding of the void column.
        class_names: C names, in the order of `semantic`.
        model_id: the model they belong to.
        model_fingerprint: SHA-256 of that model's weights; prompts mean nothing to another model.
        spatial_kind: what of the model the spatial prompts stand for (see the model's docs).
        parts: tensors kept for reports only: learned prompts, weights and defaults before fusion.
        record: how they came about (method, settings, data, draw, metrics), JSON-able.
    """

    spatial: Tensor
    semantic: Tensor
    background: Tensor
    class_names: tuple[str, ...]
    model_id: str
    model_fingerprint: str
    spatial_kind: str = "queries"
    parts: dict[str, Tensor] = field(default_factory=dict)
    record: dict[str, Any] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Bytes of the fused tensors."""
        return sum(getattr(self, name).nbytes for name in _FUSED)

    def to(self, device: torch.device | str) -> "Prompts":
        """The same prompts on another device."""
        return self._map(lambda tensor: tensor.to(device))

    def detached(self) -> "Prompts":
        """A copy on the CPU, in float32, cut from any graph."""
        return self._map(_plain)

    def _map(self, change: Callable[[Tensor], Tensor]) -> "Prompts":
        fused: dict[str, Any] = {name: change(getattr(self, name)) for name in _FUSED}
        return replace(self, parts={name: change(part) for name, part in self.parts.items()}, **fused)

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

    def save(self, folder: str | Path) -> Path:
        """Write the prompt folder, each file atomically; returns its path."""
        folder = Path(folder)
        plain = self.detached()
        tensors = {name: getattr(plain, name) for name in _FUSED}
        tensors |= {f"parts.{name}": tensor for name, tensor in plain.parts.items()}
        with atomic_path(folder / TENSOR_FILE) as path:
            save_file(tensors, path)
        write_json(folder / RECORD_FILE, _header(plain) | {"record": plain.record})
        write_text(folder / CARD_FILE, model_card(plain))
        return folder

    @staticmethod
    def load(folder: str | Path) -> "Prompts":
        """Read a prompt folder and check every field.

        Raises:
            PromptsegError: a file or field is missing, malformed, of the wrong shape or not finite.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise PromptsegError(f"{folder}: no such prompt folder; give the folder that fit or Prompts.save wrote")
        header = read_json(folder / RECORD_FILE)
        tensors = read_safetensors(folder / TENSOR_FILE)
        prompts = _assemble(folder, header, tensors)
        _check(folder, prompts)
        return prompts


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", torch.float32).clone().contiguous()


def _header(prompts: Prompts) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "promptseg_version": __version__,
        "model_id": prompts.model_id,
        "model_fingerprint": prompts.model_fingerprint,
        "spatial_kind": prompts.spatial_kind,
        "class_names": list(prompts.class_names),
    }


def _assemble(folder: Path, header: Any, tensors: dict[str, Tensor]) -> Prompts:
    if not isinstance(header, dict):
        raise PromptsegError(f"{folder / RECORD_FILE}: expected a JSON object, got {type(header).__name__}")
    version = header.get("format_version")
    if version != FORMAT_VERSION:
        raise PromptsegError(
            f"{folder / RECORD_FILE}: format_version is {version!r}, this package reads {FORMAT_VERSION}"
        )
    fields: dict[str, Any] = {}
    for name in ("model_id", "model_fingerprint", "spatial_kind"):
        if not isinstance(header.get(name), str):
            raise PromptsegError(f"{folder / RECORD_FILE}: field {name} is {header.get(name)!r}, expected text")
        fields[name] = header[name]
    names = header.get("class_names")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise PromptsegError(f"{folder / RECORD_FILE}: field class_names is {names!r}, expected a list of names")
    record = header.get("record")
    if not isinstance(record, dict):
        raise PromptsegError(f"{folder / RECORD_FILE}: field record is {record!r}, expected a JSON object")
    for name in _FUSED:
        if name not in tensors:
            raise PromptsegError(f"{folder / TENSOR_FILE}: tensor {name} is missing")
        fields[name] = tensors[name]
    parts = {name.removeprefix("parts."): t for name, t in tensors.items() if name.startswith("parts.")}
    unknown = sorted(set(tensors) - set(_FUSED) - {f"parts.{name}" for name in parts})
    if unknown:
        raise PromptsegError(f"{folder / TENSOR_FILE}: unexpected tensor {unknown[0]}")
    return Prompts(class_names=tuple(names), parts=parts, record=record, **fields)


def _check(folder: Path, prompts: Prompts) -> None:
    path = folder / TENSOR_FILE
    for name in (*_FUSED, *(f"parts.{part}" for part in prompts.parts)):
        tensor = prompts.parts[name.removeprefix("parts.")] if name.startswith("parts.") else getattr(prompts, name)
        if not tensor.is_floating_point() or not torch.isfinite(tensor).all():
            raise PromptsegError(f"{path}: tensor {name} ({tensor.dtype}) holds values that are not finite numbers")
    rows = {"semantic": len(prompts.class_names), "background": 1, "spatial": None}
    for name, count in rows.items():
        shape = tuple(getattr(prompts, name).shape)
        if len(shape) != 2 or (count is not None and shape[0] != count):
            wanted = "N" if count is None else str(count)
            raise PromptsegError(f"{path}: tensor {name} has shape {shape}, expected ({wanted}, D)")
    if prompts.semantic.shape[1] != prompts.background.shape[1]:
        raise PromptsegError(
            f"{path}: background has D = {prompts.background.shape[1]}, semantic has D = {prompts.semantic.shape[1]}"
        )


def model_card(prompts: Prompts) -> str:
    """A model card in the model hub's form: what the prompts are, where they come from, how to use them."""
    record = prompts.record
    lines = [
        "---",
        "library_name: promptseg",
        "pipeline_tag: image-segmentation",
        f"base_model: {prompts.model_id}",
        "---",
        "",
        f"# Prompts for {len(prompts.class_names)} classes on {prompts.model_id}",
        "",
        f"Learned with promptseg on the frozen weights `{prompts.model_fingerprint}`.",
        "",
        f"- classes: {', '.join(prompts.class_names)}",
        f"- spatial prompts: {tuple(prompts.spatial.shape)}, semantic prompts: {tuple(prompts.semantic.shape)}",
    ]
    lines += [f"- {key}: {record[key]}" for key in ("method", "task", "data", "metrics", "licence") if key in record]
    lines += [
        "",
        "```python",
        "import promptseg",
        f'model = promptseg.load_model("{prompts.model_id}")',
        'labels = promptseg.predict(model, promptseg.Prompts.load("THIS_FOLDER"), "photo.jpg")',
        "```",
        "",
    ]
    return "\n".join(lines)
