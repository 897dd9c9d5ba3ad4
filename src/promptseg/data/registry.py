"""Data specs: `streets:fog`, `folder:PATH?train=LIST&val=LIST`, or just a path."""

from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qsl

from promptseg.data.formats.folder import load_folder
from promptseg.data.sample import Dataset
from promptseg.data.streets.dataset import load_streets
from promptseg.errors import PromptsegError, unknown_name

Loader = Callable[[str, dict[str, str]], Dataset]
"""A format: takes what stands behind the colon and the `?key=value` options."""

LOADERS: dict[str, Loader] = {"folder": load_folder, "streets": load_streets}


def load_dataset(spec: str) -> Dataset:
    """Open the data set that `spec` names; images are read later, when a sample is asked for them.

    Args:
        spec: `FORMAT:WHERE?key=value&...` with a format of `LOADERS`, or the path of a folder.

    Raises:
        PromptsegError: unknown format or option, or what it names is not there.
    """
    location, _, query = str(spec).partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    name, colon, rest = location.partition(":")
    if colon and name in LOADERS:
        return LOADERS[name](rest, options)
    if Path(location).exists():
        return load_folder(location, options)
    if colon:
        raise unknown_name("data format", name, LOADERS)
    raise PromptsegError(
        f"{location}: no such folder; give a path, or one of {', '.join(f'{n}:...' for n in sorted(LOADERS))}"
    )
