"""`promptseg predict` and `promptseg segment`: what prompts, or a person who points, say of photos."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from promptseg.cli.options import (
    DEFAULT_MODEL,
    Device,
    LearnedTask,
    LogFile,
    OutFolder,
    Overlap,
    Precision,
    Quiet,
    Seed,
    ShardOption,
    TaskSettings,
    Threads,
    Tile,
    parse_settings,
    use_threads,
)
from promptseg.cli.output import USER_ERROR, fail, goes_on_with, say, saying_when_stopped
from promptseg.errors import PromptsegError

if TYPE_CHECKING:
    from promptseg.models.base import PromptableSegmenter
    from promptseg.models.capabilities import Box, Place
    from promptseg.prompts import Prompts


def predict(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGES", help="Photos, or folders of photos.")],
    out: OutFolder,
    prompts: Annotated[Path | None, typer.Option(metavar="DIR", help="Prompt folder (of fit or Prompts.save).")] = None,
    classes: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Instead of prompts: 'road,sky,car', or a classes.json.")
    ] = None,
    task: LearnedTask = None,
    model: Annotated[str | None, typer.Option(help="Model name or folder (default: the prompts' own).")] = None,
    settings: TaskSettings = None,
    tile: Tile = None,
    overlap: Overlap = None,
    shard: ShardOption = None,
    overlays: Annotated[bool, typer.Option(help="Pictures for people.")] = True,
    precision: Precision = None,
    device: Device = None,
    threads: Threads = None,
    quiet: Quiet = False,
    log_file: LogFile = None,
) -> None:
    """Label photos with learned prompts, or zero-shot with the names of classes.

    Writes DIR/overlays for people, and for programs: DIR/labels (PNG, values are class ids) and DIR/shares.json
    (semantic), DIR/instances.json (instance), or DIR/panoptic (PNG of segment ids) and DIR/panoptic.json (panoptic).

    DIR/records has a line for each finished photo: the same command goes on where it was stopped, and several may work
    on one folder, each on its --shard.

    A photo that cannot be read is reported and left out; the exit code is then 2.
    """
    from promptseg.engine.predict import Labeller
    from promptseg.engine.result_folder import ResultFolder
    from promptseg.engine.shards import Shard
    from promptseg.export.label_run import LabelRun
    from promptseg.reports.photos import WRITERS, PhotoWriter

    chosen, part = parse_settings(settings or ()), Shard.of(shard)
    use_threads(threads)
    frozen, loaded = _model_and_prompts(prompts, classes, model, device)
    labeller = Labeller(loaded, task, model=frozen, precision=precision, tile=tile, overlap=overlap, **chosen)
    writer = PhotoWriter(out, loaded.label_space, labeller.task, overlays)
    results = [file for build in WRITERS.values() for file in build(out, loaded.label_space).files]
    photos = find_photos(images, results)
    folder = ResultFolder(out, labeller.about(), part, writer.files)
    run = LabelRun(labeller, writer, folder, say=typer.echo, fail=fail)
    mine = part.part(sorted(photos.items()))
    try:
        with saying_when_stopped(goes_on_with(out)):
            done = run.label(mine)
    finally:
        folder.merge(lambda records: writer.merge({name: record["told"] for name, record in records.items()}))
    share = "" if part.count == 1 else f" of part {part}"
    before = f" ({run.before} before)" if run.before else ""
    typer.echo(f"{done} of {len(mine)} photos{share} labelled{before}: {', '.join(map(str, writer.files))}")
    if done < len(mine):
        raise typer.Exit(USER_ERROR)


def _model_and_prompts(
    prompts: Path | None, classes: str | None, model: str | None, device: str | None
) -> "tuple[PromptableSegmenter, Prompts]":
    """Learned prompts and their model; or a model and its default prompts for named classes."""
    from promptseg import Prompts, load_model
    from promptseg.data.formats.classes_json import named_classes
    from promptseg.engine.defaults import default_prompts, guessed_names

    if (prompts is None) == (classes is None):
        raise PromptsegError("give either --prompts DIR, or --classes with names such as 'road,sky,car'")
    if prompts is not None:
        loaded = Prompts.load(prompts)
        frozen = load_model(model or loaded.model_id, device=device)
        loaded.check_model(frozen.id, frozen.fingerprint)
    else:
        name, space = model or DEFAULT_MODEL, named_classes(classes or "")
        frozen = load_model(name, device=device)
        loaded = default_prompts(frozen, space)
        if name == DEFAULT_MODEL:
            say(f"{name} learned from generated streets alone: on other photos its zero-shot answer is a guess")
    if guessed := guessed_names(frozen, loaded):
        say(f"{frozen.id} never learned the words: {', '.join(guessed)}; a few labelled photos teach them (see fit)")
    return frozen, loaded


def find_photos(given: Sequence[Path], results: Iterable[Path] = ()) -> dict[str, Path]:
    """Photos by the name their results get: the path below the given folder, or the file's own name, no suffix.

    Args:
        given: photos, and folders of photos.
        results: folders whose pictures are no photos, but results of an earlier run.

    Raises:
        PromptsegError: a folder without photos, or two photos that would get the same name.
    """
    photos: dict[str, Path] = {}
    left_out = {folder.resolve() for folder in results}
    for start in given:
        found = (
            [(_name(path, start), path) for path in _below(start, left_out)]
            if start.is_dir()
            else [(start.stem, start)]
        )
        if not found:
            raise PromptsegError(f"{start}: no photos in this folder")
        for name, path in found:
            other = photos.setdefault(name, path)
            if other != path:
                raise PromptsegError(f"{other} and {path} would both be written to {name}.png: predict them apart")
    return photos


def _below(folder: Path, left_out: set[Path]) -> list[Path]:
    from promptseg.data.formats.files import walk_files
    from promptseg.data.images import IMAGE_SUFFIXES

    return [
        path
        for path in walk_files(folder)
        if path.suffix.lower() in IMAGE_SUFFIXES and left_out.isdisjoint(path.resolve().parents)
    ]


def _name(path: Path, start: Path) -> str:
    return path.relative_to(start).with_suffix("").as_posix()


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
    tile: Annotated[
        int | None, typer.Option(metavar="SIZE", help="Look at SIZE pixels around it alone (default: the whole photo).")
    ] = None,
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
    from promptseg.data.photo_pixels import photo_pixels
    from promptseg.files import write_json
    from promptseg.models.capabilities import ObjectPrompt, unknown_names
    from promptseg.reports.outlines import marked_overlay, write_mask
    from promptseg.reports.pictures import write_picture

    use_threads(threads)
    photo = photo_pixels(image)
    frozen = load_model(model, device=device)
    if text is not None and unknown_names(frozen, [text]):
        say(f"{frozen.id} never learned the words {text!r}, they are a guess: point at the object instead")
    found = find(
        frozen, photo, text=text, points=points, boxes=boxes, strokes=strokes, negative=others, seed=seed, tile=tile
    )
    prompt = ObjectPrompt(text, points, others, boxes, strokes)
    write_mask(out / MASK, found.mask)
    write_picture(out / OVERLAY, marked_overlay(photo, found.mask, prompt))
    given = {name: value for name, value in vars(prompt).items() if value}
    share = float(found.mask.mean())
    record = {"image": str(image), "model": frozen.id, "model_fingerprint": frozen.fingerprint, "prompt": given}
    write_json(out / RECORD, record | {"tile": tile, "seed": seed, "score": found.score, "share": share})
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
