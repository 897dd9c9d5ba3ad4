"""`promptseg predict`: label maps, overlays and class shares of photos."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from promptseg.cli.errors import USER_ERROR, explain
from promptseg.cli.options import Device, OutFolder, Threads, use_threads
from promptseg.errors import PromptsegError

LABELS, OVERLAYS, SHARES = "labels", "overlays", "shares.json"
SHOWN_SHARES = 3


def predict(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGES", help="Photos, or folders of photos.")],
    prompts: Annotated[Path, typer.Option(metavar="DIR", help="Prompt folder (of fit or Prompts.save).")],
    out: OutFolder,
    model: Annotated[str | None, typer.Option(help="Model name or folder (default: the prompts' own).")] = None,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Label photos with learned prompts.

    Writes DIR/labels (PNG, values are class ids), DIR/overlays (colours and a legend) and
    DIR/shares.json (the share of every class).

    A photo that cannot be read is reported and left out; the exit code is then 2.
    """
    from promptseg import Prompts, load_model
    from promptseg.files import write_json
    from promptseg.reports.photos import class_colors, label_photo

    use_threads(threads)
    photos = find_photos(images, out)
    loaded = Prompts.load(prompts)
    frozen = load_model(model or loaded.model_id, device=device)
    loaded.check_model(frozen.id, frozen.fingerprint)
    colors = class_colors(loaded)
    shares: dict[str, Mapping[str, float]] = {}
    for name, path in photos.items():
        try:
            shares[name] = label_photo(
                frozen, loaded, path, colors, out / LABELS / f"{name}.png", out / OVERLAYS / f"{name}.jpg"
            )
        except PromptsegError as error:
            print(f"promptseg: {explain(error)}", file=sys.stderr)
        else:
            typer.echo(f"{path}: {_headline(shares[name])}")
    write_json(out / SHARES, {"classes": list(loaded.class_names), "images": shares})
    typer.echo(f"{len(shares)} of {len(photos)} photos labelled: {out / LABELS}, {out / OVERLAYS}, {out / SHARES}")
    if len(shares) < len(photos):
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

    own = out.resolve()
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in IMAGE_SUFFIXES
        and path.is_file()
        and not (own / LABELS in path.resolve().parents or own / OVERLAYS in path.resolve().parents)
    ]


def _name(path: Path, start: Path) -> str:
    return path.relative_to(start).with_suffix("").as_posix()


def _headline(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {100 * share:.0f} %" for name, share in list(shares.items())[:SHOWN_SHARES])
