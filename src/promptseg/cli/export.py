"""`promptseg export`: labels in the forms of other tools."""

from typing import Annotated

import typer

from promptseg.cli.options import DataArgument, OutFolder


def export(
    source: DataArgument,
    to: Annotated[str, typer.Option(metavar="FORM", help="coco, yolo, labelme, csv or folder.")],
    out: OutFolder,
    split: Annotated[str, typer.Option(help="train, val or test.")] = "train",
) -> None:
    """Write the labels of a data set in the form of another tool, with the photos beside them.

    Objects are the connected parts of each class. coco: polygons, run lengths where there are holes. yolo and labelme:
    polygons. csv: areas per class and per object. folder: label maps, as fit reads them. DIR must be new or empty.
    """
    from promptseg import load_dataset
    from promptseg.data.formats.splits import SPLITS
    from promptseg.errors import unknown_name
    from promptseg.export.labels import export_labels

    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    done = export_labels(getattr(load_dataset(source), split), to, out)
    typer.echo(f"{done.photos} photos with {done.objects} objects: {done.folder}")
