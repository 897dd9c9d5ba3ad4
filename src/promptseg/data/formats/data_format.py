"""What the registry knows of a data format."""

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from promptseg.data.sample import Dataset
from promptseg.errors import PromptsegError

Loader = Callable[[str, dict[str, str]], Dataset]
"""Takes what stands behind the colon of a spec, and its `?key=value` options."""


@dataclass(frozen=True)
class DataFormat:
    """A way to open data, and what `promptseg data list` tells of it."""

    load: Loader
    about: str
    """The data set, its classes, its options."""
    layout: str
    """Paths below the folder that the spec names."""
    licence: str
    in_folder: bool = True
    """Whether a spec names a folder, which the environment variable PROMPTSEG_NAME may do in its place."""
    suspect: Callable[[dict[str, str], NDArray[np.int64]], str | None] | None = None
    """Takes the options of a spec and the pixels of each class; says how another class order would be named that
    fits the labels better, None if none does."""


def variable(name: str) -> str:
    """The environment variable that says where the data of a format are."""
    return f"PROMPTSEG_{name.upper()}"


def open_format(name: str, data_format: DataFormat, where: str, options: dict[str, str]) -> Dataset:
    """Open a data set; without `where`, the one that the environment variable of the format names.

    Raises:
        PromptsegError: neither is given, or what the format's loader raises.
    """
    place = where
    if data_format.in_folder and not where:
        place = os.environ.get(variable(name), "")
        if not place:
            raise PromptsegError(f"{name}: names no folder; write {name}:FOLDER, or set {variable(name)}=FOLDER")
    return data_format.load(place, options)
