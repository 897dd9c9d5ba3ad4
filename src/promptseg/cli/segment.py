"""`promptseg segment`: one object of a photo that is pointed at or named."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from promptseg.cli.options import DEFAULT_MODEL, Device, OutFolder, Seed, Threads, use_threads
from promptseg.errors import PromptsegError

if TYPE_CHECKING:
    from promptseg.models.capabilities import Box, Place

MASK, OVERLAY, RECORD = "mask.png", "overlay.jpg", "segment.json"


def segment(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A photo.")],
    out: OutFolder,
    text: Annotated[str | None, typer.Option(metavar="WORDS", help="What the object is, such as 'red car'.")] = None,
    point: Annotated[list[str] | None, typer.Option(metavar="X,Y", help="A place on it; may be repeated.")] = None,
    box: Annotated[list[str] | None, typer.Option(metavar="X0,Y0,X1,Y1", help="A box around it, or a part.")] = None,
    stroke: Annotated[list[str] | None, typer.Option(metavar="X,Y;X,Y;...", help="A line on it.")] = None,
    negative: Annotated[list[str] | None, typer.Option(metavar="X,Y", help="A place that is not on it.")] = None,
    model: Annotated[str, typer.Option(help="Model name or folder.")] = DEFAULT_MODEL,
    seed: Seed = 0,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Find one object of a photo by words, points, boxes or strokes, in pixels from the top left corner.

    All that is given is about the same object. Writes DIR/mask.png (255 is the object), DIR/overlay.jpg and
    DIR/segment.json.
    """
    points = tuple(_place("--point", value) for value in point or ())
    boxes = tuple(_box(value) for value in box or ())
    strokes = tuple(tuple(_place("--stroke", place) for place in value.split(";")) for value in stroke or ())
    others = tuple(_place("--negative", value) for value in negative or ())
    from promptseg import load_model
    from promptseg import segment as find
    from promptseg.data.images import read_image
    from promptseg.files import write_json
    from promptseg.models.capabilities import ObjectPrompt
    from promptseg.reports.objects import marked_overlay, write_mask
    from promptseg.reports.pictures import write_picture

    use_threads(threads)
    photo = read_image(image)
    frozen = load_model(model, device=device)
    found = find(frozen, photo, text=text, points=points, boxes=boxes, strokes=strokes, negative=others, seed=seed)
    prompt = ObjectPrompt(text, points, others, boxes, strokes)
    write_mask(out / MASK, found.mask)
    write_picture(out / OVERLAY, marked_overlay(photo, found.mask, prompt))
    given = {name: value for name, value in vars(prompt).items() if value}
    share = float(found.mask.mean())
    record = {"image": str(image), "model": frozen.id, "model_fingerprint": frozen.fingerprint, "prompt": given}
    write_json(out / RECORD, record | {"seed": seed, "score": found.score, "share": share})
    typer.echo(f"{100 * share:.1f} % of {image}, score {found.score:.2f}: {out / MASK}, {out / OVERLAY}")


def _place(option: str, text: str) -> "Place":
    x, y = _numbers(option, text, "x,y")
    return x, y


def _box(text: str) -> "Box":
    x0, y0, x1, y1 = _numbers("--box", text, "x0,y0,x1,y1")
    return x0, y0, x1, y1


def _numbers(option: str, text: str, form: str) -> list[float]:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != form.count(",") + 1:
        raise PromptsegError(f"{option} {text}: expected {form} in pixels, numbers with commas between them")
    return values
