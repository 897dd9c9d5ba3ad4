"""Models by name, folder or repository: which there are, and `load_model`.

This module imports torch only when a model is loaded, so names can be listed at no cost.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from promptseg.errors import PromptsegError, unknown_name
from promptseg.files import read_json
from promptseg.hub import HUB, hub_folder
from promptseg.models.family import Family, ModelEntry, ModelSource
from promptseg.models.templates import unknown_among
from promptseg.registry import Registry
from promptseg.spec import read_spec

if TYPE_CHECKING:
    import torch

    from promptseg.models.base import PromptableSegmenter

FAMILIES: Registry[Family] = Registry(
    "model family",
    "promptseg.families",
    "promptseg.models.family:Family",
    {
        "seem": "promptseg.models.seem.family:FAMILY",
        "sam": "promptseg.models.sam.family:FAMILY",
    },
)


_REPOSITORY = re.compile(r"([\w.-]+/[\w.-]+)(?=$|[:,])")
"""What the source of a model begins with that is on the hub."""
_SAME = {"seem-nano": "seem-lite"}
"""Another name of a model: as scripts and reports ask for the small one that comes with the package."""


def list_models() -> tuple[ModelEntry, ...]:
    """The models known by name.

    Raises:
        PromptsegError: two families have a model of one name, or a family of another package cannot be loaded.
    """
    return tuple(entry for _, entry in _named_models().values())


def load_model(name_or_folder: str | Path, device: "str | torch.device | None" = None) -> "PromptableSegmenter":
    """Load a frozen segmenter.

    Args:
        name_or_folder: a name of `list_models`, a model folder, or `hub:ORGANISATION/NAME` of a model folder on the
            hub; models of the SAM family take options, such as `models/sam?text=models/clip&chunk=4` (see docs/sam.md).
        device: `cpu`, `cuda`, ...; None takes a GPU if there is one.

    Raises:
        PromptsegError: unknown name, option or device, weights that cannot be had, or a folder that is no model.
    """
    family, source = find_model(name_or_folder)
    return family.load(source, _checked_device(device))


def find_model(name_or_folder: str | Path) -> tuple[Family, ModelSource]:
    """What a spec names, and the family it is of; a repository of the hub is fetched.

    Raises:
        PromptsegError: an unknown name, a repository that cannot be fetched, or a folder that is of no family.
    """
    spec = read_spec(str(name_or_folder))
    named = _named_models()
    name = _SAME.get(spec.where, spec.where)
    if name in named:
        family, entry = named[name]
        proper = replace(spec, text=spec.text.replace(spec.where, name, 1), where=name)
        return family, ModelSource(proper, entry, entry.folder())
    folder = hub_folder(spec.where.removeprefix(HUB)) if spec.where.startswith(HUB) else Path(spec.where)
    if folder.is_file():
        raise PromptsegError(f"{folder} is a file, expected a model folder: run promptseg models import {folder}")
    if not folder.is_dir():
        raise unknown_name("model", spec.where, (*named, "a model folder", "hub:ORGANISATION/NAME"))
    config = read_json(folder / "config.json")
    if isinstance(config, dict):
        for family in FAMILIES.values():
            if family.recognises(config):
                return family, ModelSource(spec, None, folder)
    known = "; ".join(f"{name}: {family.folders}" for name, family in FAMILIES.items())
    raise PromptsegError(f"{folder / 'config.json'}: of no known model family ({known})")


def describe_model(name_or_folder: str | Path) -> dict[str, str]:
    """What a model is and costs, as words by what they are about.

    Raises:
        PromptsegError: as `find_model`, or a damaged folder.
    """
    family, source = find_model(name_or_folder)
    return family.describe(source)


def model_words(name_or_folder: str | Path) -> tuple[str, ...] | None:
    """The words that a model of few words knows; None for one that reads any text."""
    family, source = find_model(name_or_folder)
    return family.words(source)


def hub_source(model_id: str) -> str | None:
    """The repository of the hub that a model comes from by its name; None for one without a name, or of elsewhere."""
    named = _named_models().get(read_spec(model_id).where)
    found = None if named is None else _REPOSITORY.match(named[1].source)
    return None if found is None else found[1]


def unknown_words(name_or_folder: str | Path, names: Iterable[str]) -> tuple[str, ...]:
    """Class names that a model of few words never learned; none for one that reads any text."""
    return unknown_among(model_words(name_or_folder), names)


def _named_models() -> dict[str, tuple[Family, ModelEntry]]:
    found: dict[str, tuple[str, ModelEntry]] = {}
    for name, family in FAMILIES.items():
        for entry in family.entries:
            if entry.name in found:
                raise PromptsegError(
                    f"the model families {found[entry.name][0]} and {name} both have a model {entry.name!r}:"
                    " uninstall the package of one, or rename it"
                )
            found[entry.name] = name, entry
    return {model: (FAMILIES[name], entry) for model, (name, entry) in found.items()}


def _checked_device(device: "str | torch.device | None") -> "torch.device":
    import torch

    if device is None:
        # torchrun tells each of its processes which GPU is its own.
        own = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        return torch.device(own if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError):
        raise PromptsegError(
            f"device {str(device)!r} cannot be used here: choose cpu, or cuda on a machine with a GPU"
        ) from None
    return found
