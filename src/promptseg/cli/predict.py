"""`promptseg predict`: what prompts say of photos, for programs and for people."""

import inspect
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from promptseg.cli.errors import USER_ERROR, explain
from promptseg.cli.options import Device, LearnedTask, OutFolder, TaskSettings, Threads, parse_settings, use_threads
from promptseg.errors import PromptsegError


def predict(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGES", help="Photos, or folders of photos.")],
    prompts: Annotated[Path, typer.Option(metavar="DIR", help="Prompt folder (of fit or Prompts.save).")],
    out: OutFolder,
    task: LearnedTask = None,
    model: Annotated[str | None, typer.Option(help="Model name or folder (default: the prompts' own).")] = None,
    settings: TaskSettings = None,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Label photos with learned prompts.

    Writes DIR/overlays for people, and for programs: DIR/labels (PNG, values are class ids) and DIR/shares.json
    (semantic), DIR/instances.json (instance), or DIR/panoptic (PNG of segment ids) and DIR/panoptic.json (panoptic).

    A photo that cannot be read is reported and left out; the exit code is then 2.
    """
    from promptseg import Prompts, load_model
    from promptseg import predict as predict_photo
    from promptseg.data.images import read_image
    from promptseg.engine.evaluate import task_of
    from promptseg.engine.recorded import recorded_label_space
    from promptseg.reports.photos import WRITERS

    chosen = parse_settings(settings or (), inspect.signature(predict_photo).parameters)
    use_threads(threads)
    photos = find_photos(images, out)
    loaded = Prompts.load(prompts)
    name_of_task = task_of(loaded, task, chosen).name
    frozen = load_model(model or loaded.model_id, device=device)
    loaded.check_model(frozen.id, frozen.fingerprint)
    writer = WRITERS[name_of_task](out, recorded_label_space(loaded))
    done = 0
    for name, path in photos.items():
        try:
            photo = read_image(path)
        except PromptsegError as error:
            print(f"promptseg: {explain(error)}", file=sys.stderr)
            continue
        answer = predict_photo(frozen, loaded, photo, name_of_task, **chosen)
        typer.echo(f"{path}: {writer.add(name, f'{name}{path.suffix}', photo, answer)}")
        done += 1
    writer.finish()
    typer.echo(f"{done} of {len(photos)} photos labelled: {', '.join(map(str, (*writer.files, out / 'overlays')))}")
    if done < len(photos):
        raise typer.Exit(USER_ERROR)


def find_photos(given: Sequence[Path], out: Path) -> dict[str, Path]:
    """Photos by the name their results get: the path below the given folder, or the file's own name, no suffix.

    Results of an earlier run in `out` are not taken for photos.

    Raises:
        PromptsegError: a folder without photos, or two photos that would get the same name.
    """
    photos: dict[str, Path] = {}
    for start in given:
        found = [(_name(path, start), path) for path in _below(start, out)] if start.is_dir() else [(start.stem, start)]
        if not found:
            raise PromptsegError(f"{start}: no photos in this folder")
        for name, path in found:
            other = photos.setdefault(name, path)
            if other != path:
                raise PromptsegError(f"{other} and {path} would both be written to {name}.png: predict them apart")
    return photos


def _below(folder: Path, out: Path) -> list[Path]:
    from promptseg.data.images import IMAGE_SUFFIXES
    from promptseg.reports.photos import FOLDERS

    own = {out.resolve() / folder for folder in FOLDERS}
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file() and own.isdisjoint(path.resolve().parents)
    ]


def _name(path: Path, start: Path) -> str:
    return path.relative_to(start).with_suffix("").as_posix()
