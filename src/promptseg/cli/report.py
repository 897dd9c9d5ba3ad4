"""`promptseg report` and `promptseg analyze`: what prompts have learned, and what captions say."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from promptseg.cli.options import Device, OutFolder, Threads, new_app, use_threads
from promptseg.cli.output import print_table, say
from promptseg.cli.predict import find_photos
from promptseg.errors import PromptsegError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from promptseg import Prompts
    from promptseg.models.base import PromptableSegmenter
    from promptseg.reports.pictures import Picture


def report(
    where: Annotated[Path, typer.Argument(metavar="DIR", help="Prompt folder, or the folder of a run.")],
    out: OutFolder,
    data: Annotated[
        str | None, typer.Option(metavar="SPEC", help="Show where prompts look on images of this data set's val.")
    ] = None,
    images: Annotated[Path | None, typer.Option(metavar="DIR", help="The same on a folder of photos.")] = None,
    count: Annotated[int, typer.Option(help="How many photos.")] = 4,
    top: Annotated[int, typer.Option(help="How many spatial prompts, the most changed first.")] = 4,
    words: Annotated[Path | None, typer.Option(metavar="FILE", help="Words to look among, one a line.")] = None,
    model: Annotated[str | None, typer.Option(help="Model name or folder (default: the prompts' own).")] = None,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Write a page of what prompts have learned: nearest words, weights, distances, and where spatial prompts look."""
    from promptseg import Prompts, load_model
    from promptseg.engine.inspect import (
        attention_maps,
        class_changes,
        pixel_readings,
        relative_distances,
        starting_prompts,
        vocabulary,
    )
    from promptseg.engine.runs import PROMPTS, RECORD, load_run
    from promptseg.models.registry import model_words
    from promptseg.recipes.caption_terms import read_lines
    from promptseg.reports.learned_page import Learned, attention_picture, write_page

    if count < 1 or top < 1:
        raise PromptsegError(f"--count {count} --top {top}: give whole numbers of at least 1")
    use_threads(threads)
    run = load_run(where) if (where / RECORD).is_file() else None
    prompts = run.prompts if run else Prompts.load(where / PROMPTS if (where / PROMPTS).is_dir() else where)
    frozen = load_model(model or prompts.model_id, device=device)
    prompts.check_model(frozen.id, frozen.fingerprint)
    candidates = read_lines(words) if words else model_words(model or prompts.model_id) or vocabulary()
    before = starting_prompts(frozen, prompts)
    asking = prompts if prompts.of_role("mask") else before  # what is not there is the model's own
    distances = relative_distances(asking.rows("mask"), before.rows("mask"))
    spatial_shares = prompts.default_share("mask")
    most_changed = sorted(range(len(distances)), key=lambda index: -distances[index])[:top]
    looked_at = most_changed if max(distances) > 0 else []
    pixels = pixel_readings(frozen, prompts)
    photos = _photos(data, images, count) if looked_at or pixels else []
    maps = [
        (attention_maps(frozen, before, photo), attention_maps(frozen, prompts, photo))
        for photo in (photos if looked_at else [])
    ]
    learned = Learned(
        prompts=prompts,
        classes=class_changes(frozen, prompts, before, candidates),
        distances=distances,
        spatial_shares=None if spatial_shares is None else spatial_shares.tolist(),
        losses=run.losses if run else [],
        looked_at=looked_at,
        heat=attention_picture(photos, maps, looked_at) if photos and looked_at else None,
        words=len(candidates),
        pixels=pixels,
        evidence=_evidence(frozen, prompts, photos, top) if photos and pixels else None,
    )
    write_page(out / "learned.html", learned)
    typer.echo(f"page: {out}/learned.html")


def _evidence(model: "PromptableSegmenter", prompts: "Prompts", photos: "Sequence[Picture]", top: int) -> "Picture":
    """What the pixel prompts of the `top` classes that the photos show most say of them."""
    import torch

    from promptseg.engine.inspect import evidence_maps
    from promptseg.reports.learned_page import evidence_picture

    maps = [evidence_maps(model, prompts, photo) for photo in photos]
    filled = torch.stack([heats.mean(dim=(1, 2)) for heats in maps]).mean(0)
    shown = filled.argsort(descending=True)[:top].tolist()
    return evidence_picture(photos, [heats[shown] for heats in maps], [prompts.class_names[i] for i in shown])


def _photos(data: str | None, images: Path | None, count: int) -> "list[Picture]":
    """The first photos of each source.

    Raises:
        PromptsegError: a source without photos.
    """
    from promptseg import load_dataset
    from promptseg.data.photo_pixels import photo_pixels

    found: list[Picture] = []
    if data is not None:
        samples = load_dataset(data).val
        if not len(samples):
            raise PromptsegError(f"{data} has no images in split 'val': give lists for it")
        found += [sample.image() for sample in samples[:count]]
    if images is not None:
        if not images.exists():
            raise PromptsegError(f"{images}: no such folder; give a folder of photos")
        found += [photo_pixels(file) for file in list(find_photos([images]).values())[:count]]
    return found


analyze_app = new_app("Look into captions.")


@analyze_app.callback()
def _group() -> None:
    """Look into captions."""


@analyze_app.command("captions")
def captions(
    files: Annotated[list[str], typer.Argument(metavar="FILES...", help="Parquet, CSV, TSV or text; patterns too.")],
    classes: Annotated[
        str, typer.Option(metavar="CLASSES", help="Names separated by commas, a file of names, or a data spec.")
    ],
    out: OutFolder,
    column: Annotated[
        str, typer.Option(metavar="NAME", help="Column of captions; its number where a file has no header.")
    ] = "caption",
    synonyms: Annotated[
        str | None, typer.Option(metavar="built-in|FILE", help='Count them too; a FILE is JSON: {"car": ["auto"]}.')
    ] = None,
    threads: Threads = None,
) -> None:
    """Count the captions that name each class, by whole words, case aside, plurals too.

    A caption counts once for a class. Files of any size are streamed. DIR gets counts.csv, counts.json and counts.png.
    """
    from promptseg.recipes.caption_counts import caption_files, count_captions, counts_table, write_counts
    from promptseg.recipes.caption_terms import class_terms, read_class_names, read_synonyms

    if threads is not None and threads < 1:
        raise PromptsegError(f"--threads {threads}: give a whole number of at least 1")
    terms = class_terms(read_class_names(classes), {} if synonyms is None else read_synonyms(synonyms))
    paths = caption_files(files)
    began = time.perf_counter()
    found = count_captions(paths, terms, column, threads, lambda path: say(f"reading {path}"))
    seconds = time.perf_counter() - began
    if not found.captions:
        raise PromptsegError(f"{', '.join(files)}: not one caption in them; check the files and --column")
    write_counts(out, found)
    print_table(counts_table(found))
    say(f"{found.captions:,} captions in {seconds:.1f} s ({found.captions / seconds:,.0f} per second)")
    typer.echo(f"counts: {out}/counts.csv, counts.json, counts.png")
