"""What `compare` and `reproduce` have in common: their options, how they run, and how they end."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from promptseg.cli.errors import USER_ERROR, Interrupted
from promptseg.cli.options import use_threads
from promptseg.errors import PromptsegError

if TYPE_CHECKING:
    from pathlib import Path

    from promptseg.engine.cells import Outcome
    from promptseg.engine.compare import Pool

ResultT = TypeVar("ResultT")

Seeds = Annotated[str, typer.Option("--seeds", metavar="S,S", help="Seeds, separated by commas.")]
EvaluatedSplit = Annotated[str, typer.Option("--split", help="What is evaluated: val or test.")]
Jobs = Annotated[
    int, typer.Option("--jobs", metavar="J", help="Fits at a time, each in a process of --threads threads (1).")
]


def read_seeds(text: str) -> tuple[int, ...]:
    """Seeds separated by commas.

    Raises:
        PromptsegError: one is no whole number from 0.
    """
    parts = [part.strip() for part in text.split(",")]
    for part in parts:
        if not (part.isascii() and part.isdigit()):
            raise PromptsegError(f"--seeds {text}: {part!r} is not a whole number from 0; write for example 0,1,2")
    return tuple(map(int, parts))


def open_pool(jobs: int, threads: int | None, model: str, device: str | None, data: Sequence[str]) -> "Pool | None":
    """Limit the threads, and make the pool of `--jobs`; none for a single job."""
    if jobs < 1:
        raise PromptsegError(f"--jobs {jobs}: give a whole number of at least 1")
    if jobs == 1:
        use_threads(threads)
        return None
    from promptseg.engine.jobs import Sources, worker_pool

    use_threads(threads or 1)
    return worker_pool(Sources(model, device, tuple(data)), jobs, threads or 1)


def run_until_stopped(work: Callable[[], ResultT], out: "Path") -> ResultT:
    """Do the work; ctrl-C ends it with the line that says how to go on."""
    try:
        return work()
    except KeyboardInterrupt:
        raise Interrupted(f"stopped; the same command goes on with {out}") from None


def report_failures(outcomes: "Sequence[Outcome]") -> None:
    """Say which cells failed, and end with the exit code of an error if there are any."""
    failed = [outcome for outcome in outcomes if outcome.score is None]
    for outcome in failed:
        typer.echo(f"failed: {outcome.cell}: {outcome.error}", err=True)
    if failed:
        typer.echo(f"{len(failed)} of {len(outcomes)} fits failed; the same command tries them again", err=True)
        raise typer.Exit(USER_ERROR)
