"""Data specs: `streets:fog`, `cityscapes:FOLDER`, `folder:PATH?train=LIST&val=LIST`, or just a path."""

from pathlib import Path
from urllib.parse import parse_qsl

from promptseg.data.formats import (
    acdc,
    ade20k,
    bdd100k,
    cityscapes,
    coco,
    coco_panoptic,
    folder,
    labelme,
    mapillary,
    pascal_context,
)
from promptseg.data.formats.data_format import DataFormat, open_format
from promptseg.data.sample import Dataset
from promptseg.data.streets import dataset as streets
from promptseg.errors import PromptsegError, unknown_name

FORMATS: dict[str, DataFormat] = {
    "streets": streets.FORMAT,
    "folder": folder.FORMAT,
    "coco": coco.FORMAT,
    "labelme": labelme.FORMAT,
    "cityscapes": cityscapes.FORMAT,
    "bdd100k": bdd100k.FORMAT,
    "mapillary": mapillary.FORMAT,
    "ade20k": ade20k.FORMAT,
    "pascal_context": pascal_context.FORMAT,
    "acdc": acdc.FORMAT,
    "coco_panoptic": coco_panoptic.FORMAT,
}


def load_dataset(spec: str) -> Dataset:
    """Open the data set that `spec` names; images are read later, when a sample is asked for them.

    Args:
        spec: `FORMAT:WHERE?key=value&...` with a format of `FORMATS`, or the path of a folder. Without WHERE, the
            environment variable PROMPTSEG_FORMAT (in capitals) says where the data are.

    Raises:
        PromptsegError: unknown format or option, or what it names is not there.
    """
    name, where, options = parse_spec(spec)
    return open_format(name, FORMATS[name], where, options)


def parse_spec(spec: str) -> tuple[str, str, dict[str, str]]:
    """The format of a spec, what stands behind its colon, and its options; a path is a `folder`.

    Raises:
        PromptsegError: neither a known format nor a path that is there.
    """
    location, _, query = str(spec).partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    name, colon, rest = location.partition(":")
    if name in FORMATS and (colon or not Path(location).exists()):
        return name, rest, options
    if Path(location).exists():
        return "folder", location, options
    if colon:
        raise unknown_name("data format", name, FORMATS)
    raise PromptsegError(
        f"{location}: no such folder; give a path, or one of {', '.join(f'{n}:...' for n in sorted(FORMATS))}"
    )
