"""`promptseg analyze`: what can be learned from data beside images."""

import time
from pathlib import Path
from typing import Annotated

import typer

from promptseg.cli.options import OutFolder, Threads, new_app
from promptseg.cli.text import print_table
from promptseg.errors import PromptsegError

app = new_app("Look into captions.")


@app.callback()
def _group() -> None:
    """Look into captions."""


@app.command("captions")
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
        Path | None, typer.Option(metavar="FILE", help='JSON {"car": ["auto"]}: in place of the built-in synonyms.')
    ] = None,
    threads: Threads = None,
) -> None:
    """Count the captions that name each class, by whole words, plurals and synonyms.

    A caption counts once for a class. Files of any size are streamed. DIR gets counts.csv, counts.json and counts.png.
    """
    from promptseg.captions.count import caption_files, count_captions
    from promptseg.captions.terms import class_terms, read_class_names, read_synonyms
    from promptseg.reports.caption_counts import counts_table, write_counts

    if threads is not None and threads < 1:
        raise PromptsegError(f"--threads {threads}: give a whole number of at least 1")
    terms = class_terms(read_class_names(classes), read_synonyms(synonyms))
    paths = caption_files(files)
    began = time.perf_counter()
    found = count_captions(paths, terms, column, threads, lambda path: typer.echo(f"reading {path}", err=True))
    seconds = time.perf_counter() - began
    if not found.captions:
        raise PromptsegError(f"{', '.join(files)}: not one caption in them; check the files and --column")
    write_counts(out, found)
    print_table(counts_table(found))
    typer.echo(f"{found.captions:,} captions in {seconds:.1f} s ({found.captions / seconds:,.0f} per second)", err=True)
    typer.echo(f"counts: {out}/counts.csv, counts.json, counts.png")
