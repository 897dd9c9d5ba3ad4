"""A comparison in several processes: each takes the next trial as soon as it is free; the files are the same."""

import signal
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import FrameType

from promptseg.data.registry import load_dataset
from promptseg.experiments.compare import Comparison, Pool, Report
from promptseg.experiments.plan import Outcome, Plan, Trial
from promptseg.models.registry import load_model

_SECONDS_TO_STOP = 20.0
"""How long a stopped worker may take to write its checkpoint."""


@dataclass(frozen=True)
class Sources:
    """What every process loads for itself.

    Attributes:
        model: what `load_model` takes.
        device: where to put it.
        data: what `load_dataset` takes.
    """

    model: str
    device: str | None
    data: tuple[str, ...]


@dataclass(frozen=True)
class _Worker:
    process: SpawnProcess
    connection: Connection


def worker_pool(sources: Sources, jobs: int, threads: int = 1) -> Pool:
    """A pool of `jobs` processes of `threads` threads; an interruption stops them all.

    It must be used from the main thread. A worker that dies fails its trial, and another takes its place.
    """

    def run(plan: Plan, out: Path, trials: Sequence[Trial], report: Report) -> None:
        waiting, busy = deque(trials), dict[Connection, tuple[_Worker, Trial]]()
        idle = [_start(sources, plan, out, threads) for _ in range(min(jobs, len(trials)))]
        everyone = list(idle)
        try:
            while waiting or busy:
                while idle and waiting:
                    worker, trial = idle.pop(), waiting.popleft()
                    worker.connection.send(trial)
                    busy[worker.connection] = (worker, trial)
                for ready in wait(list(busy)):
                    worker, trial = busy.pop(ready)  # type: ignore[call-overload]
                    outcome = _receive(worker, trial)
                    if not worker.process.is_alive() and waiting:
                        worker = _start(sources, plan, out, threads)
                        everyone.append(worker)
                    idle.append(worker)
                    if outcome is None:
                        waiting.append(trial)
                    else:
                        report(outcome)
        finally:
            _stop(everyone)

    return run


def _start(sources: Sources, plan: Plan, out: Path, threads: int) -> _Worker:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(sources, plan, out, threads, theirs), daemon=True)
    # Children inherit what is ignored: ctrl-C reaches this process alone, which then stops them.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process.start()
    finally:
        signal.signal(signal.SIGINT, before)
    theirs.close()
    return _Worker(process, ours)


def _receive(worker: _Worker, trial: Trial) -> Outcome | None:
    """What a worker found; none where another process, of another comparison in the folder, computes the trial."""
    try:
        outcome: Outcome | None = worker.connection.recv()
    except (EOFError, OSError):
        worker.process.join()
        return Outcome(trial, None, f"its process ended with exit code {worker.process.exitcode}")
    return outcome


def _stop(workers: Sequence[_Worker]) -> None:
    for worker in workers:
        worker.process.terminate()
    for worker in workers:
        worker.process.join(_SECONDS_TO_STOP)
        worker.process.kill()


def _work(sources: Sources, plan: Plan, out: Path, threads: int, connection: Connection) -> None:
    """The life of a worker: it is sent trials and sends back what it found."""
    import torch

    signal.signal(signal.SIGTERM, _interrupt)
    with suppress(KeyboardInterrupt, EOFError):
        torch.set_num_threads(threads)
        model = load_model(sources.model, device=sources.device)
        datasets = [load_dataset(spec) for spec in sources.data]
        comparison = Comparison(model, datasets, plan, out, progress=False)
        while True:
            connection.send(comparison.run(connection.recv()))


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Stop as ctrl-C would: a fit writes its checkpoint."""
    raise KeyboardInterrupt
