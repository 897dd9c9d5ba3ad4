"""`promptseg export`: labels in the forms of other tools, and prompts with their model as an ONNX graph."""

from pathlib import Path
from typing import Annotated

import typer

from promptseg.cli.options import SPEC_HELP, OutFolder


def export(
    source: Annotated[str, typer.Argument(metavar="SPEC", help=f"{SPEC_HELP} For onnx: a run, or a prompt folder.")],
    to: Annotated[str, typer.Option(metavar="FORM", help="coco, yolo, labelme, voc, csv, folder or onnx.")],
    out: OutFolder,
    split: Annotated[str, typer.Option(help="train, val or test.")] = "train",
    precision: Annotated[
        str, typer.Option(metavar="NAME", help="For onnx: float32, or int8 for a smaller file.")
    ] = "float32",
) -> None:
    """Write the labels of a data set in the form of another tool, with the photos beside them.

    Or write learned prompts with their model as an ONNX graph (onnx), which runs without PyTorch: see docs/export.md.

    Objects are those of the data; of label maps, the connected parts of each class. coco: polygons, run lengths where
    there are holes. yolo and labelme: polygons. voc: palette PNGs of classes and objects. csv: areas per class and per
    object. folder: label maps, as fit reads them. DIR must be new or empty.
    """
    if to == "onnx":
        _export_onnx(Path(source), out, precision)
        return
    from promptseg import PromptsegError, load_dataset
    from promptseg.data.formats.splits import SPLITS
    from promptseg.errors import unknown_name
    from promptseg.export.labels import export_labels

    if precision != "float32":
        raise PromptsegError(f"precision is {precision!r}: labels have none; leave it out, or export --to onnx")
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    done = export_labels(getattr(load_dataset(source), split), to, out)
    typer.echo(f"{done.photos} photos with {done.objects} objects: {done.folder}")
    if done.remark:
        typer.echo(done.remark, err=True)


def _export_onnx(run: Path, out: Path, precision: str) -> None:
    from promptseg import load_model
    from promptseg.engine.runs import load_prompts
    from promptseg.export.onnx_folder import export_onnx

    prompts = load_prompts(run)
    check = export_onnx(load_model(prompts.model_id, device="cpu"), prompts, out, precision)
    found = f"largest difference {check.difference:.1e}, {100 * check.agreement:.2f} % of pixels of the same class"
    typer.echo(f"{out}: {found}; label photos with python {out / 'run.py'} OUT PHOTO")
