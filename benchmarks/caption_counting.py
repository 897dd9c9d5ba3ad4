"""How many captions per second are counted: `python benchmarks/caption_counting.py --rows 2000000`.

The captions are generated: 4 to 15 words each, drawn from the packaged word list.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import duckdb

from promptseg.data.formats.cityscapes import CITYSCAPES_19
from promptseg.data.formats.classes_json import packaged
from promptseg.engine.inspect import vocabulary
from promptseg.recipes.caption_counts import count_captions
from promptseg.recipes.caption_terms import BUILT_IN, class_terms, read_synonyms


def write_captions(path: Path, rows: int) -> None:
    """A parquet file of random words."""
    connection = duckdb.connect(config={"threads": 1})
    words = [word for word in vocabulary() if word.isalpha()]
    connection.execute("SELECT setseed(0.5)")
    connection.execute(
        f"COPY (SELECT list_aggregate(list_transform(range(4 + CAST(random() * 11 AS INT)), "
        f"lambda i: ({words})[1 + CAST(floor(random() * {len(words)}) AS INT)]), 'string_agg', ' ') AS caption "
        f"FROM range({rows})) TO '{path}' (FORMAT parquet)"
    )


def main() -> None:
    """Time 19 and 150 classes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "captions.parquet"
        write_captions(path, options.rows)
        for space in (CITYSCAPES_19, packaged("ade20k")[0]):
            terms = class_terms(space.names, read_synonyms(BUILT_IN))
            wall, processor = time.perf_counter(), time.process_time()
            count_captions([path], terms, threads=options.threads)
            wall, processor = time.perf_counter() - wall, time.process_time() - processor
            print(
                f"{len(terms)} classes, {options.rows:,} captions, {options.threads} threads: "
                f"{options.rows / wall:,.0f} per second ({options.rows / processor:,.0f} per second of processor time)"
            )
    print(f"peak memory of the process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000:.0f} MB")


if __name__ == "__main__":
    main()
