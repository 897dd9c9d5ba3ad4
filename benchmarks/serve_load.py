"""Requests a second and latency of `promptseg serve`, and what happens beyond its bound; clients in another process.

    python benchmarks/serve_load.py RUN --clients 1 4 16

Photos are generated streets of 640 x 480 as JPEG. Every client keeps one connection and sends one photo after the
other. All stays on the loopback address; the numbers of requests are fixed, so it ends by itself. On a busy machine
look at the processor time of the endpoint, and at what `promptseg.Labeller` takes for the same photos in this process.
"""

import argparse
import hashlib
import http.client
import io
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

MOST_TRIES = 1000
"""Of one photo, where a client sends it again after 503."""
DIFFERENT = 16
"""Photos; they are sent again and again."""


@dataclass(frozen=True)
class Answer:
    """Status, seconds until it was there, seconds that a 503 asks to wait, and a digest of the body."""

    status: int
    seconds: float
    after: float
    digest: str


@contextmanager
def server(run: str, *more: str) -> Iterator[tuple[str, psutil.Process]]:
    """The host of a running endpoint, `127.0.0.1:PORT`, and its process."""
    command = [sys.executable, "-m", "promptseg", "serve", run, "--port", "0", "--threads", "1", *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"http://([^/]+)/", process.stdout.readline())
            assert found, "the endpoint did not start"
            yield found[1], psutil.Process(process.pid)
        finally:
            process.terminate()


def photos(count: int) -> list[bytes]:
    """Photos as JPEG files."""
    from PIL import Image

    import promptseg

    found = []
    for sample in promptseg.load_dataset(f"streets:clear?size=640x480&train=1&val={count}").val:
        buffer = io.BytesIO()
        Image.fromarray(sample.image()).save(buffer, "JPEG", quality=90)
        found.append(buffer.getvalue())
    return found


def client(host: str, contents: Sequence[bytes], again: bool) -> list[Answer]:
    """Send photos one after the other; one that gets 503 is sent again after the time that it says, if `again`."""
    connection, answers = http.client.HTTPConnection(host, timeout=300), []
    for content in contents:
        for _ in range(MOST_TRIES):
            began = time.perf_counter()
            connection.request("POST", "/label", content)
            response = connection.getresponse()
            body = response.read()
            after = float(response.headers.get("Retry-After", 0))
            answers.append(
                Answer(response.status, time.perf_counter() - began, after, hashlib.sha256(body).hexdigest())
            )
            if response.status != 503 or not again:
                break
            connection.close()  # or the server may, meanwhile
            time.sleep(after)
    connection.close()
    return answers


def load(host: str, contents: Sequence[bytes], clients: int, again: bool = False) -> tuple[list[Answer], float]:
    """All answers to photos that are shared out among clients, and the seconds for all of them."""
    shares = [contents[number::clients] for number in range(clients)]
    began = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        answers = [answer for found in pool.map(lambda share: client(host, share, again), shares) for answer in found]
    return answers, time.perf_counter() - began


def quantiles(answers: Sequence[Answer], status: int) -> str:
    """Median and 95th percentile of the milliseconds until answers of a status."""
    times = sorted(1000 * answer.seconds for answer in answers if answer.status == status)
    return f"{statistics.median(times):.0f} | {times[int(0.95 * (len(times) - 1))]:.0f}" if times else "- | -"


def processor_seconds(process: psutil.Process) -> float:
    """What a process has used of its processors."""
    times = process.cpu_times()
    return times.user + times.system


def in_process(run: str, contents: Sequence[bytes]) -> float:
    """Processor seconds for a photo, decoded and labelled in this process."""
    import torch

    import promptseg
    from promptseg.data.images import decode_image
    from promptseg.engine.runs import load_prompts

    torch.set_num_threads(1)
    labeller = promptseg.Labeller(load_prompts(Path(run)))
    labeller([decode_image(contents[0])])
    began = time.process_time()
    for content in contents:
        labeller([decode_image(content)])
    return (time.process_time() - began) / len(contents)


def by_clients(given: argparse.Namespace, contents: Sequence[bytes]) -> set[str]:
    """Print a line for each number of clients; returns the digests of right answers."""
    print("| clients | requests/s | median, ms | 95 % within, ms | processor, ms | not right |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    with server(given.run) as (host, process):
        known = {answer.digest for answer in client(host, contents[:DIFFERENT], again=False)}
        for clients in given.clients:
            before = processor_seconds(process)
            answers, seconds = load(host, contents, clients)
            used = (processor_seconds(process) - before) / len(contents)
            wrong = sum(answer.status != 200 or answer.digest not in known for answer in answers)
            times = f"{len(contents) / seconds:.2f} | {quantiles(answers, 200)} | {1000 * used:.0f}"
            print(f"| {clients} | {times} | {wrong} |", flush=True)
    return known


def beyond(given: argparse.Namespace, contents: Sequence[bytes], known: set[str]) -> None:
    """Print what four times as many clients get as photos are accepted."""
    clients = 4 * given.bound
    with server(given.run, "--queue", str(given.bound)) as (host, _):
        load(host, contents[:4], 1)
        for again in (False, True):
            answers, seconds = load(host, contents, clients, again)
            statuses = dict(sorted(Counter(answer.status for answer in answers).items()))
            right = sum(answer.status == 200 and answer.digest in known for answer in answers)
            what = f"{len(contents)} photos of {clients} clients, bound {given.bound}, sent again after 503: {again}"
            print(f"\n{what}\nright answers {right}, by status {statuses}, {seconds:.0f} s")
            print(f"503 within (median | 95 %, ms): {quantiles(answers, 503)}")
            print(f"Retry-After: {sorted({answer.after for answer in answers if answer.status == 503})}", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("--clients", type=int, nargs="*", default=[1, 4, 16])
    parser.add_argument("--requests", type=int, default=64)
    parser.add_argument("--bound", type=int, default=8)
    given = parser.parse_args()
    contents = photos(DIFFERENT) * (given.requests // DIFFERENT)
    known = by_clients(given, contents)
    print(f"\nin this process: {1000 * in_process(given.run, contents[:DIFFERENT]):.0f} ms of a processor for a photo")
    beyond(given, contents, known)


if __name__ == "__main__":
    main()
